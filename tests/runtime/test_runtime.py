"""The runtime as a program sees it, under virtual time: every promise of the handle, at every moment."""

from __future__ import annotations

import asyncio
import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import pytest
from scenarios import virtually

from perdure.runtime import (
    Agents,
    Conflict,
    Event,
    ExecutionCancelled,
    ExecutionFailed,
    ExecutionTimeout,
    IdTaken,
    IllegalTransition,
    InvalidArgument,
    InvalidContext,
    NotFound,
    NotSerializable,
    PayloadTooLarge,
    PerdureError,
    Retry,
    Runtime,
    RuntimeClosed,
    State,
    Status,
    StepContext,
    StoreError,
    TemplateError,
    UnknownAgent,
    Workflow,
    trace_id,
)
from perdure.runtime.testing import VirtualRuntime, run_virtual


def order(*, seconds: float = 1.0, log: list[str] | None = None) -> Workflow:
    """Three steps, one after the other, each of which takes some virtual seconds."""
    workflow = Workflow("order")
    seen = [] if log is None else log

    @workflow.step
    async def reserve(item: str, quantity: int = 1) -> str:
        seen.append("reserve")
        await anyio.sleep(seconds)
        return f"{quantity}x{item}"

    @workflow.step
    async def charge(reserve: str) -> dict[str, str]:
        seen.append("charge")
        await anyio.sleep(seconds)
        return {"paid": reserve}

    @workflow.step
    async def ship(charge: dict[str, str]) -> str:
        seen.append("ship")
        await anyio.sleep(seconds)
        return f"shipped {charge['paid']}"

    return workflow


def test_an_execution_runs_to_its_end_and_gives_every_output() -> None:
    """The main job."""

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(order(), {"item": "lamp", "quantity": 2})
        result = await execution.result()
        assert result.status is Status.COMPLETED
        assert result.outputs == {
            "reserve": "2xlamp",
            "charge": {"paid": "2xlamp"},
            "ship": "shipped 2xlamp",
        }
        assert (await execution.status()).steps_completed == 3

    virtually(scenario)


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


def test_where_there_is_no_room_the_higher_priority_comes_first() -> None:
    """Starting more than `max_active` queues in the store."""
    log: list[str] = []
    workflow = Workflow("queued")

    @workflow.step
    async def work(name: str) -> None:
        log.append(name)
        await anyio.sleep(1)

    async def scenario(runtime: Runtime) -> None:
        started = [
            await runtime.start(workflow, {"name": name}, priority=priority)
            for name, priority in (("first", 0), ("low", 1), ("high", 9), ("middle", 5))
        ]
        for execution in started:
            await execution.result()
        assert log == ["first", "high", "middle", "low"]

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
    workflow = Workflow("flaky")

    @workflow.step(retry=Retry(max_retries=1, delay=60, jitter=False))
    async def work() -> str:
        tries.append(anyio.current_time())
        if len(tries) == 1:
            raise ValueError("once")
        return "done"

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
    workflow = Workflow("patient")

    @workflow.step(retry=Retry(max_retries=1, delay=3600, max_delay=3600, jitter=False))
    async def work() -> str:
        tries.append(anyio.current_time())
        if len(tries) == 1:
            raise ValueError("once")
        return "done"

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


def test_retry_runs_only_what_failed_and_with_the_same_idempotency_key() -> None:
    """What completed stays."""
    log: list[str] = []
    keys: list[str] = []
    workflow = Workflow("fixable")

    @workflow.step
    async def first() -> int:
        log.append("first")
        return 1

    @workflow.step
    async def second(first: int, context: StepContext) -> int:
        log.append("second")
        keys.append(context.idempotency_key)
        if len(keys) == 1:
            raise ValueError("not yet")
        return first + 1

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(workflow)
        assert (await execution.result(check=False)).status is Status.FAILED
        await execution.retry(by="ada")
        assert (await execution.result()).outputs == {"first": 1, "second": 2}
        assert log == ["first", "second", "second"]
        assert keys[0] == keys[1]

    virtually(scenario)


