"""The circuit breaker of an execution through the whole runtime: told in text, kept, shown, reset."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from scenarios import virtually

from perdure.runtime import ForEach, Retry, Runtime, State, StepContext, Workflow
from perdure.runtime.cli import run_command


def flaky(scheduling: Any = "level", **breaker: Any) -> Workflow:
    """A step that succeeds at its fifth attempt, one second after another."""
    workflow = Workflow("flaky", scheduling=scheduling, circuit_breaker=breaker)

    @workflow.step(retry=Retry(max_retries=10, delay=1, jitter=False, multiplier=1))
    async def stubborn(context: StepContext) -> int:
        if context.attempt < 5:
            raise OSError("down")
        return context.attempt

    return workflow


@pytest.mark.parametrize("scheduling", ["level", "eager"])
def test_an_execution_is_stopped_by_its_breaker_and_goes_on_when_it_is_resumed(scheduling: str):
    """Why and when is in the store."""

    async def scenario(runtime: Runtime) -> None:
        workflow = flaky(scheduling, errors=3, window=timedelta(minutes=1), onTrip="pause")
        execution = await runtime.start(workflow)
        async for event in execution.events(follow=True):
            if event.type == "workflow_paused":
                break
        stored = await runtime.store.execution(execution.id)
        assert stored is not None
        assert stored.circuit_breaker_state is not None
        assert stored.circuit_breaker_state.reason == "3 attempts failed within 60 s"
        assert await execution.resume() in (State.EXECUTING, State.AWAITING_COMPLETION)
        assert (await execution.result()).outputs == {"stubborn": 5}
        query = await execution.query()
        assert query["circuit_breaker_state"]["reset_at"] is not None

    virtually(scenario)


def test_a_tripped_execution_fails_and_can_be_retried():
    """The new generation begins with a clean record, and trips again by itself only."""

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(flaky(errors=4, window="10s"))
        result = await execution.result(check=False)
        assert result.error is not None
        assert (result.status.value, result.error.type) == ("failed", "CircuitBreakerTripped")
        await execution.retry()
        again = await execution.result(check=False)
        assert again.error is not None
        assert again.error.type == "CircuitBreakerTripped"
        types = [event.type async for event in execution.events()]
        assert types.count("circuit_breaker_tripped") == 2

    virtually(scenario)


@pytest.mark.parametrize("scheduling", ["level", "eager"])
def test_an_execution_is_stopped_when_too_many_of_its_items_fail(scheduling: Any):
    """Although its step would go on without them."""
    workflow = Workflow("many", scheduling=scheduling, circuit_breaker={"errors": 3})

    @workflow.step(for_each=ForEach(items=100, max_concurrency=2, continue_on_error=True))
    async def each(item: int) -> int:
        if item % 2:
            raise OSError("down")
        return item

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(workflow)
        result = await execution.result(check=False)
        assert result.error is not None
        assert result.error.type == "CircuitBreakerTripped"
        [loop] = await runtime.store.loops(execution.id)
        assert loop.begun < 10

    virtually(scenario)


AGENTS = """\
from perdure.runtime import Agents

agents = Agents()


@agents.agent("down")
async def down() -> int:
    raise OSError("down")
"""
DOWN = """\
name: down
config: {circuitBreaker: {errors: 2}}
steps:
  - {key: one, agent: down, retryPolicy: {maxRetries: 5, retryDelayMs: 0}}
"""


@pytest.mark.integration
@pytest.mark.usefixtures("empty_folder")
def test_status_says_that_the_breaker_has_tripped(capsys: pytest.CaptureFixture[str]):
    """When, and why."""
    Path("agents.py").write_text(AGENTS)
    Path("down.yaml").write_text(DOWN)
    assert run_command(["run", "down.yaml", "--agents", "agents.py:agents", "--id", "d1"]) == 10
    capsys.readouterr()
    assert run_command(["status", "d1"]) == 0
    shown = capsys.readouterr().out
    assert "breaker       tripped" in shown
    assert "2 attempts failed within 60 s" in shown
