"""Commands to executions that nobody owns: one commit each, and an actor only where steps begin."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import anyio
import pytest

from perdure.actors.execution import cold
from perdure.actors.execution.supervisor import Executions
from perdure.runtime import Conflict, IllegalTransition, Runtime, State, StoreUnavailable, Workflow
from perdure.runtime.testing import VirtualRuntime, check_store, run_virtual
from perdure.store import SQLiteStore
from perdure.store.writes import Claim, Write

Scenario = Callable[[Runtime], Coroutine[Any, Any, None]]
DAY_S = 86_400.0


def knocking() -> Workflow:
    """Two knocks, at most a day apart, then a step."""
    workflow = Workflow("knocking")
    workflow.signal_step("first", signal="knock", timeout=DAY_S)
    workflow.signal_step("second", signal="knock", timeout=DAY_S, after="first")

    @workflow.step(after="second")
    async def last(first: int, second: int) -> int:
        return first + second

    return workflow


class Counting(SQLiteStore):
    """A store that tells what was written to it."""

    def __init__(self, location: Path) -> None:
        """Nothing yet."""
        super().__init__(str(location), inline=True)
        self.written: list[Write] = []
        self.loads = 0
        self.is_down = False

    async def commit(self, writes: Any) -> Any:
        """Note them."""
        if self.is_down:
            raise StoreUnavailable("the disk is gone")
        self.written += writes
        return await super().commit(writes)

    async def load(self, execution_id: str) -> Any:
        """Count it."""
        self.loads += 1
        return await super().load(execution_id)

    async def load_parked(self, execution_id: str) -> Any:
        """Count it."""
        self.loads += 1
        return await super().load_parked(execution_id)


@pytest.fixture
def spawned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The executions for which an actor was started."""
    found: list[str] = []
    spawn = Executions.spawn

    def note(self: Executions, execution_id: str, **options: Any) -> Any:
        found.append(execution_id)
        return spawn(self, execution_id, **options)

    monkeypatch.setattr(Executions, "spawn", note)
    return found


def virtually(folder: Path, scenario: Callable[[Runtime, Counting], Coroutine[Any, Any, None]]) -> None:
    """Run a scenario with a runtime over a store that counts, and check it after."""

    async def main() -> None:
        store = Counting(folder / "cold.db")
        async with VirtualRuntime(folder / "cold.db", store=store, workflows=[knocking()]) as runtime:
            await scenario(runtime, store)
            assert await check_store(runtime.store) == []

    run_virtual(main)


def test_a_command_to_what_only_waits_is_one_commit_and_no_actor(tmp_path: Path, spawned: list[str]):
    """Signals that nobody waits for, a pause, a signal while paused: nobody ever owns the execution."""

    async def scenario(runtime: Runtime, store: Counting) -> None:
        execution = await runtime.start("knocking", {}, id="e")
        store.written.clear()
        await execution.signal("other", 1)
        await execution.pause()
        await execution.signal("knock", 1)
        assert len(store.written) == 3
        assert spawned == []
        status = await execution.status()
        assert (status.state, status.runner, status.version) == (State.PAUSED, None, 4)

    virtually(tmp_path, scenario)


def test_what_lets_a_step_begin_claims_the_execution_with_the_same_commit(tmp_path: Path, spawned: list[str]):
    """The change that woke it made it ours: no other write is needed before its step runs."""

    async def scenario(runtime: Runtime, store: Counting) -> None:
        execution = await runtime.start("knocking", {}, id="e")
        await execution.signal("knock", 1)
        assert spawned == []
        store.written.clear()
        await execution.signal("knock", 2)
        assert [type(write).__name__ for write in store.written] == ["Change"]
        assert (await execution.result()).outputs["last"] == 3
        assert not any(isinstance(write, Claim) for write in store.written)
        assert spawned == ["e"]

    virtually(tmp_path, scenario)


def test_what_is_remembered_is_not_read_again(tmp_path: Path):
    """Ten signals to one that was seen before: no read of it."""

    async def scenario(runtime: Runtime, store: Counting) -> None:
        execution = await runtime.start("knocking", {}, id="e")
        await execution.signal("other")
        store.loads = 0
        for number in range(10):
            await execution.signal("other", number)
        assert store.loads == 0

    virtually(tmp_path, scenario)


