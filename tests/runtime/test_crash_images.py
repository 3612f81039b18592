"""What the next process makes of a store that was left in the middle of something.

A crash image is a copy of the database file taken while a runtime is at work on it: what a process
that dies at that moment leaves behind.
"""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from perdure.runtime import Conflict, Execution, IllegalTransition, Runtime, State, Status, Workflow
from perdure.runtime.testing import VirtualRuntime, check_store, run_virtual

Scenario = Callable[[Execution], Awaitable[None]]


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


def crash_image(folder: Path, begin: Scenario) -> Path:
    """The store as it is a second after somebody began to do something to an execution in flight."""
    image = folder / "image.db"

    async def main() -> None:
        async with VirtualRuntime(folder / "first.db", seed=1) as runtime:
            execution = await runtime.start(hour(grace_s=2), {}, id="e")
            async with anyio.create_task_group() as group:
                group.start_soon(begin, execution)
                await anyio.sleep(1)
                _copy(folder)
                group.cancel_scope.cancel()

    run_virtual(main)
    return image


def _copy(folder: Path) -> None:
    for path in folder.glob("first.db*"):
        if path.is_file():
            shutil.copy(path, folder / path.name.replace("first", "image"))


def go_on(image: Path, scenario: Callable[[Runtime, Execution], Awaitable[None]]) -> None:
    """Open the image in a process that leaves everything to the first command; look at it afterwards."""

    async def main() -> None:
        async with VirtualRuntime(image, seed=2, recover=False, workflows=[hour()]) as runtime:
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

    go_on(crash_image(tmp_path, pause), scenario)


def test_a_pause_given_again_after_a_crash_is_answered_at_rest(tmp_path: Path) -> None:
    """Not with `pausing`: the caller may rely on nothing being in flight."""

    async def scenario(_: Runtime, execution: Execution) -> None:
        assert await execution.pause(command_id="pause") is State.PAUSED
        assert (await execution.status()).state is State.PAUSED

    go_on(crash_image(tmp_path, pause), scenario)


def test_a_resume_adopts_what_a_crash_left_in_flight(tmp_path: Path) -> None:
    """Somebody has to take it up, and that is what was asked for."""

    async def scenario(_: Runtime, execution: Execution) -> None:
        assert await execution.resume() is State.EXECUTING
        assert (await execution.result()).status is Status.COMPLETED

    go_on(crash_image(tmp_path, nothing), scenario)


def test_a_resume_after_a_crash_heeds_the_expected_version(tmp_path: Path) -> None:
    """Adopting is a command like any other."""

    async def scenario(_: Runtime, execution: Execution) -> None:
        with pytest.raises(Conflict):
            await execution.resume(expected_version=17)

    go_on(crash_image(tmp_path, nothing), scenario)


def test_a_pause_and_a_resume_right_after_a_crash_leave_it_going_on(tmp_path: Path) -> None:
    """Both arrive before it is taken up; the resume calls off the pause and nothing else."""

    async def scenario(_: Runtime, execution: Execution) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(pause, execution)
            await anyio.lowlevel.checkpoint()
            group.start_soon(execution.resume)
        assert (await execution.result()).status is Status.COMPLETED

    go_on(crash_image(tmp_path, nothing), scenario)


def test_what_was_being_cancelled_cannot_be_resumed_after_a_crash(tmp_path: Path) -> None:
    """The intent was durable: it ends cancelled."""

    async def scenario(_: Runtime, execution: Execution) -> None:
        with pytest.raises(IllegalTransition):
            await execution.resume()
        assert (await execution.result(check=False)).status is Status.CANCELLED

    go_on(crash_image(tmp_path, cancel), scenario)
