"""The runtime as a program sees it, under virtual time: opened, closed, set up, left in any way."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Self

import anyio
import pytest
from scenarios import order, virtually

from perdure.actors.dispatch.recovery import Recovery
from perdure.actors.execution import actor
from perdure.runtime import (
    DefinitionError,
    Execution,
    InvalidArgument,
    PerdureError,
    Runtime,
    RuntimeClosed,
    Status,
    StepContext,
    StoreError,
    Workflow,
)
from perdure.runtime.home import this_task
from perdure.runtime.testing import VirtualRuntime, run_virtual


def test_an_execution_runs_to_its_end_and_gives_every_output() -> None:
    """The main job."""

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(order(), {"item": "lamp", "quantity": 2})
        result = await execution.result()
        assert result.status is Status.COMPLETED
        assert result.outputs == {
            "reserve": "2xlamp",
            "charge": {"paid": "2xlamp"},
            "ship": "shipped 2xlamp",
        }
        assert (await execution.status()).steps_completed == 3

    virtually(scenario)


def test_where_there_is_no_room_the_higher_priority_comes_first() -> None:
    """Starting more than `max_active` queues in the store."""
    log: list[str] = []
    workflow = Workflow("queued")

    @workflow.step
    async def work(name: str) -> None:
        log.append(name)
        await anyio.sleep(1)

    async def scenario(runtime: Runtime) -> None:
        started = [
            await runtime.start(workflow, {"name": name}, priority=priority)
            for name, priority in (("first", 0), ("low", 1), ("high", 9), ("middle", 5))
        ]
        for execution in started:
            await execution.result()
        assert log == ["first", "high", "middle", "low"]

    virtually(scenario, max_active=1)


@pytest.mark.parametrize(("max_active", "sweeps_max"), [(10, 0), (1, 8)])
def test_the_store_is_swept_for_work_only_where_somebody_had_to_wait(
    monkeypatch: pytest.MonkeyPatch, max_active: int, sweeps_max: int
) -> None:
    """What ends leaves nothing to do: with room for all, nobody looks for what is not there."""
    swept: list[Recovery] = []
    sweep = Recovery.sweep

    async def counted(recovery: Recovery) -> float:
        swept.append(recovery)
        return await sweep(recovery)

    monkeypatch.setattr(Recovery, "sweep", counted)

    async def scenario(runtime: Runtime) -> None:
        await anyio.sleep(1)
        swept.clear()
        executions = [await runtime.start(order(), {"item": "lamp", "quantity": 2}) for _ in range(4)]
        for execution in executions:
            assert (await execution.result()).status is Status.COMPLETED
        assert len(swept) <= sweeps_max

    virtually(scenario, max_active=max_active)


def test_a_running_store_is_backed_up(tmp_path: Path) -> None:
    """From within the program, while an execution is in flight; the copy is a store like any other."""

    async def scenario(runtime: Runtime) -> None:
        await runtime.start(order(seconds=10), {"item": "lamp"}, id="e")
        taken = await runtime.backup(tmp_path / "copy.db")
        assert Path(taken.path) == tmp_path / "copy.db"
        with pytest.raises(StoreError, match=r"copy\.db"):
            await runtime.backup(tmp_path / "copy.db")
        await runtime.backup(tmp_path / "copy.db", overwrite=True)
        async with VirtualRuntime(tmp_path / "copy.db", seed=2, workflows=[order()]) as other:
            assert (await (await other.execution("e")).result()).status is Status.COMPLETED

    virtually(scenario, location=tmp_path / "life.db")


def test_the_steps_of_each_level_live_in_a_task_group_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one level leaves behind cannot reach into the next; those side by side share one."""
    groups: list[asyncio.TaskGroup] = []

    class Watched(asyncio.TaskGroup):
        async def __aenter__(self) -> Self:
            groups.append(await super().__aenter__())
            return self

    workflow = Workflow("levels")
    seen: dict[str, int] = {}
    for key, after in (("a", ()), ("b", ["a"]), ("c", ["a"]), ("d", ["b", "c"])):

        @workflow.step(key=key, after=after)
        async def note(context: StepContext) -> None:
            seen[context.step] = len(groups)
            await anyio.sleep(1)

    async def scenario(runtime: Runtime) -> None:
        monkeypatch.setattr(actor.asyncio, "TaskGroup", Watched)
        await (await runtime.start(workflow)).result()

    virtually(scenario)
    assert seen == {"a": 1, "b": 2, "c": 2, "d": 3}