def test_restore_goes_back_to_a_named_checkpoint_and_its_context() -> None:
    """A checkpoint with label and author; the context is as it was then."""
    workflow = Workflow("back")

    @workflow.step
    async def first(mood: str = "calm") -> str:
        return mood

    @workflow.step
    async def second(first: str, mood: str = "calm") -> str:
        await anyio.sleep(10)
        return f"{first} {mood}"

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(workflow, {"mood": "calm"})
        await anyio.sleep(1)
        checkpoint = await execution.checkpoint(label="before second", by="ada")
        assert (checkpoint.label, checkpoint.by, checkpoint.steps_completed) == ("before second", "ada", 1)
        await execution.update_context({"mood": "wild"})
        await execution.pause()
        assert (await execution.result()).outputs == {"first": "calm", "second": "calm calm"}
        with pytest.raises(IllegalTransition, match="pause it first"):
            await execution.restore("before second")

        again = await runtime.start(workflow, {"mood": "calm"})
        await anyio.sleep(1)
        await again.checkpoint(label="here")
        await again.update_context({"mood": "wild"})
        await again.pause(mode="interrupt")
        with pytest.raises(NotFound, match="here"):
            await again.restore("nowhere")
        assert await again.restore("here") is State.PAUSED
        assert (await again.query())["context"] == {"mood": "calm"}
        await again.resume()
        assert (await again.result()).outputs["second"] == "calm calm"
        assert (await again.checkpoints())[-1].steps_completed == 1

    virtually(scenario)


def test_steps_undone_by_a_restore_run_again_with_new_keys() -> None:
    """What completed after the checkpoint is reopened in a new generation."""
    keys: list[str] = []
    workflow = Workflow("again")

    @workflow.step
    async def first() -> int:
        await anyio.sleep(1)
        return 1

    @workflow.step
    async def second(first: int, context: StepContext) -> int:
        keys.append(context.idempotency_key)
        await anyio.sleep(1)
        return first + len(keys)

    @workflow.step
    async def third(second: int) -> int:
        await anyio.sleep(1)
        return second * 10

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(workflow)
        await anyio.sleep(1.5)
        await execution.checkpoint(label="mark")
        await anyio.sleep(1)
        await execution.cancel()
        assert await execution.restore("mark", by="ada") is State.PAUSED
        await execution.resume()
        assert (await execution.result()).outputs == {"first": 1, "second": 3, "third": 30}
        assert len(set(keys)) == 2

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


def test_a_command_with_a_stale_version_is_refused_with_the_current_one() -> None:
    """`expected_version`: somebody was faster."""

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(order(seconds=10), {"item": "lamp"})
        version = (await execution.query())["version"]
        assert await execution.update_context({"note": 1}, expected_version=version) == version + 1
        with pytest.raises(Conflict) as refused:
            await execution.update_context({"note": 2}, expected_version=version)
        assert refused.value.current == version + 1
        assert (await execution.query())["context"]["note"] == 1
        await execution.result()
        with pytest.raises(Conflict):  # though it has ended: what was seen is no longer so
            await execution.update_context({"note": 2}, expected_version=version)

    virtually(scenario)


def test_a_signal_and_a_checkpoint_with_a_stale_version_are_refused_and_leave_nothing() -> None:
    """Like every other command: what somebody has seen decides what is said."""

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(order(seconds=10), {"item": "lamp"})
        stale = (await execution.query())["version"]
        await execution.update_context({"note": 1})
        with pytest.raises(Conflict):
            await execution.signal("paid", 40, expected_version=stale)
        with pytest.raises(Conflict):
            await execution.checkpoint(label="here", expected_version=stale)
        version = await execution.signal("paid", 50, expected_version=stale + 1)
        checkpoint = await execution.checkpoint(label="here", expected_version=version)
        assert checkpoint.version == version + 1
        received = [event.data async for event in execution.events() if event.type == "signal_received"]
        assert [data["payload"] for data in received] == [50]

    virtually(scenario)


