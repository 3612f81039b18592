"""The reference workflows: small lives, each with one thing that a crash may fall into.

A life is a workflow and a client that plays it. The client is a program like any other: it keeps a
journal of what it was told, and after a crash says again, under the same ids, whatever it was not
told the answer to. Where a life came to its end is independent of time and order, so that the same
life with crashes in it has to come to the same end.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import msgspec
from client import ID, Client, Journal, Life
from reference_beyond import circuit, forked, migrated, slots, webhooks

from perdure.runtime import (
    Action,
    ExecutionSummary,
    ForEach,
    Repeat,
    Result,
    Retry,
    Runtime,
    StepContext,
    Workflow,
)

WIDTH = 20
FOREVER_S = 3_600.0
PATIENCE_S = 0.05  # of attempts that hang and of delays: a moment, as some lives are lived in real time


def _simple(workflow: Workflow, **options: Any) -> Life:
    """Start it and wait for the end."""

    async def play(client: Client) -> Result:
        await client.start(workflow, {"word": "go"}, **options)
        return await client.end()

    return Life(workflow, play)


def chain(journal: Journal) -> Life:
    """Three steps, one after another."""
    workflow = Workflow("chain")

    @workflow.step
    async def first(context: StepContext, word: str) -> str:
        journal.act(context)
        return f"{word} 1"

    @workflow.step
    async def second(context: StepContext, first: str) -> str:
        journal.act(context)
        await anyio.lowlevel.checkpoint()
        return f"{first} 2"

    @workflow.step
    async def third(context: StepContext, second: str) -> str:
        journal.act(context)
        return f"{second} 3"

    return _simple(workflow)


def diamond(journal: Journal) -> Life:
    """One, then two beside each other, then one, as soon as each may start."""
    workflow = Workflow("diamond", scheduling="eager")

    @workflow.step
    async def top(context: StepContext, word: str) -> str:
        journal.act(context)
        return word

    @workflow.step
    async def left(context: StepContext, top: str) -> str:
        journal.act(context)
        return f"{top} left"

    @workflow.step
    async def right(context: StepContext, top: str) -> str:
        journal.act(context)
        await anyio.sleep(PATIENCE_S)
        return f"{top} right"

    @workflow.step
    async def bottom(context: StepContext, left: str, right: str) -> list[str]:
        journal.act(context)
        return [left, right]

    return _simple(workflow)


def wide(journal: Journal) -> Life:
    """Twenty steps beside each other and one that needs them all."""
    workflow = Workflow("wide", parallelism=WIDTH // 2)

    def one(no: int) -> None:
        @workflow.step(key=f"part-{no}")
        async def part(context: StepContext) -> int:
            journal.act(context)
            await anyio.sleep(PATIENCE_S * (no % 3))
            return no

    for no in range(WIDTH):
        one(no)

    @workflow.step(after=[f"part-{no}" for no in range(WIDTH)])
    async def total(context: StepContext) -> int:
        journal.act(context)
        return sum(context.needs.values())

    return _simple(workflow)


def _retrying(journal: Journal, *, delay: float) -> Life:
    workflow = Workflow("retries")

    @workflow.step(retry=Retry(max_retries=3, delay=delay, jitter=False))
    async def stubborn(context: StepContext) -> int:
        journal.act(context)
        if context.attempt < 3:
            raise OSError(f"attempt {context.attempt}")
        return context.attempt

    @workflow.step
    async def after(context: StepContext, stubborn: int) -> int:
        journal.act(context)
        return stubborn + 1

    return _simple(workflow)


def retries_at_once(journal: Journal) -> Life:
    """Two failures and a success, with no delay between."""
    return _retrying(journal, delay=0)


def retries_later(journal: Journal) -> Life:
    """Two failures and a success, each after a delay."""
    return _retrying(journal, delay=PATIENCE_S)


def timeouts(journal: Journal) -> Life:
    """An attempt that hangs until its time is over, and one that does not."""
    workflow = Workflow("timeouts")

    @workflow.step(timeout=PATIENCE_S, retry=Retry(max_retries=1, delay=0))
    async def slow(context: StepContext) -> int:
        journal.act(context)
        if context.attempt == 1:
            await anyio.sleep(FOREVER_S)
        return context.attempt

    return _simple(workflow)


def deadline(journal: Journal) -> Life:
    """An execution that does not finish in time."""
    workflow = Workflow("deadline")
    _hangs(workflow, journal)
    return _simple(workflow, timeout=PATIENCE_S * 4)


def _hangs(workflow: Workflow, journal: Journal) -> None:
    """Add a step that comes to no end by itself."""

    @workflow.step
    async def hangs(context: StepContext) -> None:
        journal.act(context)
        await anyio.sleep(FOREVER_S)


def optional_failure(journal: Journal) -> Life:
    """What may fail fails, and what needs it gets nothing."""
    workflow = Workflow("optional")

    @workflow.step(optional=True, retry=Retry(max_retries=1, delay=0))
    async def extra(context: StepContext) -> None:
        journal.act(context)
        raise OSError("no")

    @workflow.step
    async def main(context: StepContext, extra: str | None) -> list[str | None]:
        journal.act(context)
        return [extra]

    return _simple(workflow)


def skipping(journal: Journal) -> Life:
    """One branch fails, what hangs on it is skipped, the other branch goes on."""
    workflow = Workflow("skipping", continue_on_error=True)

    @workflow.step
    async def broken(context: StepContext) -> int:
        journal.act(context)
        raise OSError("no")

    @workflow.step
    async def skipped(context: StepContext, broken: int) -> int:
        journal.act(context)
        return broken

    @workflow.step
    async def fine(context: StepContext) -> int:
        journal.act(context)
        return 1

    @workflow.step
    async def goes_on(context: StepContext, fine: int) -> int:
        journal.act(context)
        return fine + 1

    return _simple(workflow)


def failure(journal: Journal) -> Life:
    """A step fails for good; a retry of the execution repairs it."""
    workflow = Workflow("failure")

    @workflow.step
    async def fine(context: StepContext) -> int:
        journal.act(context)
        return 1

    @workflow.step
    async def broken(context: StepContext) -> int:
        journal.act(context)
        if context.generation == 0:
            raise OSError("not yet")
        return 2

    @workflow.step
    async def both(context: StepContext, fine: int, broken: int) -> int:
        journal.act(context)
        return fine + broken

    async def play(client: Client) -> Result:
        await client.start(workflow, {})
        await client.failure()
        await client.say("retry", client.execution.retry)
        return await client.end()

    return Life(workflow, play)


def anew(journal: Journal) -> Life:
    """A retry begins at a step that had completed, with another input; what is on it is done anew."""
    workflow = Workflow("anew")

    @workflow.step
    async def shop(context: StepContext) -> int:
        journal.act(context)
        return 1

    @workflow.step
    async def heat(context: StepContext, shop: int, degrees: int = 20) -> int:
        journal.act(context)
        return shop * degrees

    @workflow.step
    async def serve(context: StepContext, heat: int) -> str:
        journal.act(context)
        if heat < 60:
            raise ValueError("cold")
        return f"{heat} degrees"

    async def play(client: Client) -> Result:
        await client.start(workflow, {})
        await client.failure()
        await client.say("retry", client.execution.retry, from_step="heat", data={"degrees": 80})
        return await client.end()

    return Life(workflow, play)


def later(journal: Journal) -> Life:
    """A pause that ends by itself: at a moment that was planned, whoever is there then."""

    async def play(client: Client) -> None:
        await client.until("step_completed", "quick")
        await client.pause(client.execution, mode="interrupt")
        await client.say("plan", client.execution.resume_later, at=PATIENCE_S)
        client.gate.set()

    return _gated(journal, play)


def _gated(journal: Journal, play: Callable[[Client], Awaitable[None]]) -> Life:
    """One step that is quick, beside it one that waits for the gate, and one after both."""
    workflow = Workflow("gated")
    gates: list[asyncio.Event] = []

    @workflow.step
    async def quick(context: StepContext) -> int:
        journal.act(context)
        return 1

    @workflow.step
    async def waits(context: StepContext) -> int:
        journal.act(context)
        await gates[-1].wait()
        return 2

    @workflow.step
    async def both(context: StepContext, quick: int, waits: int) -> int:
        journal.act(context)
        return quick + waits

    async def from_start_to_end(client: Client) -> Result:
        gates.append(client.gate)
        await client.start(workflow, {})
        await play(client)
        return await client.end()

    return Life(workflow, from_start_to_end)


def pause(journal: Journal) -> Life:
    """A pause in the middle of a level, which drains; then on."""

    async def play(client: Client) -> None:
        await client.until("step_completed", "quick")
        asyncio.get_running_loop().call_later(PATIENCE_S, client.gate.set)
        await client.pause(client.execution)
        await client.say("resume", client.execution.resume)
        client.gate.set()

    return _gated(journal, play)


def interrupt(journal: Journal) -> Life:
    """A pause that cancels what is in flight; then on, with the same attempt."""

    async def play(client: Client) -> None:
        await client.until("step_started", "waits")
        await client.pause(client.execution, mode="interrupt")
        client.gate.set()
        await client.say("resume", client.execution.resume)

    return _gated(journal, play)


def restore(journal: Journal) -> Life:
    """Back to a checkpoint after a failure, and on from there with another context."""
    workflow = Workflow("restore")
    gates: list[asyncio.Event] = []

    @workflow.step
    async def before(context: StepContext) -> int:
        journal.act(context)
        return context.generation

    @workflow.step
    async def fails_once(context: StepContext, before: int, word: str) -> str:
        journal.act(context)
        await gates[-1].wait()
        if context.generation == 0:
            raise OSError("the first time")
        return f"{word} {before}"

    async def play(client: Client) -> Result:
        gates.append(client.gate)
        await client.start(workflow, {"word": "one"})
        await client.until("step_started", "fails_once")
        await client.say("mark", client.execution.checkpoint, label="here")
        client.gate.set()
        await client.failure()
        await client.say("restore", client.execution.restore, "here")
        await client.say("resume", client.execution.resume, data={"word": "two"})
        return await client.end()

    return Life(workflow, play)


def blocking(journal: Journal) -> Life:
    """Plain functions, in threads."""
    workflow = Workflow("blocking")

    @workflow.step
    def first(context: StepContext) -> int:
        journal.act(context)
        return 1

    @workflow.step
    def second(context: StepContext, first: int) -> int:
        journal.act(context)
        return first + 1

    return _simple(workflow)


def cancel(journal: Journal) -> Life:
    """Stopped for good while a step is in flight and another waits for its retry."""
    workflow = Workflow("cancel")
    _hangs(workflow, journal)

    @workflow.step(retry=Retry(max_retries=1, delay=FOREVER_S, max_delay=FOREVER_S, jitter=False))
    async def fails(context: StepContext) -> None:
        journal.act(context)
        raise OSError("later")

    @workflow.step
    async def never(context: StepContext, hangs: None, fails: None) -> None:
        journal.act(context)

    async def play(client: Client) -> Result:
        await client.start(workflow, {})
        await client.until("step_started", "hangs")
        await anyio.sleep(PATIENCE_S)
        await client.say("cancel", client.execution.cancel, "enough")
        return await client.end()

    return Life(workflow, play)


def elsewhere(journal: Journal) -> Life:
    """Paused, changed, signalled and resumed by a second process, through the durable inbox."""
    gates: list[asyncio.Event] = []
    workflow = Workflow("elsewhere")

    @workflow.step
    async def waits(context: StepContext) -> int:
        journal.act(context)
        await gates[-1].wait()
        return 1

    @workflow.step
    async def after(context: StepContext, waits: int, word: str) -> str:
        journal.act(context)
        return f"{word} {waits}"

    async def play(client: Client) -> Result:
        gates.append(client.gate)
        await client.start(workflow, {"word": "one"})
        async with client.another(kind="client") as other:
            execution = await other.execution(ID)
            await client.say("signal", execution.signal, "hello", {"from": "elsewhere"})
            await client.say("change", execution.update_context, {"word": "two"})
            asyncio.get_running_loop().call_later(PATIENCE_S, client.gate.set)
            await client.pause(execution)
            await client.say("resume", execution.resume)
            client.gate.set()
            return await client.end()

    return Life(workflow, play)


def transaction(journal: Journal) -> Life:
    """Statements of the user's own: some executed once, some refused, some given by an attempt that fails."""
    workflow = Workflow("transaction", scheduling="eager")
    enter = "INSERT INTO entries (step, attempt) VALUES (?, ?)"  # nothing in it would refuse a second time

    @workflow.step
    async def table(context: StepContext) -> None:
        journal.act(context)
        async with context.transaction() as tx:
            tx.execute("CREATE TABLE entries (step TEXT, attempt INTEGER CHECK (attempt <> 13))")

    @workflow.step(retry=Retry(max_retries=2, delay=0))
    async def refused(context: StepContext, table: None) -> int:
        journal.act(context)
        async with context.transaction() as tx:
            tx.execute(enter, (context.step, context.attempt))
            tx.execute(enter, (context.step, 13 if context.attempt == 1 else context.attempt))
        if context.attempt == 2:
            raise OSError("after the block")
        return context.attempt

    @workflow.step
    def blocking(context: StepContext, table: None) -> int:
        journal.act(context)
        with context.transaction() as tx:
            tx.execute(enter, (context.step, context.attempt))
        return context.attempt

    @workflow.step
    async def last(context: StepContext, refused: int, blocking: int) -> int:
        journal.act(context)
        await anyio.lowlevel.checkpoint()
        async with context.transaction() as tx:
            tx.execute("UPDATE entries SET attempt = attempt + 100")
        return refused + blocking

    async def play(client: Client) -> Result:
        await client.start(workflow, {})
        result = await client.end()
        rows = _ask(client.runtime, "SELECT step, attempt FROM entries ORDER BY step, attempt")
        return msgspec.structs.replace(result, outputs={**result.outputs, "entries": rows})

    return Life(workflow, play)


