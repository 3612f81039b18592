"""A command given again under its id, by a client that never heard the answer, is one command."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from perdure.actors.kernel import faults
from perdure.runtime import Execution, IllegalTransition, Retry, Runtime, State, StepContext, Workflow
from perdure.runtime.testing import VirtualRuntime, run_virtual

Command = Callable[[Execution], Awaitable[Any]]


def with_runtime(scenario: Callable[[Runtime], Awaitable[None]]) -> None:
    """Run a scenario on a runtime of its own under virtual time."""

    async def main() -> None:
        async with VirtualRuntime() as runtime:
            await scenario(runtime)

    run_virtual(main)


def slow() -> Workflow:
    """One step of an hour, which fails the first time it is run to its end."""
    workflow = Workflow("slow")

    @workflow.step(retry=Retry(max_retries=0))
    async def hour(context: StepContext) -> int:
        await anyio.sleep(3_600)
        if context.generation == 0:
            raise OSError("not the first time")
        return context.generation

    return workflow


async def in_flight(execution: Execution) -> None:
    """The step has begun."""


async def paused(execution: Execution) -> None:
    """It rests."""
    await execution.pause(mode="interrupt")


async def failed(execution: Execution) -> None:
    """Its step has failed, with a checkpoint before."""
    await execution.checkpoint(label="here")
    await execution.result(check=False)


async def resume(execution: Execution) -> Any:
    """Go on."""
    return await execution.resume(command_id="once")


async def resume_with_data(execution: Execution) -> Any:
    """Go on with other data."""
    return await execution.resume(data={"word": "new"}, command_id="once")


async def retry(execution: Execution) -> Any:
    """Try again."""
    return await execution.retry(command_id="once")


async def cancel(execution: Execution) -> Any:
    """Stop for good."""
    return await execution.cancel(command_id="once")


async def restore(execution: Execution) -> Any:
    """Go back."""
    return await execution.restore("here", command_id="once")


async def update_if_unchanged(execution: Execution) -> Any:
    """Change the context, if nobody was faster."""
    return await execution.update_context({"word": "new"}, expected_version=1, command_id="once")


async def signal(execution: Execution) -> Any:
    """Send a signal."""
    return await execution.signal("hello", command_id="once")


async def checkpoint(execution: Execution) -> Any:
    """Name the position."""
    return await execution.checkpoint(label="mark", command_id="once")


@pytest.mark.parametrize(
    ("before", "command"),
    [
        (paused, resume),
        (paused, resume_with_data),
        (failed, retry),
        (in_flight, cancel),
        (failed, restore),
        (in_flight, update_if_unchanged),
        (in_flight, signal),
        (in_flight, checkpoint),
    ],
)
def test_a_repeated_command_gets_the_same_answer_and_changes_nothing(
    before: Command, command: Command
) -> None:
    """Where it would not be taken any more, too: the first time it was."""

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(slow(), {"word": "old"})
        await before(execution)
        first = await command(execution)
        events = [event async for event in execution.events()]
        assert await command(execution) == first
        assert [event async for event in execution.events()] == events

    with_runtime(scenario)


def test_a_checkpoint_asked_for_again_is_the_one_that_was_taken() -> None:
    """Though the execution has moved on since."""

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(slow(), {})
        first = await checkpoint(execution)
        await execution.signal("hello")
        assert await checkpoint(execution) == first

    with_runtime(scenario)


def test_a_repeated_command_is_answered_after_the_end() -> None:
    """The answer tells where the execution stands by then."""

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(slow(), {})
        await paused(execution)
        await resume(execution)
        await execution.result(check=False)
        assert await resume(execution) is State.FAILED

    with_runtime(scenario)


def test_a_command_that_comes_twice_keeps_no_execution_awake() -> None:
    """What rests needs no actor, whatever it was asked last."""

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(slow(), {})
        await signal(execution)
        await paused(execution)
        await signal(execution)
        await anyio.sleep(0.001)
        assert not runtime.machine.executions.is_hot(execution.id)

    with_runtime(scenario)


def test_a_command_that_never_was_is_refused_all_the_same() -> None:
    """Only its own id is known."""

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(slow(), {})
        await execution.signal("hello", command_id="another")
        with pytest.raises(IllegalTransition):
            await retry(execution)

    with_runtime(scenario)


def test_a_resume_whose_actor_crashed_after_it_was_written_is_left_to_those_who_perform(
    tmp_path: Path,
) -> None:
    """The next incarnation finds it applied and has nothing to do here: it must not keep the execution."""
    crashes = iter([OSError("after the commit")])

    def crash_once(point: str) -> None:
        if point == "publish:before" and (error := next(crashes, None)) is not None:
            raise error

    async def main() -> None:
        async with VirtualRuntime(tmp_path / "db", seed=1) as worker:
            execution = await worker.start(slow(), id="x")
            await execution.pause(mode="interrupt")
            async with VirtualRuntime(tmp_path / "db", seed=2, kind="client") as client:
                elsewhere = await client.execution("x")
                with faults.installed(crash_once):
                    assert await elsewhere.resume(command_id="once") is not State.PAUSED
                await anyio.sleep(60)
                assert (await execution.query())["running"] == ["hour"]

    run_virtual(main)
