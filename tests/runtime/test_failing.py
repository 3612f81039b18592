"""Attempts that fail, steps and executions that take too long, and what goes on beside them."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from pathlib import Path

import anyio
import pytest
from scenarios import order, virtually

from perdure.runtime import ExecutionFailed, ExecutionTimeout, Retry, Runtime, State, Status, Workflow
from perdure.runtime.testing import VirtualRuntime


def fails_once(tries: list[float], *, again_after: float) -> Workflow:
    """One step, which is good at its second try; `tries` are the moments."""
    workflow = Workflow("flaky")

    @workflow.step(retry=Retry(max_retries=1, delay=again_after, max_delay=again_after, jitter=False))
    async def work() -> str:
        tries.append(anyio.current_time())
        if len(tries) == 1:
            raise ValueError("once")
        return "done"

    return workflow


def test_a_failed_step_is_tried_again_as_often_and_as_patiently_as_asked() -> None:
    """Exponential, capped, no jitter here."""
    times: list[float] = []
    workflow = Workflow("flaky")

    @workflow.step(retry=Retry(max_retries=4, delay=1, multiplier=3, max_delay=5, jitter=False))
    async def work() -> str:
        times.append(anyio.current_time())
        if len(times) < 5:
            raise ConnectionResetError("again")
        return "done"

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(workflow)
        assert (await execution.result()).outputs == {"work": "done"}
        gaps = [round(after - before, 3) for before, after in pairwise(times)]
        assert gaps == [1, 3, 5, 5]

    virtually(scenario)


def test_only_the_errors_named_are_tried_again() -> None:
    """By the name of the error or of one of its bases."""
    tries: list[str] = []
    workflow = Workflow("choosy")

    @workflow.step(retry=Retry(max_retries=3, delay=0, retryable_errors=(OSError,)))
    async def work() -> None:
        tries.append("x")
        raise ConnectionResetError("again") if len(tries) < 3 else ValueError("for good")

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(workflow)
        with pytest.raises(ExecutionFailed, match="for good") as failed:
            await execution.result()
        assert len(tries) == 3
        assert failed.value.error is not None
        assert failed.value.error.step == "work"

    virtually(scenario)


def test_a_pause_in_a_retry_delay_holds_and_the_retry_comes_after_the_resume() -> None:
    """What fell due while paused fires on resume."""
    tries: list[float] = []
    workflow = fails_once(tries, again_after=60)

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(workflow)
        await anyio.sleep(10)
        assert (await execution.status()).state is State.AWAITING_COMPLETION
        assert await execution.pause() is State.PAUSED
        await anyio.sleep(1000)
        assert len(tries) == 1
        await execution.resume()
        assert (await execution.result()).outputs == {"work": "done"}
        assert tries[1] - tries[0] == pytest.approx(1010, abs=1)

    virtually(scenario)


def test_an_execution_that_waits_long_holds_no_task_and_wakes_in_time() -> None:
    """Parked: a row, not a task; the stored timer wakes it."""
    tries: list[float] = []
    workflow = fails_once(tries, again_after=3600)

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(workflow)
        await anyio.sleep(60)
        assert not runtime.machine.executions.is_hot(execution.id)
        assert (await execution.result()).outputs == {"work": "done"}
        assert tries[1] - tries[0] == pytest.approx(3600, abs=1)

    virtually(scenario)


def test_a_required_failure_lets_siblings_settle_and_starts_nothing_new() -> None:
    """Then the execution has failed."""
    log: list[str] = []
    workflow = Workflow("three")

    @workflow.step
    async def bad() -> None:
        raise ValueError("broken")

    @workflow.step
    async def sibling() -> str:
        await anyio.sleep(10)
        log.append("sibling")
        return "kept"

    @workflow.step(after=["bad", "sibling"])
    async def later() -> None:
        log.append("later")

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(workflow)
        result = await execution.result(check=False)
        assert result.status is Status.FAILED
        assert log == ["sibling"]
        assert result.outputs == {"sibling": "kept"}
        assert result.error is not None
        assert "broken" in result.error.message

    virtually(scenario)


def test_continue_on_error_skips_only_what_hangs_on_the_failure() -> None:
    """All else runs; the end is `failed` with every output kept."""
    workflow = Workflow("wide", continue_on_error=True)

    @workflow.step
    async def bad() -> None:
        raise ValueError("broken")

    @workflow.step
    async def good() -> int:
        return 1

    @workflow.step(after=["bad"])
    async def after_bad() -> int:
        return 2

    @workflow.step(after=["after_bad"])
    async def after_that() -> int:
        return 3

    @workflow.step
    async def after_good(good: int) -> int:
        return good + 1

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(workflow)
        result = await execution.result(check=False)
        assert result.status is Status.FAILED
        assert result.outputs == {"good": 1, "after_good": 2}
        steps = (await execution.query())["steps"]
        assert steps["after_bad"]["state"] == steps["after_that"]["state"] == "skipped"

    virtually(scenario)


def test_an_optional_failure_is_null_to_its_dependents() -> None:
    """`optional` counts as settled."""
    workflow = Workflow("soft")

    @workflow.step(optional=True)
    async def maybe() -> int:
        raise ValueError("not today")

    @workflow.step
    async def use(maybe: int | None) -> str:
        return f"got {maybe}"

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(workflow)
        result = await execution.result()
        assert result.outputs == {"maybe": None, "use": "got None"}

    virtually(scenario)


def test_an_execution_that_takes_too_long_fails_as_timed_out() -> None:
    """`timeout` of the execution; paused time does not count."""

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(order(seconds=10), {"item": "lamp"}, timeout=25)
        await anyio.sleep(5)
        await execution.pause()
        await anyio.sleep(1000)
        await execution.resume()
        with pytest.raises(ExecutionTimeout):
            await execution.result()
        assert (await execution.status()).status is Status.FAILED

    virtually(scenario)


def test_a_step_that_takes_too_long_fails_its_attempt() -> None:
    """`timeout` of the step, per attempt."""
    tries: list[int] = []
    workflow = Workflow("slow")

    @workflow.step(timeout=2, retry=Retry(max_retries=1, delay=0))
    async def work() -> str:
        tries.append(1)
        await anyio.sleep(1 if len(tries) == 2 else 100)
        return "in time"

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(workflow)
        assert (await execution.result()).outputs == {"work": "in time"}
        failed = [event async for event in execution.events() if event.type == "step_failed"]
        assert failed[0].data["error"]["type"] == "StepTimeout"

    virtually(scenario)


@pytest.mark.parametrize("reopen", ["retry", "restore"])
def test_a_time_limit_of_its_own_is_kept_when_an_execution_is_reopened(reopen: str, tmp_path: Path) -> None:
    """What `start(timeout=…)` said holds each time it is opened, in another process, too."""
    hangs = Workflow("hangs", timeout=5)

    @hangs.step
    async def forever() -> None:
        await anyio.sleep_forever()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with VirtualRuntime(tmp_path / "limit.db", seed=1) as runtime:
            execution = await runtime.start(hangs, {}, id="e", timeout=100)
            await execution.checkpoint(label="here")
            await execution.result(check=False)
            assert 99 < loop.time() < 102
        async with VirtualRuntime(tmp_path / "limit.db", workflows=[hangs], seed=2) as runtime:
            execution = await runtime.execution("e")
            begun = loop.time()
            if reopen == "retry":
                await execution.retry()
            else:
                await execution.restore("here")
                await execution.resume()
            with pytest.raises(ExecutionTimeout):
                await execution.result()
            assert 99 < loop.time() - begun < 102