def _ask(runtime: Runtime, sql: str) -> list[list[Any]]:
    """Over a connection of the client's own."""
    connection = sqlite3.connect(runtime.store.location)
    try:
        return [list(row) for row in connection.execute(sql)]
    finally:
        connection.close()


def conditions(journal: Journal) -> Life:
    """One branch is taken, one is not, one cannot be asked about, and a join takes what there is."""
    workflow = Workflow("conditions", continue_on_error=True)

    @workflow.step(when="inputs.word == 'go'")
    async def first(context: StepContext) -> int:
        journal.act(context)
        return 1

    @workflow.step(when=lambda first: first > 1)
    async def refused(context: StepContext) -> int:
        journal.act(context)
        return 2

    @workflow.step(after=[first], when="steps.first.output.nothing", optional=True)
    async def broken(context: StepContext) -> int:
        journal.act(context)
        return 3

    @workflow.step(
        after=[refused, broken], dependencies_policy="any", when="steps.refused.state == 'skipped'"
    )
    async def join(context: StepContext, first: int) -> int:
        journal.act(context)
        return first + 1

    return _simple(workflow)


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

    return _simple(workflow)


def spending(journal: Journal) -> Life:
    """Paid calls, one of which is made twice, until the budget is used up; then on with more."""
    workflow = Workflow("spending", budget={"cost": 0.3})

    @workflow.step(retry=Retry(max_retries=1, delay=0))
    async def draft(context: StepContext) -> int:
        journal.act(context)
        context.usage(cost=0.1, tokens=10)
        if context.attempt == 1:
            raise OSError("no answer")
        return 1

    @workflow.step(usage={"cost": 0.2})
    async def polish(context: StepContext, draft: int) -> int:
        journal.act(context)
        context.usage(cost=0.2)
        return draft + 1

    async def play(client: Client) -> Result:
        await client.start(workflow, {})
        await client.until("workflow_paused")
        await client.say("resume", client.execution.resume, budget={"cost": 0.4})
        result = await client.end()
        used = (await client.execution.query())["usage"]
        return msgspec.structs.replace(result, outputs=result.outputs | {"used": used})

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

    return _simple(workflow)


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
    _hangs(leaf, journal)
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


