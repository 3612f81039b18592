"""Schedules in a running runtime, in virtual time: a year of them, crashes, and two who keep the same."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Awaitable, Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from perdure.runtime import IllegalTransition, InputError, InvalidArgument, Runtime, Workflow
from perdure.runtime.schedules import Rule, Schedules, keeper
from perdure.runtime.testing import VirtualRuntime, run_virtual, virtual_seams
from perdure.store.errors import Conflict, NotFound
from perdure.store.records import Schedule
from perdure.store.scripts.rows import milliseconds, moment

HOUR = 3600.0


def report(took_s: float = 0) -> Workflow:
    """A workflow of one step that takes so long."""
    workflow = Workflow("report")

    @workflow.step
    async def write(day: str = "") -> str:
        await anyio.sleep(took_s)
        return day

    return workflow


def now_ms(runtime: Runtime) -> int:
    """What the runtime's clock shows."""
    return runtime.machine.services.now_ms()


def in_a_runtime(
    body: Callable[[Runtime], Awaitable[Any]], *, workflow: Workflow | None = None, is_patient: bool = False
) -> Any:
    """Run a body in a virtual runtime that knows the workflow; a patient one looks for nothing by itself."""

    async def main() -> Any:
        seams = msgspec.structs.replace(virtual_seams(), patience=10_000.0 if is_patient else 1.0)
        async with VirtualRuntime(workflows=[workflow or report()], seams=seams) as runtime:
            return await body(runtime)

    return run_virtual(main)


async def started(runtime: Runtime) -> list[str]:
    """What schedules have started, oldest first."""
    found = [
        one for one in await runtime.list(limit=1_000) if (one.triggered_by or "").startswith("schedule:")
    ]
    return [one.id for one in reversed(found)]


def test_a_schedule_starts_an_execution_at_each_of_its_moments():
    """With its input as the context, and its name as who triggered it."""

    async def body(runtime: Runtime) -> None:
        schedule = await runtime.schedules.add("nightly", "report", cron="0 2 * * *", input={"day": "today"})
        assert schedule.next_at is not None
        await anyio.sleep(3 * 24 * HOUR)
        ids = await started(runtime)
        assert len(ids) == 3
        assert ids[0].startswith("nightly.")
        assert ids[0].endswith("T020000Z")
        result = await (await runtime.execution(ids[0])).result()
        assert result.outputs == {"write": "today"}
        assert [one.decision for one in await runtime.schedules.history("nightly")] == ["started"] * 3

    in_a_runtime(body)


def test_a_year_of_nights_and_noons_fires_at_each():
    """Each once, and none is left out."""

    async def body(runtime: Runtime) -> int:
        await runtime.schedules.add("twice", "report", cron="0 0,12 * * *")
        await anyio.sleep(365 * 24 * HOUR - 1)
        return len(await runtime.schedules.history("twice", limit=1_000))

    assert in_a_runtime(body, is_patient=True) == 2 * 365 - 1


def test_a_paused_schedule_starts_nothing_and_goes_on_from_where_it_is_resumed():
    """What fell into the pause is written down."""

    async def body(runtime: Runtime) -> None:
        await runtime.schedules.add("hourly", "report", every="1h")
        await anyio.sleep(1.5 * HOUR)
        before = len(await started(runtime))
        await runtime.schedules.pause("hourly")
        await runtime.schedules.pause("hourly")
        await anyio.sleep(5 * HOUR)
        assert len(await started(runtime)) == before
        await runtime.schedules.resume("hourly")
        await anyio.sleep(HOUR)
        assert len(await started(runtime)) == before + 1
        firings = await runtime.schedules.history("hourly")
        assert [(one.decision, one.count) for one in firings if one.decision == "skipped"] == [("skipped", 5)]

    in_a_runtime(body)