def test_a_closed_runtime_says_so() -> None:
    """Rather than hanging."""

    async def main() -> None:
        async with VirtualRuntime() as runtime:
            execution = await runtime.start(order(seconds=100), {"item": "lamp"})
        for refused in (
            execution.pause,
            execution.status,
            execution.query,
            execution.attempts,
            execution.checkpoints,
            execution.result,
            execution.can_resume,
            lambda: execution.set_priority(1),
            lambda: runtime.start(order()),
        ):
            with pytest.raises(RuntimeClosed):
                await refused()

    run_virtual(main)


def test_who_waits_for_a_result_is_told_when_the_runtime_closes() -> None:
    """The execution goes on in the next one."""

    async def main() -> None:
        async with anyio.create_task_group() as group:

            async def wait_for(execution: Execution) -> None:
                with pytest.raises(RuntimeClosed):
                    await execution.result()

            async with VirtualRuntime() as runtime:
                group.start_soon(wait_for, await runtime.start(order(seconds=100), {"item": "lamp"}))
                await anyio.sleep(1)

    run_virtual(main)


def test_a_thousand_executions_run_side_by_side() -> None:
    """Each with its own answer."""

    async def scenario(runtime: Runtime) -> None:
        workflow = order()
        handles = [await runtime.start(workflow, {"item": f"i{n}"}) for n in range(1000)]
        results = [await handle.result() for handle in handles]
        assert [result.outputs["ship"] for result in results] == [f"shipped 1xi{n}" for n in range(1000)]

    virtually(scenario)