def _with_children(result: Result, summaries: list[ExecutionSummary]) -> Result:
    """With how the executions below have ended, in no order: which is started first is nobody's business."""
    ends = {summary.id: [summary.workflow, summary.status.value] for summary in summaries}
    return msgspec.structs.replace(result, outputs={"own": result.outputs, "children": ends})


def rollback(journal: Journal) -> Life:
    """Undone while its last step is in flight: that is cut, the others are compensated, last first."""
    workflow = Workflow("rollback")

    async def undo(context: StepContext) -> None:
        journal.act(context)
        if context.step == "right.compensate" and context.attempt == 1:
            raise OSError("not at once")

    again = Action(undo, retry=Retry(max_retries=1, delay=PATIENCE_S, jitter=False))

    @workflow.step(compensate=undo)
    async def left(context: StepContext) -> int:
        journal.act(context)
        return 1

    @workflow.step(compensate=again)
    async def right(context: StepContext) -> int:
        journal.act(context)
        await anyio.sleep(PATIENCE_S)
        return 2

    @workflow.step(compensate=undo)
    async def last(context: StepContext, left: int, right: int) -> None:
        journal.act(context)
        await anyio.sleep(FOREVER_S)

    @workflow.hook("finally")
    async def close(context: StepContext) -> None:
        journal.act(context)

    async def play(client: Client) -> Result:
        await client.start(workflow, {})
        await client.until("step_started", "last")
        await client.say("rollback", client.execution.rollback, "rain")
        return await _standing(client, "steps", "compensations", "hooks")

    return Life(workflow, play)


