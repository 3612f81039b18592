"""Pausing, resuming and cancelling while steps run: when it is answered, what is repeated."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from scenarios import order, virtually

from perdure.runtime import (
    ExecutionCancelled,
    IllegalTransition,
    Runtime,
    State,
    Status,
    StepContext,
    Workflow,
)
from perdure.runtime.testing import VirtualRuntime, run_virtual


def test_a_pause_drains_and_a_resume_repeats_nothing() -> None:
    """The step in flight finishes; what is recorded never runs again."""
    log: list[str] = []

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(order(log=log), {"item": "lamp"})
        await anyio.sleep(0.5)
        assert await execution.pause() is State.PAUSED
        assert log == ["reserve"]
        await anyio.sleep(1000)
        assert log == ["reserve"]
        assert await execution.resume() is State.EXECUTING
        await execution.result()
        assert log == ["reserve", "charge", "ship"]
        assert (await execution.query())["steps"]["reserve"]["attempt"] == 1

    virtually(scenario)


def test_an_interrupting_pause_uses_up_no_attempt() -> None:
    """The body is cancelled, its step is pending again, its attempt is still the first."""
    log: list[str] = []

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(order(log=log, seconds=100), {"item": "lamp"})
        await anyio.sleep(1)
        began = anyio.current_time()
        assert await execution.pause(mode="interrupt") is State.PAUSED
        assert anyio.current_time() - began < 1
        assert (await execution.query())["steps"]["reserve"]["state"] == "pending"
        await execution.resume()
        await execution.result()
        assert log == ["reserve", "reserve", "charge", "ship"]
        assert (await execution.query())["steps"]["reserve"]["attempt"] == 1

    virtually(scenario)


def test_a_pause_that_the_end_overtakes_returns_the_end_and_so_does_resume() -> None:
    """DESIGN §4: draining the last step ends `completed`."""

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(order(), {"item": "lamp"})
        await anyio.sleep(2.5)
        assert await execution.pause() is State.COMPLETED
        assert await execution.resume() is State.COMPLETED
        with pytest.raises(IllegalTransition):
            await execution.pause()
        with pytest.raises(IllegalTransition):
            await execution.resume()

    virtually(scenario)


def test_a_resume_after_the_end_was_reopened_goes_on() -> None:
    """The end that overtook a pause is history once somebody has gone back to a checkpoint."""

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(order(), {"item": "lamp"}, timeout=2.8)
        await execution.checkpoint(label="here")
        await anyio.sleep(2.5)
        assert await execution.pause() is State.FAILED
        assert await execution.restore("here") is State.PAUSED
        assert await execution.resume() is State.EXECUTING

    virtually(scenario)


def test_a_resume_while_pausing_calls_the_pause_off() -> None:
    """And whoever paused is told where that left the execution."""

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(order(seconds=10), {"item": "lamp"})
        await anyio.sleep(1)
        answers: list[State] = []
        async with anyio.create_task_group() as group:

            async def pause() -> None:
                answers.append(await execution.pause())

            group.start_soon(pause)
            await anyio.sleep(1)
            assert (await execution.status()).state is State.PAUSING
            await execution.resume()
        assert answers == [State.EXECUTING]
        assert (await execution.result()).status is Status.COMPLETED

    virtually(scenario)


def test_a_paused_execution_says_since_when_by_whom_and_why() -> None:
    """In the list, where people look."""

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(order(), {"item": "lamp"})
        await execution.pause(by="ada", reason="stocktaking")
        (paused,) = await runtime.list(status="paused")
        assert (paused.paused_by, paused.pause_reason, paused.pause_mode) == ("ada", "stocktaking", "drain")
        assert paused.paused_at is not None
        await execution.resume()
        await execution.result()
        (ended,) = await runtime.list()
        assert (ended.paused_by, ended.pause_reason, ended.paused_at) == (None, None, None)

    virtually(scenario)


def test_pausing_a_paused_execution_changes_nothing() -> None:
    """Idempotent."""

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(order(), {"item": "lamp"})
        await execution.pause()
        before = (await execution.query())["version"]
        assert await execution.pause() is State.PAUSED
        assert (await execution.query())["version"] == before

    virtually(scenario)


def test_a_queued_execution_can_be_paused_before_it_begins() -> None:
    """And begins when it is resumed."""
    log: list[str] = []

    async def scenario(runtime: Runtime) -> None:
        first = await runtime.start(order(seconds=50), {"item": "lamp"})
        second = await runtime.start(order(log=log), {"item": "desk"})
        assert (await second.status()).status is Status.INITIATED
        assert await second.pause() is State.PAUSED
        await first.result()
        await anyio.sleep(100)
        assert log == []
        await second.resume()
        assert (await second.result()).outputs["ship"] == "shipped 1xdesk"

    virtually(scenario, max_active=1)


def test_cancel_reaches_the_running_body_and_ends_the_execution() -> None:
    """Through its scope, at once."""
    seen: list[str | None] = []
    workflow = Workflow("slow")

    @workflow.step
    async def work(context: StepContext) -> None:
        try:
            await anyio.sleep(3600)
        finally:
            seen.append(context.interrupt_reason)

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(workflow)
        await anyio.sleep(1)
        assert await execution.cancel("no longer wanted", by="ada") is State.CANCELLED
        assert seen == ["cancel"]
        with pytest.raises(ExecutionCancelled):
            await execution.result()
        assert (await execution.result(check=False)).status is Status.CANCELLED
        requested = [event async for event in execution.events() if event.type == "cancel_requested"]
        assert requested[0].by == "ada"
        assert requested[0].data == {"reason": "no longer wanted"}

    virtually(scenario)


def test_resume_can_bring_data_and_the_steps_that_follow_see_it() -> None:
    """Merged into the context."""

    async def scenario(runtime: Runtime) -> None:
        workflow = Workflow("needs-data")

        @workflow.step
        async def first() -> int:
            await anyio.sleep(1)
            return 1

        @workflow.step(after=["first"])
        async def second(answer: str = "none") -> str:
            return answer

        execution = await runtime.start(workflow)
        await execution.pause()
        await execution.resume(data={"answer": "yes"}, by="ada")
        assert (await execution.result()).outputs["second"] == "yes"

    virtually(scenario)


def test_a_paused_execution_stays_paused_over_a_restart(tmp_path: Any) -> None:
    """Pause is durable."""
    database = tmp_path / "orders.db"

    async def main() -> None:
        async with VirtualRuntime(database) as runtime:
            execution = await runtime.start(order(seconds=10), {"item": "lamp"})
            await execution.pause()
        async with VirtualRuntime(database, workflows=[order(seconds=10)], seed=1) as runtime:
            await anyio.sleep(1000)
            handle = await runtime.execution(execution.id)
            assert (await handle.status()).state is State.PAUSED
            await handle.resume()
            assert (await handle.result()).status is Status.COMPLETED

    run_virtual(main)
