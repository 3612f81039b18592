"""The door for programs: `async with Runtime("orders.db") as runtime:` and everything behind it.

One task group holds all that runs; nothing outlives the `async with`. Inside it stand, each on the
one before: the writer, this process's entry among the runners with its bell, the supervisor of the
executions, recovery. Leaving the block takes them down in the reverse order: executions are
interrupted (which uses up no attempt) and given up, so that whoever opens the store next goes on.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import anyio

from perdure.actors.admission import StepSlots
from perdure.actors.bus import Bus
from perdure.actors.doorbell import Doorbell
from perdure.actors.errors import RuntimeClosed
from perdure.actors.executions import Executions, NewExecution
from perdure.actors.kernel import Alarms, Supervisor, Teardown
from perdure.actors.log import get_logger
from perdure.actors.membership import Membership
from perdure.actors.recovery import Recovery
from perdure.actors.services import LINGER_MS, Services
from perdure.actors.writer import Writer
from perdure.runtime.agents import Agents, UnknownAgent
from perdure.runtime.callbacks import StepCallback, call_back
from perdure.runtime.execution import Execution
from perdure.runtime.language import Workflow, check_context
from perdure.runtime.plans import Plans, Revision
from perdure.runtime.seams import Seams, system_seams
from perdure.runtime.trace import normalise
from perdure.runtime.trace import trace_id as current_trace_id
from perdure.store import SQLiteStore
from perdure.store.codec import decode, encode
from perdure.store.errors import NotFound
from perdure.store.protocol import Store
from perdure.store.records import Event, ExecutionSummary, WorkflowStatistics
from perdure.store.records import Workflow as WorkflowRecord
from perdure.store.states import Status
from perdure.store.writes import DeleteExecution

MAX_ACTIVE: Final = 10_000  # executions with a task in this process, about 10 KB each
MAX_ACTIVE_STEPS: Final = 10_000  # bodies in flight in this process
FOREVER_MS: Final = 10**12  # a linger that never ends: who runs one execution waits with it

log = get_logger("perdure.runtime")


class Runtime:
    """Runs workflows durably inside an asyncio program.

    `location` is the path of an SQLite file (made where there is none) or `:memory:`. `workflows`
    are published and their functions registered before anything is taken up; `agents` perform the
    steps of workflows written in YAML. With `recover` every unfinished execution that can be
    performed here is taken up; those whose code is missing wait for it (`waiting_for_code`).

    `durability="power"` survives power loss, `"process"` survives `kill -9` but may lose the last
    acknowledged moments to power loss. `kind="client"` never runs a step.
    """

    def __init__(
        self,
        location: str | Path = "perdure.db",
        *,
        workflows: Iterable[Workflow] = (),
        agents: Agents | None = None,
        durability: str = "power",
        kind: str = "embedded",
        recover: bool = True,
        max_active: int = MAX_ACTIVE,
        max_active_steps: int = MAX_ACTIVE_STEPS,
        on_step_start: StepCallback | None = None,
        on_step_complete: StepCallback | None = None,
        store: Store | None = None,
        seams: Seams | None = None,
    ) -> None:
        """Nothing happens before the `async with`."""
        self._is_client = kind == "client"
        self.store: Store = store or SQLiteStore(str(location), durability=durability, client=self._is_client)
        self.agents = Agents() if agents is None else agents
        self._workflows = tuple(workflows)
        self._kind = kind
        self._recover = recover and not self._is_client
        self._max_active = max_active
        self._max_active_steps = max_active_steps
        self._on_step_start = on_step_start
        self._on_step_complete = on_step_complete
        self.seams = seams or system_seams()
        self._stack: AsyncExitStack | None = None
        self._plans: Plans
        self.executions: Executions
        self._recovery: Recovery
        self._services: Services
        self._membership: Membership
        self._helpers: anyio.abc.TaskGroup
        self.bus = Bus()

    async def __aenter__(self) -> Self:
        """Open the store and take up what was left unfinished."""
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._lifetime())
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        """Interrupt what runs, give everything up, close the store."""
        stack, self._stack = self._stack, None
        return None if stack is None else await stack.__aexit__(kind, error, trace)

    # ---- workflows -----------------------------------------------------------------------------

    async def publish(self, workflow: Workflow) -> WorkflowRecord:
        """Store a workflow's revision and make it the active one of its name.

        The same content is the same revision, however often it is published. Raises DefinitionError.
        """
        revision = await self._publish(workflow)
        record = await self.store.workflow_by_no(revision.record_no)
        assert record is not None
        return record

    async def workflows(self) -> list[WorkflowRecord]:
        """The active revision of each workflow, by name."""
        self.check_open()
        return await self.store.workflows()

    async def workflow(self, name: str, *, version: str | None = None) -> WorkflowRecord:
        """The active revision of that name, or the one labelled `version`. Raises NotFound."""
        self.check_open()
        record = await self.store.workflow(name, version=version)
        if record is None:
            raise NotFound("workflow", name if version is None else f"{name} {version}")
        return record

    async def statistics(self, *, workflow: str | None = None) -> list[WorkflowStatistics]:
        """How the executions of each workflow have fared."""
        self.check_open()
        return await self.store.statistics(workflow=workflow)

    # ---- executions ----------------------------------------------------------------------------

    async def start(
        self,
        workflow: Workflow | str,
        context: Mapping[str, Any] | None = None,
        *,
        id: str | None = None,
        priority: int = 0,
        triggered_by: str | None = None,
        parent_id: str | None = None,
        trace_id: str | None = None,
        timeout: float | timedelta | None = None,
        agents_from: str | None = None,
        detach: bool = False,
    ) -> Execution:
        """Start an execution; when this returns it is durable.

        `context` holds the inputs, JSON values. An `id` that exists already joins that execution
        and starts nothing. `timeout` (seconds) overrides the workflow's. Where `max_active`
        executions are hot the new one queues by `priority` (higher first). `detach` leaves it to
        another runner.

        Raises DefinitionError, TemplateError (an input is missing), UnknownAgent, NotFound,
        NotSerializable, PayloadTooLarge, InvalidId.
        """
        self.check_open()
        revision = await self._revision(workflow)
        plain = decode(encode(dict(context or {}), what="the context"))
        check_context(revision.definition, plain, self.agents)
        if revision.plan.missing and not detach:
            raise UnknownAgent(revision.plan.missing[0], known=self.agents.names())
        seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
        execution_id = self.seams.new_id() if id is None else id
        await self.executions.start(
            NewExecution(
                id=execution_id,
                plan=revision.plan,
                context=plain,
                trace_id=self._trace_id(trace_id),
                priority=priority,
                triggered_by=triggered_by,
                parent_id=parent_id,
                agents=agents_from,
                timeout_ms=None if seconds is None else int(seconds * 1000),
                is_detached=detach or self._is_client,
            )
        )
        if detach:
            await self._membership.ring_workers()
        return Execution(self, execution_id)

    async def execution(self, execution_id: str) -> Execution:
        """The handle of an execution that exists. Raises NotFound."""
        self.check_open()
        if await self.store.execution(execution_id) is None:
            raise NotFound("execution", execution_id)
        return Execution(self, execution_id)

    async def find(self, text: str) -> str:
        """The one id that begins with `text`; `@last` is the newest, `NAME@last` a workflow's newest.

        Raises NotFound where none or several do.
        """
        self.check_open()
        if text.endswith("@last"):
            newest = await self.list(workflow=text.removesuffix("@last") or None, limit=1)
            if not newest:
                raise NotFound("execution", text, hint="there is none yet")
            return newest[0].id
        found = await self.store.find(text)
        if text in found or len(found) == 1:
            return text if text in found else found[0]
        hint = f"{len(found)} ids begin so: {', '.join(found[:5])}" if found else "see `perdure list`"
        raise NotFound("execution", text, hint=hint)

    async def delete(self, execution_id: str) -> None:
        """Delete a terminal execution and its log. Raises NotFound, IllegalTransition."""
        self.check_open()
        await self._services.writer.write(DeleteExecution(execution_id=execution_id))

    async def events(self, *, after: int = 0, limit: int = 1_000) -> list[Event]:
        """The log of all executions after that event id, oldest first."""
        self.check_open()
        return await self.store.events(after=after, limit=limit)

    async def list(
        self,
        *,
        status: Status | str | None = None,
        workflow: str | None = None,
        since: datetime | None = None,
        limit: int = 50,
        after: str | None = None,
    ) -> list[ExecutionSummary]:
        """A page of executions, newest first; the last id of a page is the next page's `after`."""
        self.check_open()
        wanted = None if status is None else Status(status)
        return await self.store.executions(
            status=wanted, workflow=workflow, since=since, limit=limit, after=after
        )

    @property
    def waiting_for_code(self) -> Mapping[str, tuple[str, ...]]:
        """Unfinished executions that cannot be performed here, and what each of them misses."""
        return self._recovery.waiting_for_code

    async def serve(self) -> None:
        """Run until cancelled: what a worker does."""
        self.check_open()
        await anyio.sleep_forever()

    # ---- the inside ----------------------------------------------------------------------------

    @asynccontextmanager
    async def _lifetime(self) -> AsyncIterator[None]:
        seams = self.seams
        await self.store.open()
        try:
            async with anyio.create_task_group() as group:
                writer = Writer(self.store)
                group.start_soon(writer.run, name="writer")
                try:
                    async with self._services_up(group, writer):
                        yield
                finally:
                    writer.close()
        finally:
            with anyio.CancelScope(shield=True):
                await self.store.close()
        log.debug("runtime_closed", location=self.store.location, at=seams.clock.now())

    @asynccontextmanager
    async def _services_up(self, group: anyio.abc.TaskGroup, writer: Writer) -> AsyncIterator[None]:
        """Everything that needs the writer, in and out again."""
        seams = self.seams
        runner_id = seams.new_id()
        alarms = Alarms()
        doorbell = Doorbell(runner_id, on_ring=self._ring, on_work=self._ask_sweep)
        self._membership = Membership(
            self.store,
            writer,
            runner_id=runner_id,
            kind=self._kind,
            now_ms=lambda: int(seams.clock.now() * 1000),
        )
        self._plans = Plans(self.store, writer, self.agents, performs=not self._is_client)
        await doorbell.open()
        await self._membership.join(doorbell=doorbell.path)
        self._services = Services(
            store=self.store,
            writer=writer,
            clock=seams.clock,
            alarms=alarms,
            slots=StepSlots(self._max_active_steps),
            bus=self.bus,
            plans=self._plans,
            chance=seams.chance,
            runner_no=self._membership.no,
            on_commit=doorbell.announce,
            linger_ms=LINGER_MS if self._recover else FOREVER_MS,
        )
        try:
            for workflow in self._workflows:
                await self._publish(workflow, is_opening=True)
            async with self._executions_up(group):
                yield
        finally:
            with anyio.CancelScope(shield=True):
                await doorbell.close()
                await self._membership.leave()
            alarms.close()

    @asynccontextmanager
    async def _executions_up(self) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            supervisor = await stack.enter_async_context(
                Supervisor(name="executions", random=self.seams.chance, teardown=Teardown.TOGETHER)
            )
            self.executions = Executions(
                self._services,
                supervisor,
                self._membership,
                max_active=self._max_active,
                on_room=self._ask_sweep,
            )
            stack.callback(self.executions.close)
            self._recovery = Recovery(self._services, self.executions, self._membership)
            helpers = self._helpers = await stack.enter_async_context(anyio.create_task_group())
            stack.callback(helpers.cancel_scope.cancel)
            if self._recover:
                helpers.start_soon(self._recovery.run, name="recovery")
            if self._on_step_start is not None or self._on_step_complete is not None:
                helpers.start_soon(
                    call_back, self.bus, self._on_step_start, self._on_step_complete, name="callbacks"
                )
            yield

    def _ring(self, execution_id: str) -> None:
        self._helpers.start_soon(self.executions.ring, execution_id)

    def _ask_sweep(self) -> None:
        self._recovery.ask()

    async def _publish(self, workflow: Workflow, *, is_opening: bool = False) -> Revision:
        if not is_opening:
            self.check_open()
        revision = await self._plans.publish(workflow, at_ms=self._services.now_ms())
        if not is_opening and self._recovery.waiting_for_code:
            self._recovery.ask()
        return revision

    async def _revision(self, workflow: Workflow | str) -> Revision:
        if isinstance(workflow, str):
            return await self._plans.active(workflow)
        return await self._publish(workflow)

    def _trace_id(self, given: str | None) -> str:
        wanted = given or current_trace_id.get()
        return normalise(wanted) if wanted else self.seams.new_id().replace("-", "")

    def check_open(self) -> None:
        """Raise RuntimeClosed outside the `async with`."""
        if self._stack is None:
            raise RuntimeClosed("the runtime is not open: use it inside `async with Runtime(…) as runtime:`")
