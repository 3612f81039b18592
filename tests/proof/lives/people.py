"""Lives that people hold up: paused, resumed, restored and cancelled, here and from another process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import anyio
import msgspec
from client import ID, Client, Journal, Life

from lives.shared import FOREVER_S, PATIENCE_S, add_hanging
from perdure.runtime import ForEach, Result, Retry, StepContext, Workflow


def later(journal: Journal) -> Life:
    """A pause that ends by itself: at a moment that was planned, whoever is there then."""

    async def play(client: Client) -> None:
        await client.until("step_completed", "quick")
        await client.pause(client.execution, mode="interrupt")
        await client.say("plan", client.execution.resume_later, at=PATIENCE_S)
        client.gate.set()

    return _gated(journal, play)


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


def cancel(journal: Journal) -> Life:
    """Stopped for good while a step is in flight and another waits for its retry."""
    workflow = Workflow("cancel")
    add_hanging(workflow, journal)

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


def spending(journal: Journal) -> Life:
    """Paid calls, one of which is made twice, until the budget is used up; then on with more, by items."""
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

    @workflow.step(for_each=ForEach(items=2), usage={"cost": 0.1}, after=polish)
    async def free(context: StepContext, item: int) -> int:
        journal.act(context)
        return item

    async def play(client: Client) -> Result:
        await client.start(workflow, {})
        await client.until("workflow_paused")
        await client.say("resume", client.execution.resume, budget={"cost": 0.5})
        result = await client.end()
        used = (await client.execution.query())["usage"]
        return msgspec.structs.replace(result, outputs=result.outputs | {"used": used})

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
