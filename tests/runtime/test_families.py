"""What of an execution reaches its children, and of them reaches it: rest, cancel, deadline."""

from __future__ import annotations

import anyio
import pytest
from family import MINUTE_S, billing, child_of, kinds, order
from scenarios import virtually

from perdure.runtime import ExecutionFailed, Retry, Runtime, State, Workflow


@pytest.mark.parametrize("mode", ["drain", "interrupt"])
def test_a_pause_reaches_the_child_and_the_parent_rests_when_it_does(mode: str):
    """So does the resume; nothing is lost by either."""

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(order())
        await anyio.sleep(1)
        begun = anyio.current_time()
        assert await execution.pause(mode=mode) is State.PAUSED
        took = anyio.current_time() - begun
        assert took == pytest.approx(MINUTE_S - 1 if mode == "drain" else 0, abs=0.5)
        child = await child_of(runtime, execution)
        assert (await child.status()).state is State.PAUSED
        assert (await child.status()).paused_by == execution.id
        await anyio.sleep(MINUTE_S)
        assert await execution.resume() is not State.PAUSED
        assert (await execution.result()).outputs["ship"] == {"total": 42}
        assert "child_paused" in await kinds(execution)

    virtually(scenario, workflows=[billing(seconds=MINUTE_S)])


def test_a_child_that_somebody_else_has_paused_stays_paused_when_its_parent_goes_on():
    """Also when the parent was paused in between; only who paused it has it go on."""

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(order())
        await anyio.sleep(0.5)
        child = await child_of(runtime, execution)
        assert await child.pause(by="ada") is State.PAUSED
        assert await execution.pause() is State.PAUSED
        await execution.resume()
        await anyio.sleep(1)
        summary = await child.status()
        assert (summary.state, summary.paused_by) == (State.PAUSED, "ada")
        assert (await execution.status()).state is State.AWAITING_COMPLETION
        await child.resume()
        assert (await execution.result()).outputs["ship"] == {"total": 42}

    virtually(scenario, workflows=[billing()])


def test_a_child_that_is_to_go_on_by_itself_does_although_its_parent_was_paused_in_between():
    """That was no word about the pause of somebody else; with it gone, both would rest for ever."""

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(order())
        await anyio.sleep(0.5)
        child = await child_of(runtime, execution)
        await child.pause(by="ada")
        await child.resume_later(at=MINUTE_S, by="ada")
        assert await execution.pause() is State.PAUSED
        await execution.resume()
        await anyio.sleep(2 * MINUTE_S)
        assert (await execution.status()).state is State.COMPLETED

    virtually(scenario, workflows=[billing()])


def test_a_pause_that_is_called_off_is_called_off_for_the_child_too():
    """While it still drains; and paused again, both rest."""

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(order())
        await anyio.sleep(1)
        async with anyio.create_task_group() as group:
            group.start_soon(execution.pause)
            await anyio.sleep(1)
            await execution.resume()
            await anyio.sleep(1)
            assert (await (await child_of(runtime, execution)).status()).state is State.EXECUTING
        assert await execution.pause() is State.PAUSED
        assert (await (await child_of(runtime, execution)).status()).state is State.PAUSED
        await execution.resume()
        assert (await execution.result()).outputs["ship"] == {"total": 42}

    virtually(scenario, workflows=[billing(seconds=MINUTE_S)])


def test_a_cancel_reaches_the_child_and_the_parent_ends_after_it():
    """Whoever waits for the cancel finds both ended."""

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(order())
        await anyio.sleep(1)
        assert await execution.cancel() is State.CANCELLED
        child = await child_of(runtime, execution)
        assert (await child.status()).state is State.CANCELLED
        assert await kinds(execution) == ["child_started", "child_ended"]
        states = {attempt.step: attempt.state.value for attempt in await execution.attempts()}
        assert states["bill"] == "cancelled"

    virtually(scenario, workflows=[billing(seconds=MINUTE_S)])


def test_the_deadline_of_the_parent_is_the_end_of_the_child():
    """The parent has failed, the child was cancelled."""

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(order(), timeout=5)
        with pytest.raises(ExecutionFailed, match="deadline"):
            await execution.result()
        assert (await (await child_of(runtime, execution)).status()).state is State.CANCELLED

    virtually(scenario, workflows=[billing(seconds=MINUTE_S)])


def test_the_timeout_of_the_step_is_the_deadline_of_the_child():
    """It fails by it, and so does the attempt."""

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(order(timeout=5))
        with pytest.raises(ExecutionFailed, match="ExecutionTimeout"):
            await execution.result()
        assert (await (await child_of(runtime, execution)).status()).state is State.FAILED

    virtually(scenario, workflows=[billing(seconds=MINUTE_S)])


def test_an_abandoned_child_is_told_nothing():
    """The parent pauses and ends without it; while it waits it still takes what the child gives back."""

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(order(parent_close_policy="abandon"))
        await anyio.sleep(1)
        assert await execution.pause() is State.PAUSED
        child = await child_of(runtime, execution)
        assert (await child.status()).state is State.EXECUTING
        await execution.resume()
        assert await execution.cancel() is State.CANCELLED
        assert (await child.result()).outputs == {"total": 42}
        other = await runtime.start(order(parent_close_policy="abandon"))
        assert (await other.result()).outputs["ship"] == {"total": 42}

    virtually(scenario, workflows=[billing(seconds=MINUTE_S)])


def test_what_a_child_gave_back_while_its_parent_was_paused_is_there_on_resume():
    """A child that was resumed alone runs to its end."""

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(order())
        await anyio.sleep(1)
        await execution.pause(mode="interrupt")
        child = await child_of(runtime, execution)
        await child.resume()
        await child.result()
        await anyio.sleep(1)
        assert (await execution.status()).state is State.PAUSED
        await execution.resume()
        assert (await execution.result()).outputs["ship"] == {"total": 42}

    virtually(scenario, workflows=[billing(seconds=MINUTE_S)])


def test_a_child_that_fails_while_its_parent_comes_to_rest_has_a_next_one_when_it_goes_on():
    """The attempt is over, and the next one due, while nothing may start."""
    failures = [True, False]
    flaky = Workflow("billing")

    @flaky.step
    async def charge(amount: int) -> int:
        await anyio.sleep(MINUTE_S)
        if failures.pop(0):
            raise OSError("not now")
        return amount

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(order(retry=Retry(max_retries=1, delay=5)))
        await anyio.sleep(1)
        assert await execution.pause() is State.PAUSED
        await anyio.sleep(MINUTE_S)
        assert len(await runtime.list(parent=execution.id)) == 1
        await execution.resume()
        assert (await execution.result()).outputs["ship"] == {"charge": 21}

    virtually(scenario, workflows=[flaky])


def test_grandchildren_follow_and_rest_first():
    """A pause of the topmost settles from below."""
    middle = Workflow("middle").workflow_step("bill", workflow="billing", input={"amount": "{{amount}}"})
    top = Workflow("top").workflow_step("inner", workflow=middle, input={"amount": 4})

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(top)
        await anyio.sleep(1)
        assert await execution.pause() is State.PAUSED
        assert {summary.state for summary in await runtime.list()} == {State.PAUSED}
        paused = {summary.workflow: summary.paused_at for summary in await runtime.list()}
        assert paused["billing"] <= paused["middle"] <= paused["top"]  # type: ignore[operator]
        await execution.resume()
        assert (await execution.result()).outputs == {"inner": {"bill": {"total": 8}}}

    virtually(scenario, workflows=[billing(), middle])
