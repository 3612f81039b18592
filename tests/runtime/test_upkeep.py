"""A runtime takes away what ended longer ago than its retention, and nothing else, in virtual time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import anyio
import pytest
from scenarios import virtually

from perdure.runtime import InvalidArgument, Runtime, Workflow, upkeep
from perdure.runtime.durations import RETENTION_MS_MIN, retention_ms
from perdure.runtime.upkeep import BATCH, INDEX_S, LOOK_S, TALLY_MS
from perdure.store.scripts.retention import Prune
from perdure.store.scripts.versions import DeactivateWorkflow

DAY = 86_400.0


def order() -> Workflow:
    """A step that fails for bricks."""
    workflow = Workflow("order")

    @workflow.step
    async def ship(item: str = "lamp") -> str:
        if item == "brick":
            raise ValueError("too heavy")
        return f"{item} shipped"

    return workflow


def in_a_runtime(body: Callable[[Runtime], Awaitable[Any]], **options: Any) -> Any:
    """Run a body in a virtual runtime that knows the workflow."""
    return virtually(body, workflows=[order()], **options)


async def ended(runtime: Runtime, count: int, **context: Any) -> None:
    """So many executions that have come to their end."""
    for _ in range(count):
        await (await runtime.start("order", context)).result(check=False)


def test_what_ended_longer_ago_than_the_retention_goes_by_itself():
    """At the next look; what ended since stays."""

    async def body(runtime: Runtime) -> None:
        await ended(runtime, 3)
        await anyio.sleep(0.5 * DAY)
        await ended(runtime, 2)
        assert len(await runtime.list()) == 5
        await anyio.sleep(0.5 * DAY + LOOK_S)
        assert len(await runtime.list()) == 2
        [found] = await runtime.statistics()
        assert (found.executions, found.completed, found.pruned) == (5, 5, 3)
        assert await runtime.store.verify() == []

    in_a_runtime(body, retention="1d")


@pytest.mark.parametrize("retention", [None, "off"])
def test_without_a_retention_everything_stays(retention: str | None):
    """For as long as it would have gone with one."""

    async def body(runtime: Runtime) -> None:
        await ended(runtime, 1)
        await anyio.sleep(2 * DAY)
        assert len(await runtime.list()) == 1

    in_a_runtime(body, retention=retention)


def test_the_history_of_a_schedule_that_starts_nothing_goes_too():
    """Though there is no execution as old as its lines, or none at all."""

    async def body(runtime: Runtime) -> None:
        await runtime.schedules.add("hourly", workflow="order", every="1h")
        await runtime.machine.services.writer.write(DeactivateWorkflow(name="order"))
        await anyio.sleep(3 * DAY)
        assert await runtime.list() == []
        lines = await runtime.schedules.history("hourly", limit=1_000)
        assert 24 <= len(lines) <= 24 + LOOK_S / 3_600

    in_a_runtime(body, retention="1d")


def test_a_client_leaves_it_to_those_who_run():
    """It comes for one command and goes."""

    async def body(runtime: Runtime) -> None:
        await runtime.start("order", {}, detach=True)
        await anyio.sleep(2 * DAY)
        assert len(await runtime.list()) == 1

    in_a_runtime(body, retention="1h", kind="client")


def test_many_go_in_small_transactions_with_rests_between(monkeypatch: pytest.MonkeyPatch):
    """So nobody who writes waits for more than one of them."""
    sizes = []

    async def body(runtime: Runtime) -> None:
        await ended(runtime, 2 * BATCH + 1)
        await ended(runtime, 1, item="brick")
        await anyio.sleep(60)
        commit = runtime.store.commit

        async def watched(writes: Any) -> Any:
            sizes.extend(write.limit for write in writes if isinstance(write, Prune))
            return await commit(writes)

        monkeypatch.setattr(runtime.store, "commit", watched)
        assert await runtime.prunable(older_than=timedelta(seconds=1)) == 2 * BATCH + 2
        assert await runtime.prune(older_than="1s", keep_failed=True) == 2 * BATCH + 1
        assert [one.status for one in await runtime.list()] == ["failed"]
        assert await runtime.prune(older_than=timedelta(days=1)) == 0

    in_a_runtime(body)
    assert sizes == [BATCH] * 4


@pytest.mark.parametrize("given", ["", "soon", "59m", timedelta(0), "1000w00", "-1d"])
def test_a_retention_that_cannot_be_is_refused(given: Any):
    """At once; one that is shorter than an hour is a slip."""
    with pytest.raises(InvalidArgument, match="retention is"):
        Runtime(":memory:", retention=given)


def test_a_retention_is_a_text_or_a_timedelta():
    """An hour is the shortest there is."""
    assert retention_ms("1h") == retention_ms(timedelta(hours=1)) == RETENTION_MS_MIN
    assert retention_ms("off") is retention_ms(None) is None


def test_what_has_ended_can_be_found_soon_without_anybody_asking_for_it():
    """A runtime that takes up work keeps the index; who searches has nothing to wait for."""

    async def body(runtime: Runtime) -> None:
        await ended(runtime, 3)
        assert await runtime.store.is_search_behind()
        await anyio.sleep(2 * INDEX_S)
        assert not await runtime.store.is_search_behind()
        assert len((await runtime.search("lamp")).executions) == 0
        await ended(runtime, 1, item="lamp")
        assert len((await runtime.search("lamp")).executions) == 1

    in_a_runtime(body)


def test_the_log_of_what_ended_a_while_ago_loses_what_its_checkpoints_say(monkeypatch: pytest.MonkeyPatch):
    """A look back at one of them finds what it found before."""
    monkeypatch.setattr(upkeep, "COMPACT_MS", 3_600_000)

    async def body(runtime: Runtime) -> None:
        await ended(runtime, 1)
        [found] = await runtime.list()
        execution = await runtime.execution(found.id)

        async def types() -> set[str]:
            return {event.type async for event in execution.events()}

        [checkpoint] = await execution.checkpoints()
        before = await execution.checkpoint_state(checkpoint)
        assert "checkpoint_created" in await types()
        await anyio.sleep(2 * LOOK_S)
        assert "checkpoint_created" not in await types()
        assert await execution.checkpoints() == [checkpoint]
        assert await execution.checkpoint_state(checkpoint) == before
        assert await runtime.store.verify() == []

    in_a_runtime(body, retention="7d")


@pytest.mark.parametrize("retention", ["90d", "off"])
def test_what_has_ended_is_tallied_after_a_day_by_itself(retention: str, monkeypatch: pytest.MonkeyPatch):
    """With a retention and without; what is reopened is counted as it stands, and tallied anew."""
    asked: list[int] = []

    async def body(runtime: Runtime) -> None:
        due = [[0], [0], []]

        async def tallies_due(*, before: int) -> list[int]:
            asked.append(before)
            return due.pop()

        monkeypatch.setattr(runtime.store, "tallies_due", tallies_due)  # a block is full much later
        await ended(runtime, 2)
        await ended(runtime, 1, item="brick")
        told = await runtime.statistics()
        await anyio.sleep(1.5 * LOOK_S)
        assert await runtime.statistics() == told
        [failed] = await runtime.list(status="failed")
        await (await runtime.execution(failed.id)).retry()
        await (await runtime.execution(failed.id)).result(check=False)
        [found] = await runtime.statistics()
        assert (found.executions, found.completed, found.failed, found.active) == (3, 2, 1, 0)
        await anyio.sleep(LOOK_S)
        assert await runtime.statistics() == [found]
        assert runtime.seams.now_ms() - asked[-1] >= TALLY_MS

    in_a_runtime(body, retention=retention)
    assert len(asked) == 3