def test_what_was_queued_begins_when_a_paused_schedule_is_resumed():
    """Its turn has come meanwhile; nobody waits for the next moment."""

    async def body(runtime: Runtime) -> None:
        await runtime.schedules.add("hourly", "report", every="1h", overlap="queue")
        await anyio.sleep(2.2 * HOUR)
        assert [one.decision for one in await runtime.schedules.history("hourly")] == ["queued", "started"]
        await runtime.schedules.pause("hourly")
        await anyio.sleep(0.4 * HOUR)
        assert len(await started(runtime)) == 1
        await runtime.schedules.resume("hourly")
        await anyio.sleep(60)
        assert len(await started(runtime)) == 2

    in_a_runtime(body, workflow=report(1.5 * HOUR))


@pytest.mark.parametrize(
    ("overlap", "states"),
    [
        ("skip", {"completed": 1, "running": 1}),
        ("allow", {"completed": 2, "running": 2}),
        ("replace", {"cancelled": 3, "running": 1}),
        ("queue", {"completed": 2, "running": 1}),
    ],
)
def test_executions_that_take_longer_than_the_time_between_do_as_the_rule_says(
    overlap: str, states: dict[str, int]
):
    """Every hour one that takes an hour and a half, for four hours and a bit."""

    async def body(runtime: Runtime) -> dict[str, int]:
        await runtime.schedules.add("hourly", "report", every="1h", overlap=overlap)
        next_ = (await runtime.schedules.next("hourly", count=1))[0]
        now = runtime.seams.clock.now()
        await anyio.sleep(next_.timestamp() - now + 3.4 * HOUR)
        found: dict[str, int] = {}
        for one in await runtime.list(limit=100):
            found[one.status.value] = found.get(one.status.value, 0) + 1
        return found

    found = in_a_runtime(body, workflow=report(1.5 * HOUR))
    assert found == states


def test_what_was_missed_while_no_runtime_was_there_is_made_up_for(tmp_path: Path):
    """The last of it by default, in the first moment of the next runtime."""
    path = str(tmp_path / "perdure.db")

    async def main() -> list[tuple[str, int]]:
        async with VirtualRuntime(path, workflows=[report()]) as runtime:
            await runtime.schedules.add("hourly", "report", every="1h")
        await anyio.sleep(7.5 * HOUR)
        async with VirtualRuntime(path, workflows=[report()], seed=2) as runtime:
            await anyio.sleep(1)
            return [(one.decision, one.count) for one in await runtime.schedules.history("hourly")]

    assert run_virtual(main) == [("started", 1), ("missed", 6)]


def test_two_runtimes_that_keep_the_same_schedule_fire_it_once(tmp_path: Path):
    """Whoever is faster; the other finds that it is done."""
    path = str(tmp_path / "perdure.db")

    async def main() -> list[str]:
        async with (
            VirtualRuntime(path, workflows=[report()]) as one,
            VirtualRuntime(path, workflows=[report()], seed=2) as other,
        ):
            await one.schedules.add("hourly", "report", every="1h")
            await other.schedules.add("daily", "report", cron="0 3 * * *")
            await anyio.sleep(6.5 * HOUR)
            assert len(await one.schedules.history("hourly")) == 6
            return await started(other)

    ids = run_virtual(main)
    assert len(ids) == len(set(ids)) == 7


def test_a_crash_between_the_start_and_its_note_fires_nothing_twice(tmp_path: Path):
    """The next runtime decides the same, and its start joins what is there."""
    path = str(tmp_path / "perdure.db")

    async def main() -> list[str]:
        async with VirtualRuntime(path, workflows=[report()]) as runtime:
            await runtime.schedules.add("hourly", "report", every="1h")
            keeper = runtime._keeper
            keeper._writer = Deaf()  # type: ignore[assignment]
            await anyio.sleep(1.01 * HOUR)
            assert await runtime.schedules.history("hourly") == []
            assert len(await started(runtime)) == 1
        async with VirtualRuntime(path, workflows=[report()], seed=2) as runtime:
            await anyio.sleep(1)
            assert len(await runtime.schedules.history("hourly")) == 1
            return await started(runtime)

    assert len(run_virtual(main)) == 1


class Deaf:
    """A writer that dies before it has written."""

    async def write(self, _write: object) -> None:
        """Never come back."""
        await anyio.sleep_forever()