def test_the_same_command_id_twice_is_one_command() -> None:
    """Applied once, answered twice."""

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(order(seconds=10), {"item": "lamp"})
        await execution.signal("knock", {"n": 1}, command_id="k-1")
        await execution.signal("knock", {"n": 1}, command_id="k-1")
        received = [event async for event in execution.events() if event.type == "signal_received"]
        assert len(received) == 1
        assert (await execution.result()).status is Status.COMPLETED

    virtually(scenario)


def test_the_same_id_twice_joins_the_same_execution() -> None:
    """The second start runs nothing."""
    log: list[str] = []

    async def scenario(runtime: Runtime) -> None:
        first = await runtime.start(order(log=log), {"item": "lamp"}, id="order-1")
        second = await runtime.start(order(log=log), {"item": "desk"}, id="order-1")
        assert first.id == second.id == "order-1"
        assert (await second.result()).outputs["ship"] == "shipped 1xlamp"
        assert log == ["reserve", "charge", "ship"]

    virtually(scenario)


def test_an_id_that_another_workflow_s_execution_has_is_refused() -> None:
    """Nobody takes its result for that of what was to be started; another revision is the same workflow."""

    async def scenario(runtime: Runtime) -> None:
        other = Workflow("other")

        @other.step
        async def nothing() -> None: ...

        first = await runtime.start(other, id="one")
        with pytest.raises(IdTaken, match="is one of workflow 'other', not of workflow 'order'"):
            await runtime.start(order(), {"item": "lamp"}, id="one")
        with pytest.raises(IdTaken):
            await runtime.start(order(), {"item": "lamp"}, id="one", detach=True)
        assert [each.id for each in await runtime.list()] == ["one"]
        assert (await first.result()).status is Status.COMPLETED

        other.sleep_step("later", 1.0)
        assert (await runtime.start(other, id="one")).id == "one"

    virtually(scenario)


