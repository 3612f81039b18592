"""What the next process makes of a store that was left in the middle of something."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from perdure.runtime import Conflict, Execution, IllegalTransition, Runtime, State, Status, Workflow
from perdure.runtime.testing import RuntimeProcess, VirtualRuntime, check_store, run_virtual

Deed = Callable[[Execution], Awaitable[None]]


def hour(*, grace_s: float = 0) -> Workflow:
    """One step that takes an hour, and after a cancellation as long as that."""
    workflow = Workflow("hour")

    @workflow.step
    async def wait() -> str:
        try:
            await anyio.sleep(3_600)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(grace_s)
        return "done"

    return workflow


def crashed(begin: Deed, folder: Path, scenario: Callable[[Runtime, Execution], Awaitable[None]]) -> None:
    """Kill a process a second after somebody in it began to do something to an execution in flight.

    The scenario plays in the next process, which leaves everything to the first command.
    """

    async def main() -> None:
        first = RuntimeProcess(folder / "life.db", seed=1)
        await first.open()
        execution = await first.run(lambda runtime: runtime.start(hour(grace_s=2), {}, id="e"))
        first.process.spawn(lambda: begin(execution))
        await anyio.sleep(1)
        first.kill()
        async with VirtualRuntime(folder / "life.db", seed=2, recover=False, workflows=[hour()]) as runtime:
            await scenario(runtime, await runtime.execution("e"))
            assert await check_store(runtime.store) == []

    run_virtual(main)


async def nothing(execution: Execution) -> None:
    """Leave it in flight."""


async def pause(execution: Execution) -> None:
    """Let it drain, which takes an hour."""
    await execution.pause(command_id="pause")


async def cancel(execution: Execution) -> None:
    """Stop it, which takes two seconds."""
    await execution.cancel()


def test_a_resume_calls_a_pause_off_that_a_crash_cut(tmp_path: Path) -> None:
    """The wish to rest is older than the wish to go on, although nobody lived to fulfil it."""

    async def scenario(_: Runtime, execution: Execution) -> None:
        assert await execution.resume() is State.EXECUTING
        assert (await execution.result()).status is Status.COMPLETED

    crashed(pause, tmp_path, scenario)


def test_a_pause_given_again_after_a_crash_is_answered_at_rest(tmp_path: Path) -> None:
    """Not with `pausing`: the caller may rely on nothing being in flight."""

    async def scenario(_: Runtime, execution: Execution) -> None:
        assert await execution.pause(command_id="pause") is State.PAUSED
        assert (await execution.status()).state is State.PAUSED

    crashed(pause, tmp_path, scenario)


def test_a_resume_adopts_what_a_crash_left_in_flight(tmp_path: Path) -> None:
    """Somebody has to take it up, and that is what was asked for."""

    async def scenario(_: Runtime, execution: Execution) -> None:
        assert await execution.resume() is State.EXECUTING
        assert (await execution.result()).status is Status.COMPLETED

    crashed(nothing, tmp_path, scenario)


def test_a_resume_after_a_crash_heeds_the_expected_version(tmp_path: Path) -> None:
    """Adopting is a command like any other."""

    async def scenario(_: Runtime, execution: Execution) -> None:
        with pytest.raises(Conflict):
            await execution.resume(expected_version=17)

    crashed(nothing, tmp_path, scenario)


def test_a_pause_and_a_resume_right_after_a_crash_leave_it_going_on(tmp_path: Path) -> None:
    """Both arrive before it is taken up; the resume calls off the pause and nothing else."""

    async def scenario(_: Runtime, execution: Execution) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(pause, execution)
            await anyio.lowlevel.checkpoint()
            group.start_soon(execution.resume)
        assert (await execution.result()).status is Status.COMPLETED

    crashed(nothing, tmp_path, scenario)


def test_what_was_being_cancelled_cannot_be_resumed_after_a_crash(tmp_path: Path) -> None:
    """The intent was durable: it ends cancelled."""

    async def scenario(_: Runtime, execution: Execution) -> None:
        with pytest.raises(IllegalTransition):
            await execution.resume()
        assert (await execution.result(check=False)).status is Status.CANCELLED

    crashed(cancel, tmp_path, scenario)