def test_a_runtime_can_be_set_up_by_variables_and_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is given wins over variables, variables over the file."""
    (tmp_path / "perdure.toml").write_text('db = "from-file.db"\nmax_active = 7\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PERDURE_DURABILITY", "process")
    assert Runtime.configured().store.location == str(tmp_path / "from-file.db")
    assert Runtime.configured(db="given.db").store.location == str(tmp_path / "given.db")
    monkeypatch.setenv("PERDURE_DB", "from-variable.db")
    assert Runtime.configured().store.location == str(tmp_path / "from-variable.db")
    with pytest.raises(PerdureError, match="max_activ"):
        Runtime.configured(max_activ=3)


def test_a_runtime_cancelled_from_outside_leaves_in_good_order(tmp_path: Path) -> None:
    """By a scope of the embedding program: nothing hangs, nothing counts as a death, the next one goes on."""
    database = tmp_path / "orders.db"

    async def main() -> None:
        with anyio.move_on_after(15):
            async with VirtualRuntime(database) as runtime:
                execution = await runtime.start(order(seconds=10), {"item": "lamp"}, id="o-1")
                await execution.result()
        async with VirtualRuntime(database, workflows=[order(seconds=10)], seed=1) as runtime:
            assert [runner.pid for runner in await runtime.store.runners()] == [os.getpid()]
            execution = await runtime.execution("o-1")
            assert (await execution.result()).status is Status.COMPLETED
            assert sum(attempt.deaths for attempt in await execution.attempts()) == 0

    run_virtual(main)


async def _with_a_group_that_fails() -> None:
    async def fail() -> None:
        await anyio.sleep(1)
        raise ValueError("mine")

    with contextlib.suppress(ExceptionGroup):
        async with asyncio.TaskGroup() as group:
            group.create_task(fail())
            group.create_task(anyio.sleep(10))


async def _with_a_cancellation_that_is_caught() -> None:
    this_task().cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await anyio.sleep(10)


@pytest.mark.parametrize("goes_on", [_with_a_group_that_fails, _with_a_cancellation_that_is_caught])
def test_what_the_block_has_outlived_does_not_cancel_its_end(goes_on: Callable[[], Awaitable[None]]) -> None:
    """A child of a group that failed, before Python 3.13, and a cancellation that was caught."""

    async def main() -> str:
        async with VirtualRuntime() as runtime:
            await runtime.start(order(seconds=100), {"item": "lamp"})
            await goes_on()
        return "left"

    assert run_virtual(main) == "left"


def test_a_cancellation_that_is_still_to_come_outlives_the_block() -> None:
    """Asked for in the last line of the block; the runtime is closed, and its task cancelled."""

    async def main() -> None:
        runtime = VirtualRuntime()
        try:
            async with runtime:
                await runtime.start(order(seconds=100), {"item": "lamp"})
                this_task().cancel()
        finally:
            with pytest.raises(RuntimeClosed):
                runtime.check_open()

    with pytest.raises(asyncio.CancelledError):
        run_virtual(main)


def test_an_error_of_the_block_comes_out_as_it_is() -> None:
    """Not wrapped in a group."""

    async def main() -> None:
        async with VirtualRuntime() as runtime:
            await runtime.start(order(seconds=10), {"item": "lamp"})
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        run_virtual(main)


def test_what_keeps_a_runtime_from_opening_comes_out_as_it_is(tmp_path: Path) -> None:
    """Whoever embeds it catches that, and not a group; the next one opens."""
    wrong = Workflow("wrong")
    wrong.step(key="a", after="nope")(lambda: 1)
    (tmp_path / "junk.db").write_bytes(b"hello" * 1_000)

    async def main() -> None:
        for error, given, options in (
            (DefinitionError, tmp_path / "a.db", {"workflows": [wrong]}),
            (StoreError, tmp_path / "junk.db", {}),
        ):
            with pytest.raises(error):
                async with VirtualRuntime(given, **options):
                    pass
        async with VirtualRuntime(tmp_path / "a.db", workflows=[order()]) as runtime:
            assert await runtime.list() == []

    run_virtual(main)


def test_a_start_whose_caller_gives_up_waiting_goes_on_all_the_same() -> None:
    """Durable means going: cancelling the wait leaves no execution that nobody works on."""

    async def scenario(runtime: Runtime) -> None:
        workflow = order()
        await runtime.publish(workflow)
        tasks = [
            asyncio.create_task(runtime.start(workflow, {"item": "lamp"}, id=f"o-{n}")) for n in range(20)
        ]
        await anyio.lowlevel.checkpoint()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await anyio.sleep(100)
        summaries = await runtime.list()
        assert [summary.status for summary in summaries] == [Status.COMPLETED] * 20

    virtually(scenario)


@pytest.mark.parametrize(
    "options", [{"max_active": 0}, {"max_active_steps": -1}, {"kind": "zzz"}, {"workflows": ["order"]}]
)
def test_a_runtime_that_could_do_nothing_is_not_made(options: dict[str, Any]) -> None:
    """It would hang for ever."""
    with pytest.raises(InvalidArgument):
        Runtime(":memory:", **options)


def test_a_runtime_is_open_once() -> None:
    """A second `async with` of the same one is refused and leaves the first alone."""

    async def main() -> None:
        runtime = VirtualRuntime()
        with pytest.raises(RuntimeClosed):
            _ = runtime.waiting_for_code
        async with runtime:
            with pytest.raises(RuntimeClosed, match="open already"):
                async with runtime:
                    pass
            execution = await runtime.start(order(), {"item": "lamp"})
            assert (await execution.result()).status is Status.COMPLETED
            with pytest.raises(InvalidArgument):
                await execution.signal("")

    run_virtual(main)
