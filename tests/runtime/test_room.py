"""Room for one more execution: whoever waited for it has it as soon as it is there."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest
from scenarios import virtually

from perdure.actors.dispatch import recovery
from perdure.runtime import Runtime, StepContext, Workflow
from perdure.runtime.testing import VirtualRuntime, run_virtual
from perdure.store import SQLiteStore
from perdure.store.claims import Claimable
from perdure.store.protocol import Answer
from perdure.store.writes import Write

CLAIM_S = 0.05
COUNT = 300


def timed(begun: dict[str, float]) -> Workflow:
    """One step that takes so many seconds; notes when it has begun."""
    workflow = Workflow("timed")

    @workflow.step
    async def work(context: StepContext, seconds: float) -> None:
        begun[context.execution_id] = anyio.current_time()
        await anyio.sleep(seconds)

    return workflow


def test_room_that_comes_while_others_are_claimed_is_taken_at_once(monkeypatch: pytest.MonkeyPatch):
    """Who ends in a process that is not full asks nobody to look: the look that is under way sees to it."""
    begun: dict[str, float] = {}
    claim_free = recovery.claim_free

    async def slowly(services: Any, execution_nos: Sequence[int]) -> dict[str, int]:
        await anyio.sleep(1)
        return await claim_free(services, execution_nos)

    monkeypatch.setattr(recovery, "claim_free", slowly)

    async def scenario(runtime: Runtime) -> None:
        since = anyio.current_time()
        workflow = timed(begun)
        seconds = {"a": 20, "b": 20.5, "c": 60, "d": 60}
        executions = [await runtime.start(workflow, {"seconds": s}, id=id_) for id_, s in seconds.items()]
        for execution in executions:
            await execution.result()
        assert begun["c"] - since == pytest.approx(21, abs=0.5)
        assert begun["d"] - since == pytest.approx(22, abs=0.5)

    virtually(scenario, max_active=2)


class Slow(SQLiteStore):
    """A store whose commits take a second while it `is_slow`."""

    def __init__(self) -> None:
        """In memory."""
        super().__init__(":memory:", inline=True)
        self.is_slow = False

    async def commit(self, writes: Sequence[Write]) -> list[Answer]:
        """As the store, in the end."""
        if self.is_slow:
            await anyio.sleep(1)
        return await super().commit(writes)


def test_room_that_a_command_has_taken_for_a_moment_is_given_back():
    """While a commit moves an execution that nobody has, it counts as one that is about to be hot."""
    begun: dict[str, float] = {}
    store = Slow()
    waiting = Workflow("waiting")
    waiting.signal_step("go", signal="go")

    async def scenario(runtime: Runtime) -> None:
        first, second = [await runtime.start(waiting, id=id_) for id_ in ("w1", "w2")]
        await runtime.publish(timed(begun))
        await anyio.sleep(1)
        store.is_slow = True
        async with anyio.create_task_group() as group:
            group.start_soon(first.signal, "other")
            await anyio.sleep(0.1)
            since = anyio.current_time()
            started = asyncio.create_task(runtime.start("timed", {"seconds": 1}, id="x"))
            await anyio.sleep(1)
            group.start_soon(second.signal, "other")
        execution = await started
        store.is_slow = False
        await execution.result()
        assert begun["x"] - since < 5
        for each in (first, second):
            await each.cancel()

    virtually(scenario, store=store, max_active=1)


class Looked(SQLiteStore):
    """A store that counts the looks for work."""

    def __init__(self) -> None:
        """In memory."""
        super().__init__(":memory:", inline=True)
        self.looks = 0

    async def claimable(self, *, limit: int, after_no: int = 0) -> list[Claimable]:
        """As the store."""
        self.looks += not after_no
        return await super().claimable(limit=limit, after_no=after_no)


def test_a_command_to_one_that_stays_parked_makes_nobody_look_for_work():
    """There was room for one, and nobody had to wait for it."""
    store = Looked()
    waiting = Workflow("waiting")
    waiting.signal_step("go", signal="go")

    async def scenario(runtime: Runtime) -> None:
        parked = await runtime.start(waiting, id="w")
        busy = await runtime.start(timed({}), {"seconds": 50})
        await anyio.sleep(1)
        before = store.looks
        for _ in range(20):
            await parked.signal("other")
        await anyio.sleep(0.1)
        assert store.looks - before <= 1
        await busy.result()
        await parked.cancel()

    virtually(scenario, store=store, max_active=2)


def test_a_start_that_is_no_longer_waited_for_begins_like_any_other():
    """It was queued, and is durable: whoever has room takes it up."""
    begun: dict[str, float] = {}
    store = Slow()

    async def scenario(runtime: Runtime) -> None:
        workflow = timed(begun)
        first = await runtime.start(workflow, {"seconds": 30}, id="first")
        await anyio.sleep(29.5)
        store.is_slow = True
        await anyio.sleep(1)  # its end is being written
        since = anyio.current_time()
        with anyio.move_on_after(0.1):
            await runtime.start(workflow, {"seconds": 1}, id="x")
        await first.result()
        await anyio.sleep(20)
        store.is_slow = False
        assert begun["x"] - since < 6

    virtually(scenario, store=store, max_active=1)


def work(*, seconds: float) -> Workflow:
    """A step that takes at most so long, now much and now little."""
    workflow = Workflow("work")

    @workflow.step
    async def step(number: int) -> None:
        await anyio.sleep(seconds * (number % 7 + 1) / 7)

    return workflow


@pytest.mark.parametrize("room", [5, 50, 200])
def test_of_many_none_waits_for_a_look_that_nobody_has_asked_for(
    tmp_path: Path, room: int, monkeypatch: pytest.MonkeyPatch
):
    """Whoever was passed by in the last one."""
    path = str(tmp_path / "store.db")
    claim_free = recovery.claim_free

    async def claim_slowly(*given: Any) -> Any:
        await anyio.sleep(CLAIM_S)
        return await claim_free(*given)

    async def main() -> None:
        async with VirtualRuntime(path, workflows=[work(seconds=1_000)]) as runtime:
            executions = [await runtime.start("work", {"number": n}) for n in range(COUNT)]
            await anyio.sleep(1)
        monkeypatch.setattr(recovery, "claim_free", claim_slowly)
        async with VirtualRuntime(
            path, workflows=[work(seconds=CLAIM_S)], max_active=room, seed=1
        ) as runtime:
            begun = anyio.current_time()
            for execution in executions:
                await (await runtime.execution(execution.id)).result()
            assert anyio.current_time() - begun < 3 * CLAIM_S * (COUNT / room + 1)

    run_virtual(main)
