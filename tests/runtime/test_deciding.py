"""Conditions through the whole runtime: ends reached in the first turn, other processes, the log."""

from __future__ import annotations

import pytest
from scenarios import virtually

from perdure.runtime import ExecutionFailed, InputError, Runtime, State, Workflow


def never(word: str) -> bool:
    """A condition that is false."""
    return word == "never"


def test_an_execution_whose_every_step_is_skipped_completes_in_the_change_that_starts_it():
    """It is durable, ended, and nobody's; nothing is hot for it."""
    workflow = Workflow("w")

    @workflow.step(when=never)
    async def only() -> int:
        return 1

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(workflow, {"word": "go"})
        summary = await execution.status()
        assert (summary.state, summary.runner) == (State.COMPLETED, None)
        assert summary.finished_at is not None
        assert (await execution.result()).outputs == {}
        assert [event.type async for event in execution.events()] == [
            "workflow_started",
            "step_skipped",
            "checkpoint_created",
            "workflow_completed",
        ]

    virtually(scenario)


def test_an_execution_that_fails_in_the_change_that_starts_it_says_why():
    """The error is in its row, and the result raises it."""
    workflow = Workflow("w")

    @workflow.step(when="inputs.missing == 1")
    async def only() -> int:
        return 1

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(workflow)
        with pytest.raises(ExecutionFailed, match="ExpressionError: the condition of step 'only'") as caught:
            await execution.result()
        assert caught.value.error.step == "only"
        assert (await execution.status()).error == caught.value.error
        assert await execution.retry() is State.FAILED

    virtually(scenario)


def test_the_inputs_of_a_condition_are_checked_before_anything_starts():
    """Like those of a step."""
    workflow = Workflow("w")

    @workflow.step(when=never)
    async def only() -> int:
        return 1

    async def scenario(runtime: Runtime) -> None:
        with pytest.raises(InputError, match="parameter 'word' takes the input 'word'"):
            await runtime.start(workflow)

    virtually(scenario)