def test_the_cache_is_bounded_and_never_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """With room for two, eight executions take their signals all the same."""
    monkeypatch.setattr(cold, "ENTRIES_MAX", 2)

    async def scenario(runtime: Runtime, store: Counting) -> None:
        all_of_them = [await runtime.start("knocking", {}, id=f"e{number}") for number in range(8)]
        for execution in all_of_them:
            await execution.signal("knock", 1)
        for execution in all_of_them:
            await execution.signal("knock", 2)
        for execution in all_of_them:
            assert (await execution.result()).outputs["last"] == 3

    virtually(tmp_path, scenario)


def test_what_another_process_has_moved_is_not_believed_from_memory(tmp_path: Path):
    """Neither for a change nor for an answer without one."""

    async def main() -> None:
        path = tmp_path / "shared.db"
        async with (
            VirtualRuntime(path, seed=1, workflows=[knocking()]) as one,
            VirtualRuntime(path, seed=2, workflows=[knocking()]) as other,
        ):
            execution = await one.start("knocking", {}, id="e")
            await execution.pause()
            elsewhere = await other.execution("e")
            await elsewhere.resume()
            assert await execution.pause() is State.PAUSED  # it was once; and is again
            assert (await elsewhere.status()).state is State.PAUSED
            await elsewhere.resume()
            await elsewhere.signal("knock", 1)
            await execution.signal("knock", 2)
            assert (await execution.result()).outputs["last"] == 3
            with pytest.raises(IllegalTransition):
                await elsewhere.signal("knock", 3)
            assert await check_store(one.store) == []

    run_virtual(main)


def test_commands_that_come_together_are_all_applied(tmp_path: Path):
    """Each waits for the one before it, whether that left the execution cold or set it going."""

    async def scenario(runtime: Runtime, store: Counting) -> None:
        execution = await runtime.start("knocking", {}, id="e")
        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(execution.signal, "knock" if number in {7, 12} else "other", number)
        result = await execution.result()
        assert result.outputs["last"] == 19
        events = await store.events(execution_id="e", limit=100)
        assert [event.type for event in events].count("signal_received") >= 13

    virtually(tmp_path, scenario)


def test_a_stale_expectation_is_refused_and_changes_nothing(tmp_path: Path):
    """By version, as everywhere; and a command in a state that does not take it."""

    async def scenario(runtime: Runtime, store: Counting) -> None:
        execution = await runtime.start("knocking", {}, id="e")
        await execution.signal("other")
        with pytest.raises(Conflict):
            await execution.pause(expected_version=1)
        await execution.pause()
        version = (await execution.status()).version
        assert await execution.pause() is State.PAUSED
        assert (await execution.status()).version == version

    virtually(tmp_path, scenario)


def test_a_command_given_twice_is_applied_once(tmp_path: Path):
    """Its id tells, also where nobody owns the execution."""

    async def scenario(runtime: Runtime, store: Counting) -> None:
        execution = await runtime.start("knocking", {}, id="e")
        for _ in range(2):
            await execution.signal("knock", 1, command_id="c")
        attempts = await execution.attempts()
        assert [(a.step, a.state.value) for a in attempts] == [("first", "completed"), ("second", "waiting")]

    virtually(tmp_path, scenario)


def test_whoever_stops_waiting_does_not_stop_what_is_on_its_way(tmp_path: Path):
    """The caller is cancelled while the commit is in flight: what it woke goes on."""

    async def scenario(runtime: Runtime, store: Counting) -> None:
        execution = await runtime.start("knocking", {}, id="e")
        await execution.signal("knock", 1)
        asking = asyncio.ensure_future(execution.signal("knock", 2))
        await asyncio.sleep(0)
        assert runtime.machine.executions.cold.take("e") is None  # it is on its way
        asking.cancel()
        assert (await execution.result()).outputs["last"] == 3

    virtually(tmp_path, scenario)


def test_while_the_store_is_down_a_command_is_refused_and_does_not_happen_later(tmp_path: Path):
    """What is remembered is read anew once it is back."""

    async def scenario(runtime: Runtime, store: Counting) -> None:
        execution = await runtime.start("knocking", {}, id="e")
        await execution.signal("other")
        store.is_down = True
        with pytest.raises(StoreUnavailable):
            await execution.signal("knock", 1)
        store.is_down = False
        await anyio.sleep(60)
        assert [a.state.value for a in await execution.attempts()] == ["waiting"]
        await execution.signal("knock", 1)
        await execution.signal("knock", 2)
        assert (await execution.result()).outputs["last"] == 3

    virtually(tmp_path, scenario)
