"""What a program is told of an execution: traces, events, callbacks, queries and lists."""

from __future__ import annotations

import asyncio

import anyio
import pytest
from scenarios import noop, order, virtually

from perdure.runtime import Agents, Event, NotFound, Runtime, Status, StepContext, Workflow, trace_id


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


@pytest.mark.parametrize("error", [RuntimeError("callback"), SystemExit(1), asyncio.CancelledError()])
def test_callbacks_are_called_for_every_step(error: BaseException) -> None:
    """On start and on completion, once it is durable; one that raises, or exits, changes nothing."""
    calls: list[str] = []

    def started(event: Event) -> None:
        calls.append(f"start {event.step}")
        raise error

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


def test_an_id_is_found_however_many_others_begin_with_it() -> None:
    """It is older than those of which only the newest are looked at."""

    async def scenario(runtime: Runtime) -> None:
        for number in (1, *range(10, 20)):
            await runtime.start(order(), {"item": "lamp"}, id=f"o-{number}")
        assert await runtime.find("o-1") == "o-1"
        assert await runtime.find("o-10") == "o-10"
        with pytest.raises(NotFound, match="10 or more ids begin so: o-19, o-18"):
            await runtime.find("o-")

    virtually(scenario)


def test_many_events_at_once_do_not_stop_a_follower() -> None:
    """More than a subscriber's place holds: it reads on from the store, and rests in between."""
    workflow = Workflow("wide")
    for number in range(1500):
        workflow.agent_step(f"s{number}", agent="noop")
    workflow.agent_step("last", agent="rest", after=["s0"])
    agents = Agents()
    agents.add("noop", noop)

    @agents.agent("rest")
    async def rest() -> None:
        await anyio.sleep(100)

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(workflow)
        seen = [event async for event in execution.events(follow=True)]
        assert sum(event.type == "step_completed" for event in seen) == 1501

    virtually(scenario, agents=agents)
