"""Executions that steps start and wait for, through the whole runtime; the store is checked after each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest
from scenarios import virtually

from perdure.actors.execution import relatives
from perdure.runtime import ExecutionFailed, Retry, Runtime, State, Status, StepContext, Workflow
from perdure.runtime.execution import Execution
from perdure.runtime.testing import VirtualRuntime, check_store, run_virtual

MINUTE_S = 60


def billing(*, seconds: float = 2, **head: Any) -> Workflow:
    """Charge an amount, which takes its time, then note it."""
    workflow = Workflow("billing", outputs={"total": "{{charge}}"}, **head)

    @workflow.step
    async def charge(amount: int) -> int:
        await anyio.sleep(seconds)
        if amount < 0:
            raise ValueError("less than nothing")
        return amount * 2

    @workflow.step(after="charge")
    async def note() -> None: ...

    return workflow


def order(scheduling: Any = "level", **call: Any) -> Workflow:
    """Price, have it charged by a child, ship."""
    workflow = Workflow("order", scheduling=scheduling)

    @workflow.step
    async def price(amount: int = 21) -> int:
        return amount

    workflow.workflow_step(
        "bill", workflow="billing", input={"amount": "{{price}}"}, **{"after": price, **call}
    )

    @workflow.step(after="bill")
    async def ship(bill: Any) -> Any:
        return bill

    return workflow


async def child_of(runtime: Runtime, parent: Execution, *, no: int = 0) -> Execution:
    """The child that was started last, or the one before it."""
    summaries = await runtime.list(parent=parent.id)
    return await runtime.execution(summaries[no].id)


async def kinds(execution: Execution) -> list[str]:
    """What happened to its children, in the log."""
    return [event.type async for event in execution.events() if event.type.startswith("child_")]


@pytest.mark.parametrize("scheduling", ["level", "eager"])
def test_what_the_child_gives_back_is_the_output_of_the_step(scheduling: str):
    """It belongs to its parent, and to its trace; the log tells both ends."""

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(order(scheduling))
        assert (await execution.result()).outputs["ship"] == {"total": 42}
        child = await child_of(runtime, execution)
        record, parent = await runtime.store.execution(child.id), await runtime.store.execution(execution.id)
        assert record is not None
        assert parent is not None
        assert (record.parent_id, record.trace_id) == (execution.id, parent.trace_id)
        assert record.triggered_by == "step bill"
        assert await kinds(execution) == ["child_started", "child_ended"]

    virtually(scenario, workflows=[billing()])


def test_the_child_of_an_urgent_execution_is_urgent():
    """It begins with the priority that its parent has when it is started, not when the parent was."""

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(order(), priority=1)
        await execution.set_priority(9)
        await execution.result()
        record = await runtime.store.execution((await child_of(runtime, execution)).id)
        assert record is not None
        assert record.priority == 9

    virtually(scenario, workflows=[billing()])


def test_a_parent_that_only_waits_for_a_child_is_a_row():
    """Woken by the child's end, in whatever state it is then."""

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(order())
        await anyio.sleep(MINUTE_S)
        summary = await execution.status()
        assert (summary.state, summary.runner) == (State.AWAITING_COMPLETION, None)
        query = await execution.query()
        child = await child_of(runtime, execution)
        assert query["steps"]["bill"]["waits"] == {"for": "child", "workflow": "billing", "child": child.id}
        assert (await execution.result()).outputs["ship"] == {"total": 42}

    virtually(scenario, workflows=[billing(seconds=10 * MINUTE_S)])


def test_a_failing_child_is_a_failing_step_and_the_error_names_it():
    """With why it failed."""

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(order(), {"amount": -1})
        with pytest.raises(
            ExecutionFailed, match=r"ChildFailed: child \w{32} of step 'bill' ended failed: .*less"
        ):
            await execution.result()
        child = await child_of(runtime, execution)
        assert child.id in str((await execution.result(check=False)).error)

    virtually(scenario, workflows=[billing()])


