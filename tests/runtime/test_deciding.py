"""Conditions through the whole runtime: ends reached in the first turn, other processes, the log."""

from __future__ import annotations

import anyio
import pytest
from scenarios import virtually

from perdure.runtime import DefinitionError, ExecutionFailed, InputError, Runtime, State, Workflow
from perdure.runtime.testing import TestRuntime, stub, virtual_time


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


def test_a_step_may_go_on_with_the_first_that_comes():
    """The others end in their own time, and what they have not given yet is null."""
    workflow = Workflow("w", scheduling="eager")

    @workflow.step
    async def quick() -> str:
        await anyio.sleep(1)
        return "quick"

    @workflow.step
    async def slow() -> str:
        await anyio.sleep(60)
        return "slow"

    @workflow.step(dependencies_policy=1)
    async def first(quick: str | None, slow: str | None) -> list[str | None]:
        return [quick, slow]

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(workflow)
        async for event in execution.events(follow=True):
            if (event.type, event.step) == ("step_completed", "first"):
                break
        assert (await execution.query())["running"] == ["slow"]
        result = await execution.result()
        assert result.outputs == {"quick": "quick", "slow": "slow", "first": ["quick", None]}

    virtually(scenario)


def test_a_step_that_waits_for_more_than_it_depends_on_is_refused():
    """When it is read, at its place; a file and Python say the same."""
    steps = "  - {key: a, agent: x}\n  - {key: b, agent: x, dependencies: [a], dependenciesPolicy: 2}\n"
    text = f"name: w\nsteps:\n{steps}"
    with pytest.raises(DefinitionError, match=r"4:.*step 'b' waits for 2 of its dependencies, and has 1"):
        Workflow.parse(text)
    with pytest.raises(DefinitionError, match=r"dependenciesPolicy.*some"):
        Workflow.parse(text.replace("Policy: 2", "Policy: some"))
    with pytest.raises(DefinitionError, match=r"dependenciesPolicy.*0"):
        Workflow.parse(text.replace("Policy: 2", "Policy: 0"))
    fits = Workflow.parse(text.replace("Policy: 2", "Policy: 1"))
    assert Workflow.parse(fits.to_yaml()).revision == fits.revision


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


PETS = """
name: pets
steps:
  - {key: get, agent: service, optional: true}
  - {key: go, waitFor: {signal: go}, dependencies: [get]}
  - key: notify
    agent: work
    dependencies: [go]
    when: "steps.get.state == 'failed' && steps.get.error.type == 'LookupError'"
  - key: repair
    agent: work
    dependencies: [go]
    when: "steps.get.state == 'failed' && steps.get.error.message == 'down'"
  - {key: buy, agent: work, dependencies: [go], when: steps.get.error == null}
"""


@pytest.mark.parametrize(
    ("outcome", "ran"), [(LookupError("404 no pet"), "notify"), (OSError("down"), "repair"), (1, "buy")]
)
@virtual_time
async def test_a_condition_sees_why_a_step_failed_also_in_the_next_process(outcome: object, ran: str):
    """Its type and its message; where it has not failed there is none."""
    stubs = [stub("service", sequence=[outcome]), stub("work")]
    async with TestRuntime(Workflow.parse(PETS), stubs=stubs) as test:
        execution = await test.start("pets")
        await test.advance("1s")
        await test.crash()
        await execution.signal("go")
        result = await test.assert_completed(execution)
        assert {"notify", "repair", "buy"} & set(result.outputs) == {ran}


@virtual_time
async def test_an_attempt_that_failed_before_one_that_succeeded_is_no_error_of_the_step():
    """Only what has become of the step counts."""
    text = """
name: again
steps:
  - {key: get, agent: service, retryPolicy: {maxRetries: 1}}
  - {key: buy, agent: work, dependencies: [get], when: steps.get.error == null}
"""
    stubs = [stub("service", sequence=[OSError("down"), 1]), stub("work")]
    async with TestRuntime(Workflow.parse(text), stubs=stubs) as test:
        await test.assert_completed(await test.start("again"), {"buy": None})
