"""Everything public that is awaited, as tables: where an execution has come to, and what it is asked."""

from __future__ import annotations

import asyncio
import inspect
import tempfile
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import anyio

from perdure.runtime import Execution, Result, Runtime, StepContext, Workflow
from perdure.runtime.testing import Effect
from perdure.store.sqlite.connection import InlineConnection

ONCE = "once"


class World:
    """What lies outside the runtimes: the gates that bodies wait at, and what they have done."""

    def __init__(self) -> None:
        """Every gate is shut."""
        self.ledger: list[Effect] = []
        self.gates: dict[str, asyncio.Event] = {}
        self.workflow = self._workflow()
        self.asking = self._asking()

    def gate(self, execution_id: str) -> asyncio.Event:
        """The gate of one execution."""
        return self.gates.setdefault(execution_id, asyncio.Event())

    def _workflow(self) -> Workflow:
        workflow = Workflow("gated")

        @workflow.step
        async def quick(context: StepContext) -> int:
            self._act(context)
            return 1

        @workflow.step
        async def waits(context: StepContext, quick: int, breaks: bool = False) -> int:  # noqa: FBT001, FBT002
            self._act(context)
            await self.gate(context.execution_id).wait()
            if breaks and context.generation == 0:
                raise OSError("not the first time")
            return quick + 1

        @workflow.step
        async def last(context: StepContext, waits: int) -> int:
            self._act(context)
            return waits + 1

        return workflow

    def _asking(self) -> Workflow:
        workflow = Workflow("asking").approval_step("ok", quorum=2)

        @workflow.step
        async def beside(context: StepContext) -> int:
            self._act(context)
            await self.gate(context.execution_id).wait()
            return 1

        return workflow

    def _act(self, context: StepContext) -> None:
        fields = {name: getattr(context, name) for name in Effect.__struct_fields__}
        self.ledger.append(Effect(**fields))