def test_a_start_that_is_refused_is_told_and_the_next_moment_has_its_chance(caplog: pytest.LogCaptureFixture):
    """A later revision asks for an input: no execution, and why stands in the history and in the log."""
    strict = Workflow("strict")

    @strict.step
    async def greet(name: str) -> str:
        return name

    async def body(runtime: Runtime) -> None:
        await runtime.schedules.add("bad", "strict", every="1h")
        await runtime.publish(strict)
        await anyio.sleep(2 * HOUR)
        assert await started(runtime) == []
        firings = await runtime.schedules.history("bad")
        assert {(one.decision, one.execution_id) for one in firings} == {("refused", None)}
        assert "name" in (firings[0].reason or "")

    in_a_runtime(body, workflow=Workflow("strict").agent_step("rest", agent="python:time:sleep"))
    assert "schedule_refused" in caplog.text


def test_a_schedule_whose_starts_would_be_refused_is_not_added():
    """A function asks for an input that it does not give; with a default in the declaration it does."""
    strict = Workflow("strict", inputs={"properties": {"limit": {"default": 3}}})

    @strict.step
    async def greet(name: str, limit: int) -> str:
        return name * limit

    async def body(runtime: Runtime) -> None:
        with pytest.raises(InputError, match="'name'") as refused:
            await runtime.schedules.add("bad", "strict", every="1h")
        assert "limit" not in str(refused.value)
        assert await runtime.schedules.list() == []
        await runtime.schedules.add("good", "strict", every="1h", input={"name": "ann"})

    in_a_runtime(body, workflow=strict)


def test_schedules_are_triggered_filled_back_and_removed():
    """By hand, each time with an execution of its own."""

    async def body(runtime: Runtime) -> None:
        await runtime.schedules.add("hourly", "report", every="1h")
        by_hand = await runtime.schedules.trigger("hourly")
        assert (await by_hand.result()).outputs == {"write": ""}
        begin = (await runtime.schedules.next("hourly", count=1))[0] - timedelta(hours=5)
        filled = await runtime.schedules.backfill("hourly", start=begin, end=begin + timedelta(hours=3))
        assert len({one.id for one in filled}) == 4
        again = await runtime.schedules.backfill("hourly", start=begin, end=begin + timedelta(hours=3))
        assert [one.id for one in again] == [one.id for one in filled]
        await runtime.schedules.remove("hourly")
        assert await runtime.schedules.list() == []
        with pytest.raises(NotFound, match="there is none yet"):
            await runtime.schedules.next("hourly")

    in_a_runtime(body)


def test_a_start_that_is_delayed_is_among_the_next_as_long_as_it_has_not_come():
    """Its moment has passed, and what it is to start has not begun; in a pause it will not."""

    async def body(runtime: Runtime) -> None:
        schedules = runtime.schedules
        coming = (await schedules.add("hourly", "report", every="1h", jitter="59m")).next_at
        assert coming is not None
        await anyio.sleep_until(anyio.current_time() + (coming - moment(now_ms(runtime))).total_seconds() - 1)
        assert now_ms(runtime) % 3_600_000 < milliseconds(coming) % 3_600_000  # between the two
        assert (await schedules.next("hourly", count=1)) == [coming]
        await schedules.pause("hourly")
        [later] = await schedules.next("hourly", count=1)
        assert later > coming

    in_a_runtime(body)


@pytest.mark.parametrize("rule", [{"every": "1h"}, {"cron": "0 * * * *", "timezone": "Europe/Berlin"}])
def test_a_period_at_the_edge_of_the_calendar_is_filled_back_or_refused(rule: dict[str, Any]):
    """Nothing is reckoned past it."""

    async def body(runtime: Runtime) -> None:
        schedules = runtime.schedules
        await schedules.add("hourly", "report", **rule)
        last = datetime(9999, 12, 31, 20, 30, tzinfo=UTC)
        assert len(await schedules.backfill("hourly", start=last, end=last.replace(hour=22))) == 2
        first = datetime(1, 1, 1, tzinfo=UTC)
        with pytest.raises(InvalidArgument, match=r"start is .*: give a moment since 1970"):
            await schedules.backfill("hourly", start=first, end=first)

    in_a_runtime(body)


