"""Executions that steps start and wait for, through the whole runtime; the store is checked after each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest
from family import MINUTE_S, billing, child_of, kinds, order
from scenarios import virtually

from perdure.actors.execution import relatives
from perdure.runtime import ExecutionFailed, Retry, Runtime, State, Status, StepContext, Workflow
from perdure.runtime.testing import VirtualRuntime, check_store, run_virtual


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