def test_each_attempt_has_a_child_of_its_own():
    """Until one ends well, or the attempts are used up."""
    failures = [True, True, False]
    flaky = Workflow("billing")

    @flaky.step
    async def charge(amount: int) -> int:
        if failures.pop(0):
            raise OSError("not now")
        return amount

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(order(retry=Retry(max_retries=2, delay=5)))
        assert (await execution.result()).outputs["ship"] == {"charge": 21}
        statuses = [summary.status for summary in await runtime.list(parent=execution.id)]
        assert statuses == [Status.COMPLETED, Status.FAILED, Status.FAILED]
        attempts = [attempt for attempt in await execution.attempts() if attempt.step == "bill"]
        assert [attempt.state.value for attempt in attempts] == ["failed", "failed", "completed"]

    virtually(scenario, workflows=[flaky])


def test_a_retry_of_the_parent_starts_a_new_child():
    """Under the id of the new generation; an optional step may have a child that fails."""

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(order(), {"amount": -1})
        await execution.result(check=False)
        await execution.retry()
        await execution.result(check=False)
        assert len(await runtime.list(parent=execution.id)) == 2
        optional = await runtime.start(order(optional=True), {"amount": -1})
        assert (await optional.result()).outputs["ship"] is None

    virtually(scenario, workflows=[billing()])


def test_a_step_that_does_not_wait_has_completed_when_the_child_is_started():
    """Its output is the child's id; parent and child go their own ways."""

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(order(wait=False))
        result = await execution.result()
        child = await child_of(runtime, execution)
        assert result.outputs["ship"] == child.id
        assert (await child.result()).outputs == {"total": 42}
        assert await kinds(execution) == ["child_started"]

    virtually(scenario, workflows=[billing(seconds=MINUTE_S)])


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


def test_what_starts_itself_is_refused_at_a_depth():
    """With an error that says so, all the way up."""
    loop = Workflow("loop").workflow_step("again", workflow="loop")

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(loop)
        with pytest.raises(
            ExecutionFailed, match=r"ChildNotStarted: .*17 deep, and at most 16.*does it start itself"
        ):
            await execution.result()
        assert len(await runtime.list(limit=100)) == 17

    virtually(scenario)


def test_the_children_of_one_execution_are_counted(monkeypatch: pytest.MonkeyPatch):
    """More than so many are refused."""
    monkeypatch.setattr(relatives, "CHILDREN_MAX", 2)
    wide = Workflow("wide", parallelism=1)
    for no in range(3):
        wide.workflow_step(
            f"b{no}", workflow="billing", input={"amount": no}, after=[f"b{no - 1}"] if no else []
        )

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(wide)
        with pytest.raises(ExecutionFailed, match="has started 2 already"):
            await execution.result()

    virtually(scenario, workflows=[billing()])


@pytest.mark.parametrize(
    ("call", "told"),
    [
        ({"workflow": "nobody"}, "ChildNotStarted: .*'nobody' cannot be started: .*no workflow"),
        ({"version": "7"}, "ChildNotStarted: .*billing 7"),
        ({"input": {}}, "ChildNotStarted: .*'amount'"),
        ({"input": {"amount": "much"}}, "ChildNotStarted: .*cannot take 'much'"),
        (
            {"input": {"amount": "{{price.x}}"}},
            r"ExpressionError: the input of step 'bill' .*\{\{price.x\}\}",
        ),
    ],
)
def test_a_child_that_cannot_be_started_fails_the_step(call: dict[str, Any], told: str):
    """At the moment it is to be: what is published then counts."""

    async def scenario(runtime: Runtime) -> None:
        workflow = Workflow("order")

        @workflow.step
        async def price() -> int:
            return 21

        usual = {"workflow": "billing", "input": {"amount": 1}}
        workflow.workflow_step("bill", after=price, **{**usual, **call})
        with pytest.raises(ExecutionFailed, match=told):
            await (await runtime.start(workflow)).result()
        assert len(await runtime.list()) == 1

    virtually(scenario, workflows=[billing()])


def test_the_version_that_is_named_is_started_else_the_active_one():
    """Active when the child is started."""
    old, new = billing(version="1"), Workflow("billing", version="2").sleep_step("nothing", 1)

    async def scenario(runtime: Runtime) -> None:
        await runtime.publish(old)
        await runtime.publish(new)
        named = await runtime.start(order(version="1"))
        assert (await named.result()).outputs["ship"] == {"total": 42}
        active = await runtime.start(order())
        assert set((await active.result()).outputs["ship"]) == {"nothing"}

    virtually(scenario)


