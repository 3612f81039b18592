"""Loops through the whole runtime: cold between iterations, keys, the log, and what callers see."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import anyio
import pytest
from scenarios import virtually

from perdure.runtime import Repeat, Runtime, State, StepContext, Workflow


@pytest.mark.parametrize("scheduling", ["level", "eager"])
def test_a_health_check_is_cold_between_two_looks(scheduling: Any):
    """One look in thirty seconds, each under a key of its own; what follows sees the last."""
    workflow = Workflow("w", scheduling=scheduling)
    keys: list[str] = []
    times: list[float] = []

    @workflow.step(repeat=Repeat(until="output.status == inputs.wanted", delay=30))
    async def look(context: StepContext, iteration: int, previous: Any) -> dict[str, Any]:
        keys.append(context.idempotency_key)
        times.append(anyio.current_time())
        assert context.iteration == iteration
        return {"status": "up" if iteration == 3 else "down", "before": previous}

    @workflow.step
    async def announce(look: dict[str, Any]) -> str:
        return look["status"]

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(workflow, {"wanted": "up"})
        await anyio.sleep(1)
        assert runtime.machine.executions.is_idle
        assert (await execution.query())["steps"]["look"]["iteration"] == 2
        result = await execution.result()
        assert result.outputs["announce"] == "up"
        assert result.outputs["look"]["before"]["before"] == {"status": "down", "before": None}
        assert [round(after - before) for before, after in pairwise(times)] == [30, 30]
        assert keys == [f"{execution.id}:look:0:{number}" for number in (1, 2, 3)]
        log = [(event.type, event.data) async for event in execution.events() if event.step == "look"]
        assert [type_ for type_, _ in log] == ["step_started", "step_repeated"] * 2 + [
            "step_started",
            "step_completed",
        ]
        assert log[1][1] == {"iteration": 1, "delay_ms": 30_000}

    virtually(scenario)


def test_a_loop_that_is_cancelled_and_retried_goes_on_where_it_was():
    """With the output of the iteration before."""
    workflow = Workflow("w")

    @workflow.step(repeat=Repeat(until=lambda output: output == [1, 2, 3], delay=60))
    async def collect(iteration: int, previous: list[int] | None) -> list[int]:
        return [*(previous or []), iteration]

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(workflow)
        await anyio.sleep(1)
        assert await execution.cancel() is State.CANCELLED
        await execution.retry()
        assert (await execution.result()).outputs == {"collect": [1, 2, 3]}

    virtually(scenario)