class DeferredConnection(InlineConnection):
    """A thread in one thread: what is asked for is done in a later pass, whether it is waited for or not."""

    _pending = 0

    async def run(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run it in the next pass; the answer takes another one."""
        loop = asyncio.get_running_loop()
        answer = loop.create_future()
        self._pending += 1
        loop.call_soon(self._work, answer, lambda: function(self._link, *args, **kwargs))
        return await answer

    async def close(self) -> None:
        """Finish what was asked for."""
        while self._pending:  # noqa: ASYNC110  each pass does some of it
            await asyncio.sleep(0)
        await super().close()

    def _work(self, answer: asyncio.Future[Any], work: Callable[[], Any]) -> None:
        self._pending -= 1
        try:
            give = partial(answer.set_result, work())
        except Exception as error:
            give = partial(answer.set_exception, error)
        asyncio.get_running_loop().call_soon(lambda: answer.done() or give())


def deferring(runtime: Runtime) -> Runtime:
    """The runtime, with a store that answers as late as one on a thread."""
    store: Any = runtime.store
    store._writer = store._reader = store._browser = DeferredConnection(store._writer._link)
    return runtime


Prepare = Callable[[World, Runtime, str], Awaitable[Execution]]
Use = Callable[[World, Runtime, Execution], Awaitable[Any]]


async def settle() -> None:
    """Let everything happen that happens without time passing."""
    await anyio.sleep(0.001)


async def running(world: World, runtime: Runtime, id_: str) -> Execution:
    """Its second step waits at the gate."""
    execution = await runtime.start(world.workflow, {"breaks": False}, id=id_)
    await settle()
    return execution


async def asking(world: World, runtime: Runtime, id_: str) -> Execution:
    """One of its steps asks two people, another waits at the gate."""
    execution = await runtime.start(world.asking, id=id_)
    await settle()
    return execution


async def paused(world: World, runtime: Runtime, id_: str) -> Execution:
    """It rests."""
    execution = await running(world, runtime, id_)
    await execution.pause(mode="interrupt")
    return execution


async def pausing(world: World, runtime: Runtime, id_: str) -> Execution:
    """It is coming to rest, and the body at the gate keeps it."""
    execution = await running(world, runtime, id_)
    with anyio.move_on_after(0.001):
        await execution.pause()
    return execution


async def failed(world: World, runtime: Runtime, id_: str) -> Execution:
    """Its second step has failed, after a checkpoint; the gate is shut again."""
    execution = await runtime.start(world.workflow, {"breaks": True}, id=id_)
    await settle()
    await execution.checkpoint(label="here")
    world.gate(id_).set()
    await execution.result(check=False)
    world.gate(id_).clear()
    return execution


async def completed(world: World, runtime: Runtime, id_: str) -> Execution:
    """It is over."""
    execution = await running(world, runtime, id_)
    world.gate(id_).set()
    await execution.result()
    return execution


def command(name: str, *args: Any, opens: bool = False, **options: Any) -> Use:
    """A command of the handle; with `opens` the gate opens a second later."""

    async def use(world: World, runtime: Runtime, execution: Execution) -> Any:
        if opens:
            asyncio.get_running_loop().call_later(1.0, world.gate(execution.id).set)
        return await getattr(execution, name)(*args, command_id=ONCE, **options)

    return use


def look(name: str, *, opens: bool = False, **options: Any) -> Use:
    """A question to the handle; what it answers may differ the second time."""

    async def use(world: World, runtime: Runtime, execution: Execution) -> Any:
        if opens:
            world.gate(execution.id).set()
        answer = getattr(execution, name)(**options)
        if inspect.isasyncgen(answer):
            return [event.type async for event in answer]
        answer = await answer
        return answer if isinstance(answer, Result) else None

    return use


def of_runtime(name: str, *args: Any, **options: Any) -> Use:
    """A call of the runtime, about the execution where `ID` stands."""

    async def use(world: World, runtime: Runtime, execution: Execution) -> Any:
        own = [execution.id if arg == "ID" else arg for arg in args]
        await getattr(runtime, name)(*own, **options)

    return use


async def start(world: World, runtime: Runtime, execution: Execution) -> Any:
    """Start another one; its id makes it one however often it is started."""
    world.gate(f"{execution.id}-2").set()
    other = await runtime.start(world.workflow, {}, id=f"{execution.id}-2")
    return (await other.result()).outputs


async def start_detached(world: World, runtime: Runtime, execution: Execution) -> Any:
    """Leave another one to whoever performs it."""
    world.gate(f"{execution.id}-2").set()
    other = await runtime.start(world.workflow, {}, id=f"{execution.id}-2", detach=True)
    return (await other.result()).outputs


async def publish(world: World, runtime: Runtime, execution: Execution) -> Any:
    """Publish a workflow nobody has seen."""
    workflow = Workflow(f"new-{execution.id}")

    @workflow.step
    def only() -> int:
        return 1

    return (await runtime.publish(workflow)).version


async def delete_workflow(world: World, runtime: Runtime, execution: Execution) -> Any:
    """Delete a revision that nobody uses."""
    workflow = Workflow(f"old-{execution.id}")

    @workflow.step
    def only() -> int:
        return 1

    record = await runtime.publish(workflow)
    await runtime.delete_workflow(record.name, record.revision)


async def backup(world: World, runtime: Runtime, execution: Execution) -> Any:
    """Copy the store to a file; all of it or nothing."""
    await runtime.backup(Path(tempfile.gettempdir()) / f"{execution.id}.db", overwrite=True)


COMMANDS: dict[str, tuple[Prepare, Use]] = {
    "pause, draining": (running, command("pause", opens=True)),
    "pause, interrupting": (running, command("pause", mode="interrupt")),
    "resume": (paused, command("resume")),
    "resume with data": (paused, command("resume", data={"word": "new"})),
    "resume, called off": (pausing, command("resume")),
    "cancel": (running, command("cancel")),
    "cancel, at rest": (paused, command("cancel")),
    "signal": (running, command("signal", "hello", [1])),
    "approve": (asking, command("approve", "ok", by="ann", data=[1])),
    "reject": (asking, command("reject", "ok", by="ann")),
    "update_context": (running, command("update_context", {"word": "new"})),
    "checkpoint": (running, command("checkpoint", label="mark")),
    "restore": (failed, command("restore", "here")),
    "retry": (failed, command("retry")),
}
OTHERS: dict[str, tuple[Prepare, Use]] = {
    "start": (running, start),
    "start, detached": (running, start_detached),
    "publish": (running, publish),
    "backup": (running, backup),
    "delete_workflow": (running, delete_workflow),
    "delete": (completed, of_runtime("delete", "ID")),
    "workflows": (running, of_runtime("workflows")),
    "workflow": (running, of_runtime("workflow", "gated")),
    "statistics": (running, of_runtime("statistics")),
    "execution": (running, of_runtime("execution", "ID")),
    "find": (running, of_runtime("find", "ID")),
    "list": (running, of_runtime("list")),
    "events of all": (running, of_runtime("events")),
    "approvals": (asking, of_runtime("approvals")),
    "has_worker": (running, of_runtime("has_worker")),
    "ring_workers": (running, of_runtime("ring_workers")),
    "status": (running, look("status")),
    "query": (running, look("query")),
    "query, at rest": (paused, look("query")),
    "attempts": (running, look("attempts")),
    "events": (running, look("events")),
    "events, followed": (running, look("events", follow=True, opens=True)),
    "checkpoints": (running, look("checkpoints")),
    "can_resume": (running, look("can_resume")),
    "set_priority": (running, look("set_priority", priority=3)),
    "result": (running, look("result", opens=True)),
    "result, with a limit": (running, look("result", opens=True, timeout=60.0)),
}