def test_what_a_child_gives_back_is_checked_by_the_schema_of_the_step():
    """What does not fit fails the attempt."""

    async def scenario(runtime: Runtime) -> None:
        schema = {"properties": {"total": {"maximum": 10}}}
        execution = await runtime.start(order(output_schema=schema))
        with pytest.raises(ExecutionFailed, match=r"does not fit its outputSchema at \$\.total"):
            await execution.result()

    virtually(scenario, workflows=[billing()])


def test_parent_and_child_go_on_in_another_process(tmp_path: Path):
    """Whatever was going on when the first one ended; a child whose code is missing waits for it."""

    async def main() -> None:
        path = tmp_path / "w.db"
        async with VirtualRuntime(path, workflows=[billing(seconds=MINUTE_S), order()]) as runtime:
            await runtime.start(order(), id="x")
            await anyio.sleep(1)
        async with VirtualRuntime(path) as runtime:
            await anyio.sleep(5 * MINUTE_S)
            assert len(runtime.waiting_for_code) == 1
        async with VirtualRuntime(path, workflows=[billing(seconds=MINUTE_S), order()]) as runtime:
            execution = await runtime.execution("x")
            assert (await execution.result()).outputs["ship"] == {"total": 42}
            assert await check_store(runtime.store) == []

    run_virtual(main)


def test_a_restored_parent_stops_the_child_nobody_waits_for_any_more():
    """And starts another one when it goes on."""

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(order())
        await anyio.sleep(1)
        await execution.pause(mode="interrupt")
        first = await child_of(runtime, execution)
        await execution.restore("latest")
        await anyio.sleep(1)
        assert (await first.status()).state is State.CANCELLED
        await execution.resume()
        assert (await execution.result()).outputs["ship"] == {"total": 42}
        assert (await child_of(runtime, execution)).id != first.id

    virtually(scenario, workflows=[billing(seconds=MINUTE_S)])


def test_while_a_required_step_has_failed_a_child_comes_to_its_end():
    """It is as much under way as the body of a step; then the execution fails."""
    workflow = Workflow("both").workflow_step("bill", workflow="billing", input={"amount": 1})

    @workflow.step
    async def broken() -> None:
        raise OSError("broken")

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(workflow)
        result = await execution.result(check=False)
        assert (result.status, result.steps) == (Status.FAILED, {"bill": {"total": 2}})

    virtually(scenario, workflows=[billing()])


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


def test_a_parent_that_moves_to_another_version_still_hears_its_child():
    """The step that waits has another number there; the child knows nothing of it."""
    before = Workflow("order", version="1").workflow_step("bill", workflow="billing", input={"amount": 4})
    after = Workflow("order", version="2").sleep_step("first", 1)
    after.workflow_step("bill", workflow="billing", input={"amount": 4})

    async def scenario(runtime: Runtime) -> None:
        await runtime.publish(after)
        execution = await runtime.start(before)
        await anyio.sleep(1)
        await execution.pause(mode="interrupt")
        await runtime.versions.migrate(execution.id, "2")
        await execution.resume()
        result = await execution.result()
        assert result.outputs["bill"] == {"total": 8}
        assert len(await runtime.list(parent=execution.id)) == 1

    virtually(scenario, workflows=[billing(seconds=MINUTE_S)])


def test_what_children_have_used_counts_for_their_parent():
    """Also what one that failed has used; each once."""
    spent = Workflow("billing")
    failures = [True, False]

    @spent.step
    async def charge(context: StepContext, amount: int) -> int:
        context.usage(cost=0.25, tokens=amount)
        if failures.pop(0):
            raise OSError("not now")
        return amount

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(order(retry=Retry(max_retries=1, delay=1)), {"amount": 4})
        await execution.result()
        assert (await execution.query())["usage"] == {"cost": 0.5, "tokens": 8}

    virtually(scenario, workflows=[spent])
