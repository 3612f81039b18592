"""Lives that reach beyond one execution: forks, other versions, calls to outside, agents that are shared."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import anyio
import msgspec
from client import ID, Client, Journal, Life

from lives.shared import add_meal
from perdure.runtime import Agents, CircuitBreaker, Result, Retry, StepContext, Workflow
from perdure.runtime.webhooks.signing import ID as DELIVERY

LOOK_S = 1.0  # of virtual time between two looks at what comes to rest by itself
SLOTS = 2
CALL_S = 0.6  # of one that holds a slot: so long that some of those in line become rows
REFUSED = 503


def forked(journal: Journal) -> Life:
    """A fork from a checkpoint of what runs, one from a step of what failed, both with another input."""
    workflow = Workflow("forked")
    gates: list[asyncio.Event] = []

    async def wait() -> None:
        await gates[-1].wait()

    add_meal(workflow, journal, wait)

    async def play(client: Client) -> Result:
        gates.append(client.gate)
        await client.start(workflow, {})
        await client.until("step_started", "heat")
        await client.say("mark", client.execution.checkpoint, label="here")
        early = await client.fork("early", from_checkpoint="here", edit={"degrees": 70})
        client.gate.set()
        result = await client.end()
        late = await client.fork("late", from_step="heat", edit={"degrees": 80})
        ends = [await fork.result() for fork in (early, late)]
        told = await client.told("forked_to", "execution")
        outputs = {"forks": [end.outputs for end in ends], "told": told}
        return msgspec.structs.replace(result, outputs=outputs)

    return Life(workflow, play)


def migrated(journal: Journal) -> Life:
    """Paused in one version, it goes on in the next, fails there, and is mended in a third."""
    gates: list[asyncio.Event] = []

    async def first(context: StepContext) -> int:
        journal.act(context)
        return 1

    async def waits(context: StepContext, first: int) -> int:
        journal.act(context)
        await gates[-1].wait()
        return first + 1

    async def broken(context: StepContext) -> int:
        journal.act(context)
        raise OSError("no")

    async def mended(context: StepContext, first: int) -> int:
        journal.act(context)
        return first * 10

    async def last(context: StepContext, waits: int, between: int = 0) -> int:
        journal.act(context)
        return waits + between

    one = Workflow("migrated", version="1")
    one.step(first), one.step(waits), one.step(last)
    two = Workflow("migrated", version="2")
    two.step(key="between")(broken), two.step(first), two.step(waits), two.step(last)
    three = Workflow("migrated", version="3")
    three.step(first), three.step(key="between")(mended), three.step(last), three.step(waits)

    async def play(client: Client) -> Result:
        gates.append(client.gate)
        await client.runtime.publish(two)
        await client.runtime.publish(three)
        await client.start(one, {})
        await client.until("step_started", "waits")
        await client.pause(client.execution, mode="interrupt")
        await client.say("two", client.execution.migrate, "2")
        client.gate.set()
        await client.say("resume", client.execution.resume)
        await client.failure()
        await client.say("three", client.execution.migrate, "3")
        await client.say("retry", client.execution.retry)
        return await client.end()

    return Life(one, play)


def webhooks(journal: Journal) -> Life:
    """Others are told of a pause, of going on and of the end; each call is refused the first time."""
    workflow = Workflow("webhooks", webhooks=[{"url": "http://there/hook"}])
    gates: list[asyncio.Event] = []
    refused: set[str] = set()

    @workflow.step
    async def waits(context: StepContext) -> int:
        journal.act(context)
        await gates[-1].wait()
        return 1

    async def post(url: str, headers: Mapping[str, str], body: bytes) -> int:
        id_ = headers[DELIVERY]
        if id_ not in refused:
            refused.add(id_)
            return REFUSED
        journal.write({"heard": id_, "at": url, "body": body.decode()})
        return 204

    async def play(client: Client) -> Result:
        gates.append(client.gate)
        await client.start(workflow, {})
        await client.until("step_started", "waits")
        await client.pause(client.execution, mode="interrupt")
        client.gate.set()
        await client.say("resume", client.execution.resume)
        result = await client.end()
        while await client.runtime.webhooks.list(state="pending"):  # noqa: ASYNC110 - nobody else tells
            await anyio.sleep(LOOK_S)
        calls = await client.runtime.webhooks.list()
        heard = {(line["heard"], line["body"]) for line in journal.lines() if "heard" in line}
        assert heard == {(call.id, call.payload.decode()) for call in calls}
        states = sorted([call.event, call.state] for call in calls)
        return msgspec.structs.replace(result, outputs={"calls": states})

    return Life(workflow, play, post=post)


def slots(journal: Journal) -> Life:
    """Two runners share an agent with two slots and a rate, and some who wait for it become rows."""
    agents = Agents()
    inside: list[str] = []

    @agents.agent("press", max_concurrency=SLOTS, rate="100/s")
    async def press(context: StepContext) -> int:
        journal.act(context)
        inside.append(context.step)
        assert len(inside) <= SLOTS, f"{inside} at once"
        try:
            await anyio.sleep(CALL_S)
        finally:
            inside.remove(context.step)
        return 1

    workflow = Workflow("slots")
    for no in range(4):
        workflow.agent_step(f"part-{no}", agent="press")

    async def play(client: Client) -> Result:
        async with client.another(kind="embedded") as other:
            await client.start(workflow, {})
            twin = await other.start(workflow, {}, id="twin")
            ends = [await client.end(), await twin.result()]
        await anyio.sleep(LOOK_S)  # what a step held is given back when its outcome is durable
        taken = [guard.slots_taken for guard in await client.runtime.store.guards()]
        outputs = {"ends": [end.outputs for end in ends], "taken": taken}
        return msgspec.structs.replace(ends[0], outputs=outputs)

    return Life(workflow, play, {"agents": agents})


def circuit(journal: Journal) -> Life:
    """An agent fails until its circuit opens; a probe closes it, whoever has died with one before."""
    agents = Agents()

    @agents.agent("shaky", circuit_breaker=CircuitBreaker(errors=2, cooldown=LOOK_S))
    async def shaky(context: StepContext) -> int:
        journal.act(context)
        if sum("idempotency_key" in line for line in journal.lines()) <= SLOTS:
            raise OSError("down")
        return 1

    workflow = Workflow("circuit")
    for no in range(3):
        workflow.agent_step(f"call-{no}", agent="shaky", retry=Retry(max_retries=2, delay=0))

    async def play(client: Client) -> Result:
        await client.start(workflow, {})
        result = await client.end()
        last = await client.runtime.start(workflow, {}, id=f"{ID}-again")
        await last.result()
        await anyio.sleep(LOOK_S)
        stands = {guard.circuit["state"] for guard in await client.runtime.store.guards() if guard.circuit}
        assert stands <= {"closed"}, stands  # of a crash it remembers nothing: then it has never opened
        return result

    return Life(workflow, play, {"agents": agents})
