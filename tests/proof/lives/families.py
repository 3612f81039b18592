"""Lives of parents and children."""

from __future__ import annotations

import asyncio

import anyio
import msgspec
from client import ID, Client, Journal, Life

from lives.shared import FOREVER_S, add_hanging
from perdure.runtime import ExecutionSummary, Result, Retry, StepContext, Workflow


def family(journal: Journal) -> Life:
    """A child that is paused with its parent, one whose attempts fail, one that nobody waits for."""
    billing = Workflow("billing", outputs={"total": "{{charge}}"})
    gates: list[asyncio.Event] = []

    @billing.step
    async def look(context: StepContext, amount: int) -> int:
        journal.act(context)
        await gates[-1].wait()
        return amount

    @billing.step
    async def charge(context: StepContext, look: int) -> int:
        journal.act(context)
        if look < 0:
            raise OSError("less than nothing")
        return look * 2

    workflow = Workflow("family")

    @workflow.step
    async def price(context: StepContext) -> int:
        journal.act(context)
        return 21

    workflow.workflow_step("bill", workflow=billing, input={"amount": "{{price}}"}, after=price)
    again = {"retry": Retry(max_retries=1, delay=0), "optional": True, "after": "price"}
    workflow.workflow_step("bad", workflow=billing, input={"amount": -1}, **again)
    workflow.workflow_step("aside", workflow=billing, input={"amount": 1}, wait=False, after="price")

    @workflow.step(after=["bad", "aside"])
    async def last(context: StepContext, bill: dict[str, int]) -> int:
        journal.act(context)
        return bill["total"]

    async def play(client: Client) -> Result:
        gates.append(client.gate)
        await client.runtime.publish(billing)
        await client.start(workflow, {})
        await client.until("child_started", "bill")
        await client.pause(client.execution, mode="interrupt")
        client.gate.set()
        await client.say("resume", client.execution.resume)
        result = await client.end()
        aside = await client.runtime.execution(result.steps["aside"])
        await aside.result()
        return _with_children(result, await client.runtime.list(parent=ID))

    return Life(workflow, play)


def family_cancel(journal: Journal) -> Life:
    """Stopped for good with a child and a child of that one, while another is about to be started."""
    leaf = Workflow("leaf")
    add_hanging(leaf, journal)
    middle = Workflow("middle").workflow_step("inner", workflow=leaf)
    workflow = Workflow("family-cancel").workflow_step("left", workflow=middle)
    workflow.workflow_step("right", workflow=leaf)

    async def play(client: Client) -> Result:
        await client.runtime.publish(leaf)
        await client.runtime.publish(middle)
        await client.start(workflow, {})
        await client.until("child_started", "left")
        await client.say("cancel", client.execution.cancel)
        result = await client.end()
        return _with_children(result, [each for each in await client.runtime.list() if each.id != ID])

    return Life(workflow, play)


def family_undone(journal: Journal) -> Life:
    """Rolled back when a child has completed that has a child of its own, between two bodies."""

    async def undo(context: StepContext) -> None:
        journal.act(context)

    leaf = Workflow("leaf")

    @leaf.step(compensate=undo)
    async def charge(context: StepContext) -> int:
        journal.act(context)
        return 40

    middle = Workflow("middle").workflow_step("inner", workflow=leaf)
    workflow = Workflow("family-undone")

    @workflow.step(compensate=undo)
    async def first(context: StepContext) -> int:
        journal.act(context)
        return 1

    workflow.workflow_step("bill", workflow=middle, after=first)

    @workflow.step(after="bill")
    async def hangs(context: StepContext) -> None:
        journal.act(context)
        await anyio.sleep(FOREVER_S)

    async def play(client: Client) -> Result:
        await client.runtime.publish(leaf)
        await client.runtime.publish(middle)
        await client.start(workflow, {})
        await client.until("step_started", "hangs")
        await client.say("rollback", client.execution.rollback, "rain")
        result = await client.end()
        return _with_children(result, [each for each in await client.runtime.list() if each.id != ID])

    return Life(workflow, play)


def _with_children(result: Result, summaries: list[ExecutionSummary]) -> Result:
    """With how the executions below have ended, in no order: which is started first is nobody's business."""
    ends = {summary.id: [summary.workflow, summary.status.value] for summary in summaries}
    return msgspec.structs.replace(result, outputs={"own": result.outputs, "children": ends})
