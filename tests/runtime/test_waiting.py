"""Waiting through the whole runtime: cold, woken by time, signals and other processes, checked after."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest
from scenarios import virtually

from perdure.runtime import ExecutionFailed, IllegalTransition, Runtime, State, Workflow
from perdure.runtime.testing import VirtualRuntime, check_store, run_virtual

MINUTE_S = 60


def order(scheduling: Any = "level") -> Workflow:
    """Reserve, wait for the payment, let three minutes pass, ship."""
    workflow = Workflow("order", scheduling=scheduling)

    @workflow.step
    async def reserve() -> str:
        return "reserved"

    workflow.signal_step("paid", signal="paid", timeout=14 * MINUTE_S, after=reserve)
    workflow.sleep_step("settle", 3 * MINUTE_S, after="paid")

    @workflow.step(after="settle")
    async def ship(paid: int) -> str:
        return f"shipped for {paid}"

    return workflow


@pytest.mark.parametrize("scheduling", ["level", "eager"])
def test_an_execution_that_only_waits_is_cold_and_goes_on_when_its_time_has_come(scheduling: str):
    """No actor, no owner; three minutes later it goes on by itself."""

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(order(scheduling))
        await anyio.sleep(1)
        assert runtime.machine.executions.is_idle
        assert (await execution.status()).runner is None
        begun = anyio.current_time()
        await execution.signal("paid", 40)
        await anyio.sleep(1)
        assert runtime.machine.executions.is_idle
        result = await execution.result()
        assert result.outputs["ship"] == "shipped for 40"
        assert anyio.current_time() - begun == pytest.approx(3 * MINUTE_S, abs=1)

    virtually(scenario)


def test_a_workflow_that_begins_with_a_wait_is_cold_from_its_start():
    """The start itself gives it up."""
    workflow = Workflow("late").sleep_step("night", MINUTE_S).signal_step("go", signal="go", after="night")

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(workflow)
        assert runtime.machine.executions.is_idle
        summary = await execution.status()
        assert (summary.state, summary.runner) == (State.AWAITING_COMPLETION, None)
        await anyio.sleep(MINUTE_S + 1)
        assert [a.state.value for a in await execution.attempts()] == ["completed", "waiting"]
        await execution.signal("go", [1])
        assert (await execution.result()).outputs["go"] == [1]

    virtually(scenario)


def test_a_wait_survives_the_end_of_the_process_with_the_signals_that_were_kept(tmp_path: Path):
    """What came early in one process is taken in another."""

    async def main() -> None:
        path = tmp_path / "w.db"
        async with VirtualRuntime(path, workflows=[order()]) as runtime:
            execution = await runtime.start(order(), id="x")
            await anyio.sleep(1)
        async with VirtualRuntime(path, kind="client") as client:
            await (await client.execution("x")).signal("paid", 7)
        await anyio.sleep(5 * MINUTE_S)
        async with VirtualRuntime(path, workflows=[order()]) as runtime:
            execution = await runtime.execution("x")
            assert (await execution.result()).outputs["ship"] == "shipped for 7"
            assert await check_store(runtime.store) == []

    run_virtual(main)


def test_a_wait_that_takes_too_long_fails_the_execution_with_a_typed_error():
    """And says for what it has waited."""

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(order())
        with pytest.raises(ExecutionFailed, match=r"WaitTimeout: step 'paid' waited .* s for signal 'paid'"):
            await execution.result()

    virtually(scenario)


def test_until_takes_a_moment_from_an_input_or_an_output():
    """As text with an offset, or as milliseconds."""
    workflow = Workflow("w").until_step("opening", "{{opens}}")

    @workflow.step
    async def later(opening: str) -> int:
        return 946_684_800_000 + len(opening)

    workflow.until_step("past", "{{later}}", after=later)

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(workflow, {"opens": "2001-01-01T01:00:00+01:00"})
        outputs = (await execution.result()).outputs
        assert outputs["opening"] == "2001-01-01T00:00:00Z"
        assert outputs["past"] == "2000-01-01T00:00:00.020000Z"
        broken = await runtime.start(workflow, {"opens": "tomorrow"})
        with pytest.raises(ExecutionFailed, match="ExpressionError: the moment of step 'opening'"):
            await broken.result()

    virtually(scenario)


def test_every_step_that_waits_may_be_paused_cancelled_and_restored():
    """Through the handle, with the store checked at the end."""

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(order())
        await anyio.sleep(1)
        before = await execution.checkpoint(label="before")
        assert await execution.pause() is State.PAUSED
        await execution.signal("paid", 1)
        assert await execution.restore(before) is State.PAUSED
        await execution.resume()
        await anyio.sleep(1)
        assert (await execution.query())["steps"]["paid"]["state"] == "completed"
        assert await execution.cancel() is State.CANCELLED

    virtually(scenario)


@pytest.mark.parametrize("recover", [True, False], ids=["cold", "hot"])
def test_an_execution_that_only_waits_takes_a_resume_whether_it_is_hot_or_cold(recover: bool):  # noqa: FBT001
    """Which of the two is nobody's business: its data is merged, and it waits on."""

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(order())
        await anyio.sleep(1)
        assert runtime.machine.executions.is_hot(execution.id) is not recover
        for no in range(2):
            assert await execution.resume(data={"no": no}) is State.AWAITING_COMPLETION
        assert (await execution.query())["context"] == {"no": 1}
        resumed = [event.type async for event in execution.events() if event.type == "workflow_resumed"]
        assert len(resumed) == 2
        await execution.signal("paid", 40)
        assert (await execution.result()).outputs["ship"] == "shipped for 40"

    virtually(scenario, recover=recover)


@pytest.mark.parametrize("recover", [True, False], ids=["cold", "hot"])
def test_what_its_moment_has_set_going_runs_already_whether_it_was_hot_or_cold(recover: bool):  # noqa: FBT001
    """Nobody had left it: a resume finds nothing to adopt, and its data is refused with it."""

    async def scenario(runtime: Runtime) -> None:
        workflow = Workflow("nap").sleep_step("nap", MINUTE_S)

        @workflow.step(after="nap")
        async def work() -> None:
            await anyio.sleep(MINUTE_S)

        execution = await runtime.start(workflow)
        await anyio.sleep(1.5 * MINUTE_S)
        with pytest.raises(IllegalTransition):
            await execution.resume(data={"no": 1})
        assert (await execution.query())["context"] == {}

    virtually(scenario, recover=recover)


def test_lengths_of_time_may_be_text_wherever_python_asks_for_one():
    """Of an execution, of a patience, of a moment to come."""

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(Workflow("w").signal_step("a", signal="s"), timeout="1h5m")
        with pytest.raises(TimeoutError):
            await execution.result(timeout="2s")
        await execution.pause()
        assert await execution.resume_later(at="2h") is State.PAUSED
        began = anyio.current_time()
        error = (await execution.result(check=False)).error
        assert error is not None
        assert error.type == "ExecutionTimeout"
        assert round((anyio.current_time() - began) / 60) == 3 * 60 + 5

    virtually(scenario)