async def _standing(client: Client, *parts: str) -> Result:
    """The end, with how the steps of these roles stand then."""
    result = await client.end()
    described = await client.execution.query()
    states = {key: step["state"] for part in parts for key, step in described[part].items()}
    return msgspec.structs.replace(result, outputs=states)


def undoing_again(journal: Journal) -> Life:
    """A failure is undone, in part; a retry undoes the rest."""
    workflow = Workflow("undoing-again", on_failure="compensate")

    async def undo(context: StepContext) -> None:
        journal.act(context)
        if context.step == "second.compensate" and context.generation == 0:
            raise OSError("the first time")

    @workflow.step(compensate=undo)
    async def first(context: StepContext) -> int:
        journal.act(context)
        return 1

    @workflow.step(compensate=undo)
    async def second(context: StepContext, first: int) -> int:
        journal.act(context)
        return first + 1

    @workflow.step
    async def third(context: StepContext, second: int) -> None:
        journal.act(context)
        raise OSError("no")

    async def play(client: Client) -> Result:
        await client.start(workflow, {})
        await client.failure()
        await client.say("retry", client.execution.retry)
        return await _standing(client, "steps", "compensations", "hooks")

    return Life(workflow, play)


def hooks(journal: Journal) -> Life:
    """Cancelled: the hook of that end, which fails once, and the one of every end."""
    workflow = Workflow("hooks")
    _hangs(workflow, journal)

    @workflow.hook("onSuccess")
    async def never(context: StepContext) -> None:
        journal.act(context)

    @workflow.hook("onCancel", retry=Retry(max_retries=1, delay=PATIENCE_S, jitter=False))
    async def tell(context: StepContext) -> None:
        journal.act(context)
        if context.attempt == 1:
            raise OSError("later")

    @workflow.hook("finally")
    async def close(context: StepContext) -> None:
        journal.act(context)
        await anyio.sleep(PATIENCE_S)

    async def play(client: Client) -> Result:
        await client.start(workflow, {})
        await client.until("step_started", "hangs")
        await client.say("cancel", client.execution.cancel)
        return await _standing(client, "hooks")

    return Life(workflow, play)


