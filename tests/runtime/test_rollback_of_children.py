"""Children that have completed are rolled back with their parent, in virtual time; the store is checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest
from scenarios import virtually

from perdure.runtime import Agents, Execution, ExecutionFailed, Retry, Runtime, State, Workflow
from perdure.runtime.testing import VirtualRuntime, check_store, run_virtual

FOREVER_S = 3_600.0


class World:
    """What bodies have done, in order."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.acts: list[str] = []
        self.is_broken = False
        self.is_slow = False


def billing(world: World) -> Workflow:
    """A child of two steps, each of which can be undone."""
    workflow = Workflow("billing")

    async def refund() -> None:
        if world.is_broken:
            raise OSError("the bank is closed")
        if world.is_slow:
            await anyio.sleep(FOREVER_S)
        world.acts.append("refund")

    async def shred() -> None:
        world.acts.append("shred")

    @workflow.step(compensate=refund)
    async def charge() -> int:
        return 40

    @workflow.step(compensate=shred)
    async def print_bill(charge: int) -> str:
        return f"{charge} please"

    return workflow


def order(world: World, *, child: str = "billing", name: str = "order", **options: Any) -> Workflow:
    """Reserve, bill by a child, pack; then wait for somebody."""
    workflow = Workflow(name, **options)

    def undoing(what: str) -> Any:
        async def undo() -> None:
            world.acts.append(f"{name} {what}")

        return undo

    @workflow.step(compensate=undoing("release"))
    async def reserve() -> int:
        return 1

    workflow.workflow_step("bill", workflow=child, after="reserve")

    @workflow.step(compensate=undoing("unpack"))
    async def pack(bill: dict[str, Any]) -> int:
        return 1

    workflow.signal_step("go", signal="go", after="pack")

    @workflow.step
    async def ship(go: bool) -> None:  # noqa: FBT001 - what the signal gives
        if not go:
            raise OSError("no truck")

    return workflow


async def told(execution: Execution) -> list[str]:
    """What its log says of undoing."""
    return [
        f"{event.type.removeprefix('step_')} {event.step}"
        async for event in execution.events()
        if event.type.startswith("step_compensat")
    ]


async def started(runtime: Runtime, *workflows: Workflow) -> Execution:
    """An execution of the last, when it has come to its signal."""
    for workflow in workflows[:-1]:
        await runtime.publish(workflow)
    execution = await runtime.start(workflows[-1])
    await anyio.sleep(60)
    return execution


@pytest.mark.parametrize("has_ended", [False, True])
def test_a_child_that_has_completed_is_undone_in_the_turn_of_its_step(*, has_ended: bool):
    """After what came later, before what came earlier; also when its parent has ended."""
    world = World()

    async def scenario(runtime: Runtime) -> None:
        execution = await started(runtime, billing(world), order(world))
        if has_ended:
            await execution.signal("go", payload=True)
            await execution.result()
        assert await execution.rollback("rain") is State.ROLLED_BACK
        assert world.acts == ["order unpack", "shred", "refund", "order release"]
        (child,) = await runtime.list(parent=execution.id)
        assert (child.state, child.rollback_reason) == (State.ROLLED_BACK, "its parent is rolled back")
        assert await told(execution) == [
            f"compensat{done} {step}" for step in ("pack", "bill", "reserve") for done in ("ing", "ed")
        ]
        steps = (await execution.query())["steps"]
        assert {key: step["state"] for key, step in steps.items() if key not in {"go", "ship"}} == (
            dict.fromkeys(("reserve", "bill", "pack"), "compensated")
        )

    virtually(scenario)


def test_a_child_whose_outcome_was_brought_back_is_undone_and_not_another_of_its_step():
    """By a restore, of a restore too: what counts is which child has made it."""
    world = World()

    async def scenario(runtime: Runtime) -> None:
        execution = await started(runtime, billing(world), order(world))
        (first,) = await runtime.list(parent=execution.id)
        await execution.checkpoint(label="billed")
        await execution.cancel()
        for _ in range(2):
            await execution.retry(from_step="bill")
            await anyio.sleep(60)
            await execution.pause()
            await execution.restore("billed")
            await execution.cancel()
        world.acts.clear()
        assert await execution.rollback() is State.ROLLED_BACK
        assert world.acts == ["order unpack", "shred", "refund", "order release"]
        undone = [child.id for child in await runtime.list(parent=execution.id) if child.rollback_reason]
        assert undone == [first.id]
        [made_in] = [each.made_in for each in await execution.attempts() if each.step == "bill"][-1:]
        assert made_in == 0

    virtually(scenario)


def test_a_failure_is_undone_by_children_alone():
    """`onFailure: compensate` needs no step with a compensation where a child can be rolled back."""
    world = World()
    parent = Workflow("parent", on_failure="compensate")
    parent.workflow_step("bill", workflow="billing")

    @parent.step(after="bill")
    async def fail() -> None:
        raise OSError("no truck")

    async def scenario(runtime: Runtime) -> None:
        execution = await started(runtime, billing(world), parent)
        assert (await execution.status()).state is State.ROLLED_BACK
        assert world.acts == ["shred", "refund"]

    virtually(scenario)