def test_more_moments_than_anybody_looks_at_are_refused():
    """They would be reckoned for minutes, all of them in the way of what runs."""

    async def body(runtime: Runtime) -> None:
        await runtime.schedules.add("hourly", "report", every="1h")
        assert len(await runtime.schedules.next("hourly", count=10_000)) == 10_000
        with pytest.raises(InvalidArgument, match="at most 10,000"):
            await runtime.schedules.next("hourly", count=10_001)

    in_a_runtime(body)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({}, "either `cron` or `every`"),
        ({"cron": "* * * * *", "every": "1h"}, "either `cron` or `every`"),
        ({"cron": "99 * * * *"}, "Bad minute"),
        ({"cron": "* * * * *", "timezone": "Europe/Berlim"}, "did you mean 'Europe/Berlin'"),
        ({"every": "0.1s"}, "shortest is one second"),
        ({"every": "soon"}, "such as 30s"),
        ({"every": "1h", "overlap": "both"}, "skip, queue, replace, allow"),
        ({"every": "1h", "jitter": "2h"}, "jitter must be shorter"),
        ({"cron": "0 9,10 * * mon", "jitter": "1h"}, "jitter must be shorter than the time between"),
        ({"every": "1h", "mised": "all"}, "did you mean 'missed'"),
        ({"every": "1h", "input": [1]}, "names and values"),
    ],
)
def test_a_rule_that_cannot_be_is_refused_with_what_can(rule: dict[str, Any], words: str):
    """Before anything is written."""

    async def body(runtime: Runtime) -> None:
        with pytest.raises(InvalidArgument, match=words):
            await runtime.schedules.add("bad", "report", **rule)
        assert await runtime.schedules.list() == []

    in_a_runtime(body)


def test_a_schedule_needs_a_workflow_and_a_name_that_ids_can_begin_with():
    """Both are said."""

    async def body(runtime: Runtime) -> None:
        with pytest.raises(NotFound, match="workflow"):
            await runtime.schedules.add("x", "nobody", every="1h")
        with pytest.raises(InvalidArgument, match="may not be called"):
            await runtime.schedules.add("no name", "report", every="1h")

    in_a_runtime(body)


def test_the_same_rule_again_forgets_nothing_that_is_due(tmp_path: Path):
    """A program that adds its schedules at every start loses no moment by it."""
    path = str(tmp_path / "perdure.db")

    async def main() -> int:
        async with VirtualRuntime(path, workflows=[report()]) as runtime:
            await runtime.schedules.add("hourly", "report", every="1h", missed="all")
        await anyio.sleep(3.5 * HOUR)
        async with VirtualRuntime(path, workflows=[report()], seed=2) as runtime:
            await runtime.schedules.add("hourly", "report", every="1h", missed="all")
            await anyio.sleep(1)
            return sum(one.count for one in await runtime.schedules.history("hourly"))

    assert run_virtual(main) == 3


