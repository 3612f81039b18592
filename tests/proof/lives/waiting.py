"""Lives that wait or go round: for moments, signals and people, for gates, and with one step many times."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import msgspec
from client import ID, Client, Journal, Life

from lives.shared import PATIENCE_S, simple
from perdure.runtime import ForEach, Repeat, Result, Retry, StepContext, Workflow


def waits(journal: Journal) -> Life:
    """A signal that comes early, one that is waited for, a sleep, and one that never comes."""
    workflow = Workflow("waits")

    @workflow.step
    async def first(context: StepContext) -> int:
        journal.act(context)
        return 1

    workflow.signal_step("early", signal="go", after=first)
    workflow.sleep_step("nap", PATIENCE_S, after=first)
    workflow.signal_step("late", signal="go", after=["early", "nap"])
    workflow.signal_step("never", signal="no", timeout=PATIENCE_S, on_timeout="continue", after="early")

    @workflow.step(after=["never", "nap"])
    async def last(context: StepContext, early: int, late: int) -> int:
        journal.act(context)
        return early * 10 + late

    async def play(client: Client) -> Result:
        await client.start(workflow, {})
        await client.say("one", client.execution.signal, "go", 1)
        await client.say("two", client.execution.signal, "go", 2)
        result = await client.end()
        outputs = {key: value for key, value in result.outputs.items() if key != "nap"}  # a time
        return msgspec.structs.replace(result, outputs=outputs)

    return Life(workflow, play)


def approvals(journal: Journal) -> Life:
    """Decided early, by a second process and while paused; rejected; asked of two in turn who stay silent."""
    workflow = Workflow("approvals")

    @workflow.step
    async def first(context: StepContext) -> int:
        journal.act(context)
        return 1

    silent = {"timeout": PATIENCE_S, "on_timeout": "escalate", "escalate_to": ["eve"], "optional": True}
    workflow.approval_step("both", message="{{first}}?", approvers=["ann", "bob"], quorum=2, after=first)
    workflow.approval_step("no", after="both")
    workflow.approval_step("silent", approvers=["ann"], after="both", **silent)
    workflow.approval_step("rest", after="both")

    @workflow.step(after=["silent", "rest"], dependencies_policy="all_done")
    async def last(context: StepContext, no: dict[str, Any]) -> bool:
        journal.act(context)
        return bool(no["approved"])

    async def play(client: Client) -> Result:
        await client.start(workflow, {})
        await client.say("early", client.execution.approve, "both", by="ann")
        async with client.another(kind="client") as other:
            execution = await other.execution(ID)
            await client.say("quorum", execution.approve, "both", by="bob", data={"n": 1})
            await client.say("rejected", execution.reject, "no", by="bob")
        await client.pause(client.execution)
        await client.say("paused", client.execution.approve, "rest", by="eve")
        await client.say("resume", client.execution.resume)
        result = await client.end()
        plain = dict(result.steps)
        for key in ("both", "rest"):  # without the times, which differ
            plain[key] = plain[key] | {"decisions": [each["by"] for each in plain[key]["decisions"]]}
        return msgspec.structs.replace(result, outputs=plain, steps=plain)

    return Life(workflow, play)


def gates(journal: Journal) -> Life:
    """One that is open, and one that pauses until somebody brings what was missing."""
    workflow = Workflow("gates")

    @workflow.step
    async def first(context: StepContext) -> int:
        journal.act(context)
        return 1

    criteria = [("steps.first.output == 1", "not one"), (lambda first: first > 0, "none")]
    workflow.gate_step("open", criteria=criteria)
    criteria = [(lambda go=False: go, "nobody said go"), ("steps.open.output.passed", "it is closed")]
    workflow.gate_step("closed", criteria=criteria, on_no="pause", after="open")

    @workflow.step
    async def last(context: StepContext, closed: dict[str, Any]) -> int:
        journal.act(context)
        return len(closed["criteria"])

    async def play(client: Client) -> Result:
        await client.start(workflow, {})
        await client.until("workflow_paused")
        await client.say("resume", client.execution.resume, data={"go": True})
        return await client.end()

    return Life(workflow, play)


def repeats(journal: Journal) -> Life:
    """A loop at once, one with delays and an attempt that fails, and one that may not go on."""
    workflow = Workflow("repeats")

    @workflow.step(repeat=Repeat(until="output.done"))
    async def quick(context: StepContext, previous: dict[str, Any] | None) -> dict[str, Any]:
        journal.act(context)
        count = (previous or {"count": 0})["count"] + 1
        return {"count": count, "done": count == 3}

    @workflow.step(
        retry=Retry(max_retries=1, delay=0),
        repeat=Repeat(while_=lambda output, quick: output < quick["count"], delay=PATIENCE_S),
    )
    async def slow(context: StepContext, quick: dict[str, Any], iteration: int) -> int:
        journal.act(context)
        if iteration == 2 and context.attempt == 1:
            raise OSError("the first time")
        return iteration

    @workflow.step(optional=True, repeat=Repeat(until=lambda output: output > 9, max_iterations=2))
    async def endless(context: StepContext, quick: dict[str, Any], iteration: int) -> int:
        journal.act(context)
        return iteration

    @workflow.step
    async def last(context: StepContext, slow: int, endless: int | None) -> list[int | None]:
        journal.act(context)
        return [slow, endless]

    return simple(workflow)


def items(journal: Journal) -> Life:
    """A list gone over three at a time, with a retry; a count, of which one item fails for good."""
    workflow = Workflow("items", scheduling="eager")

    @workflow.step
    async def names(context: StepContext) -> list[str]:
        journal.act(context)
        return list("abcde")

    @workflow.step(
        for_each=ForEach(items=lambda names: names, as_="name", max_concurrency=3),
        retry=Retry(max_retries=1, delay=PATIENCE_S, jitter=False),
    )
    async def read(context: StepContext, name: str, index: int) -> str:
        journal.act(context)
        if name == "b" and context.attempt == 1:
            raise OSError("the first time")
        await anyio.sleep(PATIENCE_S * (index % 2))
        return f"{name}{index}"

    @workflow.step(for_each=ForEach(items=4, max_concurrency=2, continue_on_error=True))
    async def count(context: StepContext, item: int) -> int:
        journal.act(context)
        if item == 1:
            raise OSError("no")
        return item * 10

    @workflow.step
    async def last(context: StepContext, read: list[str], count: list[int | None]) -> list[Any]:
        journal.act(context)
        return [*read, *count]

    return simple(workflow)


def items_again(journal: Journal) -> Life:
    """A pause in the middle of the items, then one of them fails, and a retry goes on with what is left."""
    workflow = Workflow("items-again")
    gates: list[asyncio.Event] = []

    @workflow.step(for_each=ForEach(items=6, max_concurrency=2))
    async def each(context: StepContext, item: int) -> int:
        journal.act(context)
        if item in {2, 3}:
            await gates[-1].wait()
        if item == 4 and context.generation == 0:
            raise OSError("not yet")
        return item

    async def play(client: Client) -> Result:
        gates.append(client.gate)
        await client.start(workflow, {})
        await client.until("step_progressed", "each")
        asyncio.get_running_loop().call_later(PATIENCE_S, client.gate.set)
        await client.pause(client.execution)
        await client.say("resume", client.execution.resume)
        client.gate.set()
        await client.failure()
        await client.say("retry", client.execution.retry)
        return await client.end()

    return Life(workflow, play)