def test_the_trace_id_comes_from_the_caller_and_is_on_every_event() -> None:
    """From the context variable, a traceparent included."""

    async def scenario(runtime: Runtime) -> None:
        token = trace_id.set("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
        execution = await runtime.start(order(), {"item": "lamp"})
        trace_id.reset(token)
        await execution.result()
        traces = {event.trace_id async for event in execution.events()}
        assert traces == {"4bf92f3577b34da6a3ce929d0e0e4736"}
        assert (await execution.status()).trace_id == "4bf92f3577b34da6a3ce929d0e0e4736"

    virtually(scenario)


def test_a_step_starts_others_and_logs_under_the_trace_of_its_execution() -> None:
    """Bound once; nobody passes it on."""
    workflow = Workflow("outer")
    seen: list[str | None] = []

    @workflow.step
    async def work() -> None:
        seen.append(trace_id.get())

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(workflow, trace_id="t-42")
        await execution.result()
        assert seen == ["t-42"]
        assert trace_id.get() is None

    virtually(scenario)


def test_a_long_level_is_checkpointed_at_the_interval() -> None:
    """`checkpointInterval`: only where something has changed since."""
    workflow = Workflow("long", checkpoint_interval=10)

    @workflow.step
    async def slow() -> None:
        await anyio.sleep(100)

    @workflow.step
    async def quick() -> None:
        await anyio.sleep(25)

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(workflow)
        await anyio.sleep(50)
        checkpoints = await execution.checkpoints()
        assert [checkpoint.steps_completed for checkpoint in checkpoints] == [1, 0]
        assert all(checkpoint.automatic for checkpoint in checkpoints)
        assert (await execution.result()).status is Status.COMPLETED

    virtually(scenario)


@pytest.mark.parametrize("status", ["Running", "", "success", "RUNNING", "in_progress"])
def test_a_status_nobody_defined_is_refused_by_name(status: str) -> None:
    """Never mapped silently."""

    async def scenario(runtime: Runtime) -> None:
        with pytest.raises(NotFound, match="rolled_back"):
            await runtime.list(status=status)

    virtually(scenario)


def test_events_can_be_followed_and_none_is_missing_or_doubled() -> None:
    """From the first to the last."""

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(order(), {"item": "lamp"})
        seen: list[Event] = [event async for event in execution.events(follow=True)]
        assert [event.id for event in seen] == sorted({event.id for event in seen})
        assert seen[0].type == "workflow_started"
        assert seen[-1].type == "workflow_completed"
        assert sum(event.type == "step_completed" for event in seen) == 3

    virtually(scenario)


def test_callbacks_are_called_for_every_step() -> None:
    """On start and on completion, once it is durable; one that raises changes nothing."""
    calls: list[str] = []

    def started(event: Event) -> None:
        calls.append(f"start {event.step}")
        raise RuntimeError("callback")

    async def completed(event: Event) -> None:
        calls.append(f"done {event.step}")

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(order(), {"item": "lamp"})
        await execution.result()
        await anyio.sleep(1)
        assert calls == [
            "start reserve", "done reserve", "start charge", "done charge", "start ship", "done ship",
        ]  # fmt: skip

    virtually(scenario, on_step_start=started, on_step_complete=completed)


def test_a_query_is_answered_while_steps_run_and_shows_their_heartbeat() -> None:
    """It never waits for a step."""
    workflow = Workflow("beating")

    @workflow.step
    async def work(context: StepContext) -> None:
        for n in range(10):
            context.heartbeat({"done": n})
            await anyio.sleep(10)

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(workflow)
        await anyio.sleep(25)
        answer = await execution.query()
        assert answer["running"] == ["work"]
        assert answer["steps"]["work"]["heartbeat"] == {"done": 2}

    virtually(scenario)


@pytest.mark.parametrize(
    ("context", "error"),
    [
        ({}, InvalidContext),
        ({"item": "lamp", "bad": object()}, NotSerializable),
        ({"item": "x" * 2_000_000}, PayloadTooLarge),
        ({"item": "lamp", "reserve": 1}, InvalidContext),
    ],
)
def test_a_context_that_cannot_work_is_refused_before_any_step_runs(
    context: dict[str, Any], error: type[Exception]
) -> None:
    """And nothing is written."""

    async def scenario(runtime: Runtime) -> None:
        with pytest.raises(error):
            await runtime.start(order(), context)
        assert await runtime.list() == []

    virtually(scenario)


def test_an_agent_nobody_registered_is_refused_at_the_start() -> None:
    """By name, with what there is."""
    agents = Agents()
    agents.add("reviewer", _noop)

    async def scenario(runtime: Runtime) -> None:
        workflow = Workflow.parse("name: w\nsteps:\n  - {key: a, agent: reveiwer}\n")
        with pytest.raises(UnknownAgent, match="reviewer"):
            await runtime.start(workflow)

    virtually(scenario, agents=agents)


def test_missing_agents_and_missing_inputs_are_one_list() -> None:
    """Nobody should have to repair one to hear of the next."""

    async def scenario(runtime: Runtime) -> None:
        text = """
            name: w
            steps:
              - {key: a, agent: reviewer, prompt: "look at {{filePath}}"}
              - {key: b, agent: writer}
              - {key: c, agent: printer}
        """
        with pytest.raises(TemplateError) as caught:
            await runtime.start(Workflow.parse(text))
        for part in ("filePath", "no agent 'writer'", "no agent 'printer'"):
            assert part in str(caught.value)
        with pytest.raises(UnknownAgent) as unknown:
            await runtime.start(Workflow.parse(text), {"filePath": "x"})
        assert unknown.value.names == ("writer", "printer")
        assert str(unknown.value).count("no agent") == 2

    agents = Agents()
    agents.add("reviewer", _noop)
    virtually(scenario, agents=agents)


def test_a_running_store_is_backed_up(tmp_path: Path) -> None:
    """From within the program, while an execution is in flight; the copy is a store like any other."""

    async def scenario(runtime: Runtime) -> None:
        await runtime.start(order(seconds=10), {"item": "lamp"}, id="e")
        taken = await runtime.backup(tmp_path / "copy.db")
        assert Path(taken.path) == tmp_path / "copy.db"
        with pytest.raises(StoreError, match=r"copy\.db"):
            await runtime.backup(tmp_path / "copy.db")
        await runtime.backup(tmp_path / "copy.db", overwrite=True)
        async with VirtualRuntime(tmp_path / "copy.db", seed=2, workflows=[order()]) as other:
            assert (await (await other.execution("e")).result()).status is Status.COMPLETED

    virtually(scenario, location=tmp_path / "life.db")


def test_a_patch_that_names_a_step_is_refused() -> None:
    """A context key equal to a step's is ambiguous in every template."""

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(order(seconds=10), {"item": "lamp"})
        with pytest.raises(InvalidContext):
            await execution.update_context({"charge": 1})

    virtually(scenario)


def test_what_does_not_exist_is_not_found() -> None:
    """Executions and workflows alike."""

    async def scenario(runtime: Runtime) -> None:
        with pytest.raises(NotFound):
            await runtime.execution("nobody")
        with pytest.raises(NotFound):
            await runtime.start("nothing")
        with pytest.raises(NotFound):
            await runtime.find("zzz")

    virtually(scenario)


@pytest.mark.parametrize("text", ["", " "])
def test_an_empty_id_is_refused_and_never_stands_for_the_only_execution(text: str) -> None:
    """A variable that is not set must not cancel what happens to be there."""

    async def scenario(runtime: Runtime) -> None:
        await (await runtime.start(order(), {"item": "lamp"})).result()
        with pytest.raises(InvalidArgument, match="ID is empty"):
            await runtime.find(text)

    virtually(scenario)


def test_a_pause_in_a_mode_nobody_knows_names_those_there_are() -> None:
    """Instead of a bare ValueError."""

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(order(), {"item": "lamp"})
        with pytest.raises(InvalidArgument, match="'hard': it is one of drain, interrupt"):
            await execution.pause(mode="hard")
        assert (await execution.result()).status is Status.COMPLETED

    virtually(scenario)


def test_what_is_no_workflow_is_neither_started_nor_published() -> None:
    """A number, or a file that nobody has read yet."""

    async def scenario(runtime: Runtime) -> None:
        for wrong in (3, Path("order.yaml")):
            with pytest.raises(InvalidArgument, match="is no workflow: give a Workflow"):
                await runtime.start(wrong)  # type: ignore[arg-type]
            with pytest.raises(InvalidArgument, match="is no workflow"):
                await runtime.publish(wrong)  # type: ignore[arg-type]

    virtually(scenario)


def test_inputs_that_are_no_mapping_are_refused_in_words() -> None:
    """Of a start, a resume and a patch."""

    async def scenario(runtime: Runtime) -> None:
        for wrong in ([1], "lamp", 3):
            with pytest.raises(InvalidArgument, match="give a mapping of names to values"):
                await runtime.start(order(), wrong)  # type: ignore[arg-type]
        execution = await runtime.start(order(), {"item": "lamp"})
        with pytest.raises(InvalidArgument, match="the context patch is of type list"):
            await execution.update_context([1])  # type: ignore[arg-type]

    virtually(scenario)


def test_a_closed_runtime_says_so() -> None:
    """Rather than hanging."""

    async def main() -> None:
        async with VirtualRuntime() as runtime:
            execution = await runtime.start(order(seconds=100), {"item": "lamp"})
        with pytest.raises(RuntimeClosed):
            await execution.pause()
        with pytest.raises(RuntimeClosed):
            await runtime.start(order())

    run_virtual(main)


def test_leaving_the_runtime_interrupts_and_the_next_one_goes_on(tmp_path: Any) -> None:
    """No attempt used up, the same trace id, nothing recorded runs again."""
    log: list[str] = []
    database = tmp_path / "orders.db"

    async def main() -> None:
        async with VirtualRuntime(database) as runtime:
            execution = await runtime.start(order(log=log, seconds=10), {"item": "lamp"}, trace_id="t-1")
            await anyio.sleep(15)
        assert log == ["reserve", "charge"]
        async with VirtualRuntime(database, workflows=[order(log=log, seconds=10)], seed=1) as runtime:
            execution = await runtime.execution(execution.id)
            assert (await execution.result()).outputs["ship"] == "shipped 1xlamp"
            assert log == ["reserve", "charge", "charge", "ship"]
            assert {event.trace_id async for event in execution.events()} == {"t-1"}
            assert (await execution.query())["steps"]["charge"]["attempt"] == 1

    run_virtual(main)


def test_an_execution_whose_code_is_missing_waits_for_it_and_says_so(tmp_path: Any) -> None:
    """Never failed, never quarantined; it goes on as soon as the code is there."""
    database = tmp_path / "orders.db"

    async def main() -> None:
        async with VirtualRuntime(database) as runtime:
            execution = await runtime.start(order(seconds=10), {"item": "lamp"})
            await anyio.sleep(15)
        async with VirtualRuntime(database, seed=1) as runtime:
            await anyio.sleep(60)
            assert list(runtime.waiting_for_code) == [execution.id]
            assert any("reserve" in name for name in runtime.waiting_for_code[execution.id])
            handle = await runtime.execution(execution.id)
            assert (await handle.status()).status is Status.RUNNING
            await runtime.publish(order(seconds=10))
            assert (await handle.result()).status is Status.COMPLETED

    run_virtual(main)


def test_a_deadline_is_kept_by_a_process_without_the_code(tmp_path: Any) -> None:
    """To fail what is overdue needs no code; nobody has to wait for who has it."""
    database = tmp_path / "orders.db"

    async def main() -> None:
        async with VirtualRuntime(database) as runtime:
            execution = await runtime.start(order(seconds=10), {"item": "lamp"}, timeout=100)
            await anyio.sleep(15)
        async with VirtualRuntime(database, seed=1) as runtime:
            handle = await runtime.execution(execution.id)
            await anyio.sleep(80)
            assert (await handle.status()).status is Status.RUNNING
            await anyio.sleep(10)
            assert (await handle.status()).status is Status.FAILED
            assert dict(runtime.waiting_for_code) == {}
            with pytest.raises(ExecutionTimeout):
                await handle.result()

    run_virtual(main)


def test_what_waits_is_left_alone_when_due_where_its_code_is_missing(tmp_path: Any) -> None:
    """Taking it up would write a transition for nothing; it is told as waiting for code."""
    database = tmp_path / "naps.db"
    workflow = Workflow("nap")
    workflow.sleep_step("nap", 3600)

    @workflow.step(after="nap")
    async def wake() -> str:
        return "awake"

    async def main() -> None:
        async with VirtualRuntime(database) as runtime:
            execution = await runtime.start(workflow)
            before = (await execution.status()).version
        async with VirtualRuntime(database, seed=1) as runtime:
            handle = await runtime.execution(execution.id)
            await anyio.sleep(4000)
            assert (await handle.status()).state is State.AWAITING_COMPLETION
            assert (await handle.status()).version == before
            assert list(runtime.waiting_for_code) == [execution.id]
            await runtime.publish(workflow)
            assert (await handle.result()).outputs["wake"] == "awake"

    run_virtual(main)


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


def test_a_thousand_executions_run_side_by_side() -> None:
    """Each with its own answer."""

    async def scenario(runtime: Runtime) -> None:
        workflow = order()
        handles = [await runtime.start(workflow, {"item": f"i{n}"}) for n in range(1000)]
        results = [await handle.result() for handle in handles]
        assert [result.outputs["ship"] for result in results] == [f"shipped 1xi{n}" for n in range(1000)]

    virtually(scenario)


def test_listing_filters_and_pages() -> None:
    """Newest first."""

    async def scenario(runtime: Runtime) -> None:
        handles = [await runtime.start(order(), {"item": "lamp"}, id=f"o-{n}") for n in range(5)]
        await handles[0].cancel()
        for handle in handles[1:]:
            await handle.result()
        assert [s.id for s in await runtime.list(status="cancelled")] == ["o-0"]
        page = await runtime.list(limit=2)
        assert [s.id for s in page] == ["o-4", "o-3"]
        assert [s.id for s in await runtime.list(limit=2, after=page[-1].id)] == ["o-2", "o-1"]
        assert await runtime.find("@last") == "o-4"
        assert await runtime.find("order@last") == "o-4"
        with pytest.raises(NotFound, match="5 ids"):
            await runtime.find("o-")
        await runtime.delete("o-0")
        assert len(await runtime.list()) == 4

    virtually(scenario)


def test_a_runtime_can_be_set_up_by_variables_and_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is given wins over variables, variables over the file."""
    (tmp_path / "perdure.toml").write_text('db = "from-file.db"\nmax_active = 7\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PERDURE_DURABILITY", "process")
    assert Runtime.configured().store.location == "from-file.db"
    assert Runtime.configured(db="given.db").store.location == "given.db"
    monkeypatch.setenv("PERDURE_DB", "from-variable.db")
    assert Runtime.configured().store.location == "from-variable.db"
    with pytest.raises(PerdureError, match="max_activ"):
        Runtime.configured(max_activ=3)


async def _noop() -> None:
    """An agent that does nothing."""


def test_a_runtime_cancelled_from_outside_leaves_in_good_order(tmp_path: Path) -> None:
    """By a scope of the embedding program: nothing hangs, nothing counts as a death, the next one goes on."""
    database = tmp_path / "orders.db"

    async def main() -> None:
        with anyio.move_on_after(15):
            async with VirtualRuntime(database) as runtime:
                execution = await runtime.start(order(seconds=10), {"item": "lamp"}, id="o-1")
                await execution.result()
        async with VirtualRuntime(database, workflows=[order(seconds=10)], seed=1) as runtime:
            assert [runner.pid for runner in await runtime.store.runners()] == [os.getpid()]
            execution = await runtime.execution("o-1")
            assert (await execution.result()).status is Status.COMPLETED
            assert sum(attempt.deaths for attempt in await execution.attempts()) == 0

    run_virtual(main)


def test_an_error_of_the_block_comes_out_as_it_is() -> None:
    """Not wrapped in a group."""

    async def main() -> None:
        async with VirtualRuntime() as runtime:
            await runtime.start(order(seconds=10), {"item": "lamp"})
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        run_virtual(main)


def test_a_start_whose_caller_gives_up_waiting_goes_on_all_the_same() -> None:
    """Durable means going: cancelling the wait leaves no execution that nobody works on."""

    async def scenario(runtime: Runtime) -> None:
        workflow = order()
        await runtime.publish(workflow)
        tasks = [
            asyncio.create_task(runtime.start(workflow, {"item": "lamp"}, id=f"o-{n}")) for n in range(20)
        ]
        await anyio.lowlevel.checkpoint()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await anyio.sleep(100)
        summaries = await runtime.list()
        assert [summary.status for summary in summaries] == [Status.COMPLETED] * 20

    virtually(scenario)


@pytest.mark.parametrize(
    "options",
    [
        {"timeout": float("nan")},
        {"timeout": float("inf")},
        {"timeout": 0},
        {"timeout": 1e18},
        {"priority": "high"},
        {"priority": 10**20},
        {"triggered_by": "x" * 10_000},
        {"triggered_by": ""},
    ],
)
def test_an_argument_that_cannot_be_is_refused_and_nothing_is_written(options: dict[str, Any]) -> None:
    """At once, in words, typed."""

    async def scenario(runtime: Runtime) -> None:
        with pytest.raises(InvalidArgument):
            await runtime.start(order(), {"item": "lamp"}, **options)
        assert await runtime.list() == []

    virtually(scenario)


@pytest.mark.parametrize("options", [{"max_active": 0}, {"max_active_steps": -1}, {"kind": "zzz"}])
def test_a_runtime_that_could_do_nothing_is_not_made(options: dict[str, Any]) -> None:
    """It would hang for ever."""
    with pytest.raises(InvalidArgument):
        Runtime(":memory:", **options)


def test_a_runtime_is_open_once() -> None:
    """A second `async with` of the same one is refused and leaves the first alone."""

    async def main() -> None:
        runtime = VirtualRuntime()
        with pytest.raises(RuntimeClosed):
            _ = runtime.waiting_for_code
        async with runtime:
            with pytest.raises(RuntimeClosed, match="open already"):
                async with runtime:
                    pass
            execution = await runtime.start(order(), {"item": "lamp"})
            assert (await execution.result()).status is Status.COMPLETED
            with pytest.raises(InvalidArgument):
                await execution.signal("")

    run_virtual(main)


def test_a_result_is_told_whoever_brings_the_execution_to_its_end(tmp_path: Path) -> None:
    """Awaited here, paused, resumed and finished by another runtime on the same file."""
    database = tmp_path / "orders.db"

    async def main() -> None:
        async with VirtualRuntime(database) as here, VirtualRuntime(database, seed=1) as there:
            execution = await here.start(order(seconds=10), {"item": "lamp"})
            await there.publish(order(seconds=10))
            waiting = asyncio.create_task(execution.result())
            await anyio.sleep(5)
            await execution.pause()
            await (await there.execution(execution.id)).resume()
            assert (await waiting).status is Status.COMPLETED

    run_virtual(main)


def test_many_events_at_once_do_not_stop_a_follower() -> None:
    """More than a subscriber's place holds: it reads on from the store, and rests in between."""
    workflow = Workflow("wide")
    for number in range(1500):
        workflow.agent_step(f"s{number}", agent="noop")
    workflow.agent_step("last", agent="rest", after=["s0"])
    agents = Agents()
    agents.add("noop", _noop)

    @agents.agent("rest")
    async def rest() -> None:
        await anyio.sleep(100)

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(workflow)
        seen = [event async for event in execution.events(follow=True)]
        assert sum(event.type == "step_completed" for event in seen) == 1501

    virtually(scenario, agents=agents)


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


def made(name: str, answer: str) -> Workflow:
    """One of several workflows that a function makes; the functions in it share their names."""
    workflow = Workflow(name)

    @workflow.step
    async def reply(context: StepContext) -> str:
        return answer

    return workflow


def test_local_functions_that_take_the_place_of_others_are_told_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Two workflows of one name, shape and place are one revision: the one published last performs it."""

    async def main() -> None:
        async with VirtualRuntime() as runtime:
            first = made("one", "1")
            assert (await (await runtime.start(first)).result()).outputs == {"reply": "1"}
            await runtime.publish(first)
            await runtime.publish(made("two", "2"))
            assert "local_functions_replaced" not in caplog.text
            for answer in ("3", "4"):
                execution = await runtime.start(made("one", answer))
                assert (await execution.result()).outputs == {"reply": answer}

    run_virtual(main)
    [told] = [record for record in caplog.records if "local_functions_replaced" in record.getMessage()]
    assert told.levelname == "WARNING"
    assert "one.reply" in told.getMessage()


def test_a_runner_never_performs_a_step_with_the_function_of_another_workflow(tmp_path: Path) -> None:
    """Local functions of the same place have one qualified name: the workflow tells them apart."""

    async def main() -> None:
        async with VirtualRuntime(tmp_path / "db", seed=1, workflows=[made("one", "1")]) as runtime:
            await runtime.start("one", id="x", detach=True)
            await (await runtime.execution("x")).pause()
        async with VirtualRuntime(tmp_path / "db", seed=2, workflows=[made("two", "2")]) as runtime:
            execution = await runtime.execution("x")
            await execution.resume()
            await anyio.sleep(60)
            assert list(runtime.waiting_for_code) == ["x"]
            await runtime.publish(made("one", "1"))
            assert (await execution.result()).outputs == {"reply": "1"}

    run_virtual(main)