def test_a_schedule_that_cannot_be_understood_here_does_not_stop_the_others(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """It is told, waits, and loses no moment: another process may have the library or the calendar."""

    async def body(runtime: Runtime) -> None:
        await runtime.schedules.add("cron", "report", cron="0 * * * *", missed="all", overlap="allow")
        await runtime.schedules.add("every", "report", every="1h")
        with monkeypatch.context() as lacking:
            lacking.setitem(sys.modules, "cronsim", None)
            await anyio.sleep(3.5 * HOUR)
            assert len(await runtime.schedules.history("every")) == 3
            assert await runtime.schedules.history("cron") == []
        await anyio.sleep(60)
        assert [one.decision for one in await runtime.schedules.history("cron")] == ["started"] * 3

    in_a_runtime(body)
    assert caplog.text.count("schedule_not_understood") == 1


def test_a_clock_that_jumps_is_noticed_within_a_minute():
    """Ahead: what was skipped is missed, and made up for as the rule says. Back: no moment comes again."""

    async def main() -> tuple[list[tuple[str, int]], int, int]:
        clock = Jumping()
        seams = msgspec.structs.replace(virtual_seams(), clock=clock)
        async with VirtualRuntime(workflows=[report()], seams=seams) as runtime:
            await runtime.schedules.add("hourly", "report", every="1h")
            await anyio.sleep(1.5 * HOUR)
            clock.ahead_s = 5 * HOUR
            await anyio.sleep(61)
            told = [(one.decision, one.count) for one in await runtime.schedules.history("hourly")]
            clock.ahead_s = 0
            await anyio.sleep(4.9 * HOUR)
            before = len(await started(runtime))
            await anyio.sleep(HOUR)
            return told, before, len(await started(runtime))

    assert run_virtual(main) == ([("started", 1), ("missed", 4), ("started", 1)], 2, 3)


class Jumping:
    """A clock that somebody sets."""

    def __init__(self) -> None:
        """Right as it is."""
        self.ahead_s = 0.0
        self._right = virtual_seams().clock

    def now(self) -> float:
        """The virtual time of day, as it is set."""
        return self._right.now() + self.ahead_s


def test_what_began_as_the_schedule_was_paused_is_written_down_all_the_same():
    """The pause holds; on resume the moment is not told again as skipped."""

    async def body(runtime: Runtime) -> None:
        await runtime.schedules.add("hourly", "report", every="1h")
        keeper = runtime._keeper
        start = keeper._start

        async def pause_after(schedule: Schedule, rule: Rule, id_: str) -> None:
            await start(schedule, rule, id_)
            await runtime.schedules.pause("hourly")

        keeper._start = pause_after
        await anyio.sleep(3.5 * HOUR)
        keeper._start = start
        (firing,) = await runtime.schedules.history("hourly")
        assert (firing.decision, firing.execution_id) == ("started", (await started(runtime))[0])
        assert (await runtime.schedules.get("hourly")).is_paused
        await runtime.schedules.resume("hourly")
        told = [(one.decision, one.count) for one in await runtime.schedules.history("hourly")]
        assert told == [("skipped", 2), ("started", 1)]

    in_a_runtime(body)


def test_what_only_a_newer_release_can_read_is_left_to_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    """A rule, or the workflow that it starts: no moment is lost, and the others are kept, however few."""
    monkeypatch.setattr(keeper, "PAGE", 2)
    path = tmp_path / "p.db"
    foreign = Workflow("foreign")
    foreign.sleep_step("nap", 1)

    async def main() -> None:
        async with VirtualRuntime(path, workflows=[report(), foreign]) as runtime:
            for id_, workflow in (("rule", "report"), ("workflow", "foreign"), ("known", "report")):
                await runtime.schedules.add(id_, workflow, every="1h")
        rule, definition = "json_set(rule, '$.overlap', 'merge')", "json_set(definition, '$.telepathy', 1)"
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(f"UPDATE workflow_schedules SET rule = {rule} WHERE id = 'rule'")
            connection.execute(f"UPDATE workflows SET definition = {definition} WHERE name = 'foreign'")
        async with VirtualRuntime(path, workflows=[report()], seed=2) as runtime:
            await anyio.sleep(3.5 * HOUR)
            found = {id_: await runtime.store.firings(id_) for id_ in ("rule", "workflow", "known")}
            assert {id_: len(firings) for id_, firings in found.items()} == {
                "rule": 0,
                "workflow": 0,
                "known": 3,
            }

    run_virtual(main)
    assert caplog.text.count("schedule_not_understood") == 2


@pytest.mark.parametrize("command", ["pause", "resume"])
def test_a_schedule_that_moves_all_the_time_refuses_by_the_command_that_was_given(
    command: str, monkeypatch: pytest.MonkeyPatch
):
    """Who wanted it to go on is not told of a pause."""

    async def moved(*_: object) -> None:
        raise Conflict("hourly", expected=1, current=2)

    async def body(runtime: Runtime) -> None:
        await runtime.schedules.add("hourly", "report", every="1h")
        if command == "resume":
            await runtime.schedules.pause("hourly")
        monkeypatch.setattr(Schedules, "_write", moved)
        with pytest.raises(IllegalTransition, match=f"cannot {command} schedule hourly"):
            await getattr(runtime.schedules, command)("hourly")

    in_a_runtime(body)