def limited(journal: Journal) -> Life:
    """An execution that first waits for a slot of its workflow, and takes one again when it is retried."""
    workflow = Workflow("limited", limits={"concurrency": 1, "key": "{{word}}"})

    @workflow.step
    async def first(context: StepContext, word: str) -> str:
        journal.act(context)
        return word

    @workflow.step
    async def second(context: StepContext, first: str) -> str:
        journal.act(context)
        if context.generation == 0:
            raise OSError("not yet")
        return first * 2

    async def play(client: Client) -> Result:
        await client.start(workflow, {"word": "go"})
        await client.failure()
        await client.say("retry", client.execution.retry)
        result = await client.end()
        stored = await client.runtime.store.execution(ID)
        assert stored is not None
        assert (stored.queue, stored.slot) == (None, None)
        return result

    return Life(workflow, play)


LIVES: dict[str, Callable[[Journal], Life]] = {
    life.__name__: life
    for life in (
        chain,
        diamond,
        wide,
        retries_at_once,
        retries_later,
        timeouts,
        deadline,
        optional_failure,
        skipping,
        conditions,
        waits,
        repeats,
        items,
        items_again,
        approvals,
        family,
        family_cancel,
        gates,
        failure,
        anew,
        later,
        pause,
        interrupt,
        restore,
        blocking,
        cancel,
        elsewhere,
        transaction,
        spending,
        limited,
        rollback,
        undoing_again,
        hooks,
        forked,
        migrated,
        webhooks,
        slots,
        circuit,
    )
}