def test_what_a_later_attempt_has_had_done_is_undone_too():
    """The first child of the step could not do it; the second did, and is the one that is rolled back."""
    world = World()
    child = billing(world)
    visits: list[int] = []

    @child.step(after="print_bill")
    async def send() -> None:
        visits.append(1)
        if len(visits) == 1:
            raise OSError("nobody at home")

    parent = Workflow("parent", on_failure="compensate")
    parent.workflow_step("bill", workflow="billing", retry=Retry(max_retries=1, delay=5))

    @parent.step(after="bill")
    async def fail() -> None:
        raise OSError("no truck")

    async def scenario(runtime: Runtime) -> None:
        execution = await started(runtime, child, parent)
        assert (await execution.status()).state is State.ROLLED_BACK
        assert world.acts == ["shred", "refund"]
        states = [summary.state for summary in await runtime.list(parent=execution.id)]
        assert states == [State.ROLLED_BACK, State.FAILED]
        began = [attempt.started_at for attempt in await execution.attempts() if attempt.step == "bill"]
        assert None not in began

    virtually(scenario)


def test_grandchildren_are_undone_with_their_parents():
    """Each by its own parent, in the turn of its step."""
    world = World()

    async def scenario(runtime: Runtime) -> None:
        middle = Workflow("middle")
        middle.workflow_step("inner", workflow="billing")
        execution = await started(runtime, billing(world), middle, order(world, child="middle"))
        assert await execution.rollback("rain") is State.ROLLED_BACK
        assert world.acts == ["order unpack", "shred", "refund", "order release"]

    virtually(scenario)


def test_what_a_child_cannot_undo_is_named_and_tried_again_by_a_retry():
    """What its step was built upon stays until then."""
    world = World()
    world.is_broken = True

    async def scenario(runtime: Runtime) -> None:
        execution = await started(runtime, billing(world), order(world))
        assert await execution.rollback("rain") is State.FAILED
        with pytest.raises(ExecutionFailed, match=r"could not be undone: bill \(ChildNotUndone: child \S+ "):
            await execution.result()
        error = (await execution.status()).error
        assert error is not None
        assert "the bank is closed" in error.message
        assert "left as they are: reserve" in error.message
        assert world.acts == ["order unpack", "shred"]
        assert (await told(execution))[-1] == "compensation_failed bill"
        world.is_broken = False
        await execution.retry()
        assert (await execution.result(check=False)).status.value == "rolled_back"
        assert world.acts == ["order unpack", "shred", "refund", "order release"]

    virtually(scenario)


@pytest.mark.parametrize("by_hand", [False, True])
def test_a_child_that_has_nothing_to_undo_is_in_nobodys_way(*, by_hand: bool):
    """It has no compensations, or somebody has rolled it back before."""
    world = World()
    plain = billing(world)
    if not by_hand:
        plain = Workflow("billing")
        plain.step(lambda: 40, key="charge")

    async def scenario(runtime: Runtime) -> None:
        execution = await started(runtime, plain, order(world))
        if by_hand:
            (child,) = await runtime.list(parent=execution.id)
            assert await (await runtime.execution(child.id)).rollback() is State.ROLLED_BACK
        assert await execution.rollback("rain") is State.ROLLED_BACK
        assert world.acts[-2:] == ["order unpack", "order release"]

    virtually(scenario)


def test_one_that_goes_its_own_way_is_not_undone():
    """It was abandoned, or nobody waited for it."""
    world = World()
    parent = Workflow("parent")
    parent.workflow_step("own", workflow="billing", parent_close_policy="abandon")
    parent.workflow_step("apart", workflow="billing", wait=False)
    parent.step(lambda: 1, key="last", after=("own", "apart"), compensate=lambda: None)

    async def scenario(runtime: Runtime) -> None:
        execution = await started(runtime, billing(world), parent)
        assert await execution.rollback("rain") is State.ROLLED_BACK
        assert {child.state for child in await runtime.list(parent=execution.id)} == {State.COMPLETED}

    virtually(scenario)


def test_a_cancel_does_not_wait_for_a_child_that_is_being_undone():
    """It goes on by itself, and a retry hears of it."""
    world = World()
    world.is_slow = True

    async def scenario(runtime: Runtime) -> None:
        execution = await started(runtime, billing(world), order(world))
        async with anyio.create_task_group() as group:
            group.start_soon(execution.rollback)
            await anyio.sleep(60)
            await execution.cancel()
        error = (await execution.status()).error
        assert error is not None
        assert error.message.startswith("left as they are: reserve, bill; ")
        await execution.retry()
        await anyio.sleep(2 * FOREVER_S)
        assert (await execution.status()).state is State.ROLLED_BACK
        assert world.acts == ["order unpack", "shred", "refund", "order release"]

    virtually(scenario)


def test_a_runtime_that_closes_while_a_child_is_undone_leaves_it_to_the_next(tmp_path: Path):
    """Which asks the child again; nothing is undone twice."""
    world = World()
    world.is_slow = True
    agents = Agents()
    workflows = [billing(world), order(world)]

    async def begin() -> str:
        async with VirtualRuntime(tmp_path / "a.db", agents=agents, workflows=workflows) as runtime:
            execution = await started(runtime, *workflows)
            with anyio.move_on_after(60):
                await execution.rollback()
            return execution.id

    async def go_on() -> None:
        world.is_slow = False
        async with VirtualRuntime(tmp_path / "a.db", agents=agents, workflows=workflows) as runtime:
            execution = await runtime.execution(id_)
            assert (await execution.result(check=False)).status.value == "rolled_back"
            assert await check_store(runtime.store) == []

    id_ = run_virtual(begin)
    run_virtual(go_on)
    assert world.acts == ["order unpack", "shred", "refund", "order release"]
