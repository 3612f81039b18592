"""The door for programs: `async with Runtime("orders.db") as runtime:` and everything behind it.

Nothing outlives the `async with`. When it is left, executions are interrupted (which uses up no
attempt) and given up, so that whoever opens the store next goes on with them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import anyio
import msgspec

from perdure.actors.bus import Bus
from perdure.actors.errors import RuntimeClosed
from perdure.actors.execution.starting import NewExecution
from perdure.actors.kernel.classify import unwrapped
from perdure.actors.state.trial import CRASH_BUDGET
from perdure.runtime import arguments
from perdure.runtime.agents import Agents, load_agents
from perdure.runtime.assembly import Blueprint, Machine, assemble
from perdure.runtime.bulk import Bulk
from perdure.runtime.callbacks import StepCallback
from perdure.runtime.catalogue import Catalogue
from perdure.runtime.config import resolve
from perdure.runtime.deciding import Asking
from perdure.runtime.durations import RETENTION, Duration, retention_ms
from perdure.runtime.execution import Execution
from perdure.runtime.home import check_home, check_leaving, leave, this_task
from perdure.runtime.keeping import Keeping
from perdure.runtime.keys import keys_of
from perdure.runtime.language import Workflow
from perdure.runtime.language.conditions import EXTRA, ConditionsNotInstalled
from perdure.runtime.language.inputs import filled
from perdure.runtime.language.telling import read_webhooks
from perdure.runtime.looking import find
from perdure.runtime.plans import Revision
from perdure.runtime.schedules import Schedules, kept
from perdure.runtime.seams import Seams, system_seams
from perdure.runtime.trace import trace_of
from perdure.runtime.upkeep import upkeep_of
from perdure.runtime.webhooks.door import Webhooks, couriered
from perdure.store import store_at
from perdure.store.errors import IdTaken, NotFound
from perdure.store.protocol import Store
from perdure.store.records import LEASE_MS, Event, ExecutionSummary
from perdure.store.scripts.sealing import Keys
from perdure.store.states import Status, status_named
from perdure.store.writes import DeleteExecution

MAX_ACTIVE: Final = 10_000  # executions with a task in this process, about 10 KB each
MAX_ACTIVE_STEPS: Final = 10_000  # bodies in flight in this process
WORKERS: Final = frozenset({"embedded", "worker"})  # kinds of runners that take up what they find


class Runtime(Asking, Bulk, Catalogue, Keeping):
    """Runs workflows durably inside an asyncio program.

    `location` is the path of an SQLite file (made where there is none), `:memory:`, or a
    `postgresql://` URL (with the extra `perdure[postgres]`; `?schema=` names its schema). `workflows`
    are published and their functions registered before anything is taken up; `agents` perform the
    steps of workflows written in YAML. With `recover` every unfinished execution that can be
    performed here is taken up; those whose code is missing wait for it (`waiting_for_code`).

    `durability="power"` survives power loss, `"process"` survives `kill -9` but may lose the last
    acknowledged moments to power loss. `kind="client"` never runs a step.

    Where several processes share the store, one that is stopped, or whose event loop is blocked, for
    `lease_s` loses its executions to the others; when it comes back it goes on as a new runner. A step
    that took its process down `crash_budget` times, the last time with nothing else in flight, fails;
    where processes are killed from outside as a matter of course, choose a large one.

    What ended longer ago than `retention` is pruned while it recovers; `None` or `"off"` keeps it.
    With `keys` (a `Keyring`, `"file:PATH"` or `"env:NAME"`) payloads are encrypted. `webhooks` are told of
    the executions of all workflows, besides those that a workflow declares.
    """

    def __init__(
        self,
        location: str | Path = "perdure.db",
        *,
        workflows: Iterable[Workflow] = (),
        agents: Agents | None = None,
        durability: str = "power",
        keys: Keys | str | None = None,
        kind: str = "embedded",
        recover: bool = True,
        max_active: int = MAX_ACTIVE,
        max_active_steps: int = MAX_ACTIVE_STEPS,
        lease_s: float = LEASE_MS / 1000,
        crash_budget: int = CRASH_BUDGET,
        retention: str | timedelta | None = RETENTION,
        webhooks: Iterable[Mapping[str, Any]] = (),
        on_step_start: StepCallback | None = None,
        on_step_complete: StepCallback | None = None,
        store: Store | None = None,
        seams: Seams | None = None,
    ) -> None:
        """Nothing happens before the `async with`."""
        where = arguments.place(location, what="location")
        self.store: Store = _own(store, keys) or store_at(
            where, durability=durability, client=kind == "client", keys=keys_of(keys)
        )
        self.agents = Agents() if agents is None else _agents(agents)
        self.bus = Bus()
        self.seams = seams or system_seams()
        self._blueprint = Blueprint(
            store=self.store,
            seams=self.seams,
            bus=self.bus,
            agents=self.agents,
            workflows=_workflows(workflows),
            kind=arguments.kind(kind),
            recovers=recover and kind != "client",
            max_active=arguments.at_least_one(max_active, what="max_active"),
            max_active_steps=arguments.at_least_one(max_active_steps, what="max_active_steps"),
            lease_ms=arguments.lease_ms(lease_s),
            crash_budget=arguments.at_least_one(crash_budget, what="crash_budget"),
            webhooks=read_webhooks(webhooks),
            on_step_start=arguments.callback(on_step_start, what="on_step_start"),
            on_step_complete=arguments.callback(on_step_complete, what="on_step_complete"),
        )
        self._keep_ms = retention_ms(retention)
        self._stack: AsyncExitStack | None = None
        self._cancellations = 0  # asked of the task that opens it, by then
        self.machine: Machine

    @classmethod
    def configured(
        cls, *, workflows: Iterable[Workflow] = (), agents: Agents | None = None, **given: Any
    ) -> Self:
        """A runtime set up by `PERDURE_*` and `perdure.toml` in the current folder; what is `given` wins.

        `given` are settings of `runtime.config` (db, durability, agents as text, max_active, …);
        `perdure config` prints what is in force and why. Raises ConfigError.
        """
        settings = resolve(given).settings
        if agents is None and settings.agents is not None:
            agents = load_agents(settings.agents)
        return cls(
            settings.db,
            workflows=workflows,
            agents=agents,
            durability=settings.durability,
            max_active=settings.max_active,
            max_active_steps=settings.max_active_steps,
            lease_s=settings.lease_s,
            crash_budget=settings.crash_budget,
            retention=settings.retention,
            keys=settings.keys,
            webhooks=settings.webhooks,
        )

    async def __aenter__(self) -> Self:
        """Open the store and take up what was left unfinished.

        Raises RuntimeClosed when it is open, StoreError, MigrationError or DefinitionError when it cannot be.
        """
        if self._stack is not None:
            raise RuntimeClosed("this runtime is open already: make another one")
        self._cancellations = this_task().cancelling()
        try:
            async with AsyncExitStack() as stack:
                await self._open(stack)
                self._stack = stack.pop_all()
        except BaseExceptionGroup as group:  # of the task groups that were open by then
            raise unwrapped(group) from None
        return self

    async def _open(self, stack: AsyncExitStack) -> None:
        self.machine = await stack.enter_async_context(assemble(self._blueprint))
        self._keeper = await stack.enter_async_context(kept(self, is_keeping=self._blueprint.recovers))
        upkeep = upkeep_of(self, keep_ms=self._keep_ms, is_keeping=self._blueprint.recovers)
        self._upkeep = await stack.enter_async_context(upkeep)
        await stack.enter_async_context(couriered(self, delivers=self._blueprint.performs))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Interrupt what runs, give everything up, close the store. Raises RuntimeError in another task."""
        if self._stack is not None:
            check_leaving(self.machine.task)
            stack, self._stack = self._stack, None
            await leave(stack, error, cancellations=self._cancellations)

    @property
    def webhooks(self) -> Webhooks:
        """The calls of webhooks: list them, repeat one."""
        self.check_open()
        return Webhooks(self)

    @property
    def schedules(self) -> Schedules:
        """What starts by itself: add, list, pause, trigger and remove schedules."""
        self.check_open()
        return Schedules(self)

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
        timeout: Duration | None = None,
        agents_from: str | None = None,
        detach: bool = False,
    ) -> Execution:
        """Start an execution; when this returns it is durable.

        `context` holds the inputs, JSON values; declared defaults are filled in. An `id` that exists
        already joins that execution, if it is one of this workflow, and starts nothing. `timeout` (seconds)
        overrides the workflow's. Where `max_active` executions are hot the new one queues by `priority`
        (higher first). `detach` leaves it to another runner.

        Raises DefinitionError, InputError (inputs are missing or not as declared), UnknownAgent, NotFound,
        NotSerializable, PayloadTooLarge, InvalidId, IdTaken, InvalidArgument.
        """
        self.check_open()
        timeout_ms = arguments.milliseconds(timeout, what="timeout")
        arguments.priority(priority)
        arguments.text(triggered_by, what="triggered_by")
        arguments.text(parent_id, what="parent_id")
        revision = await self._revision(workflow)
        new = NewExecution(
            id=self.seams.new_id() if id is None else arguments.any_text(id, what="id"),
            plan=revision.plan,
            context=arguments.plain_values({} if context is None else context, "the context"),
            trace_id=trace_of(trace_id, new_id=self.seams.new_id),
            priority=priority,
            triggered_by=triggered_by,
            parent_id=parent_id,
            agents=agents_from,
            timeout_ms=timeout_ms,
            is_detached=detach,
        )
        return await self.begin(revision, new)

    async def begin(self, revision: Revision, new: NewExecution) -> Execution:
        """Check the context of an execution that is to be started, and start it: what `start` ends with."""
        context = filled(revision.definition.inputs, new.context)
        missing = () if new.is_detached else revision.plan.missing
        if EXTRA in missing:
            raise ConditionsNotInstalled
        revision.contexts.check(context, self.agents, missing=missing)
        is_left = new.is_detached or not self._blueprint.performs
        ready = msgspec.structs.replace(new, context=context, is_detached=is_left)
        if not await self.machine.executions.start(ready):
            await self._refuse_another(ready, revision.definition.name)
        if new.is_detached:
            await self.ring_workers()
        return Execution(self, new.id)

    async def _refuse_another(self, new: NewExecution, workflow: str) -> None:
        """Somebody has this id: it is joined if it is the same workflow's, and a fork of the same source."""
        there = await self.store.execution(new.id)
        if there is None:
            return  # deleted since
        if there.workflow != workflow:
            raise IdTaken(
                new.id, is_one=f"of workflow {there.workflow!r}", wanted=f"of workflow {workflow!r}"
            )
        if new.past is not None and there.triggered_by != new.triggered_by:
            wanted = f"forked from {new.past.fork.source_id}"
            raise IdTaken(new.id, is_one="that began otherwise", wanted=wanted)

    async def execution(self, execution_id: str) -> Execution:
        """The handle of an execution that exists. Raises NotFound."""
        self.check_open()
        if await self.store.execution(execution_id) is None:
            raise NotFound("execution", execution_id)
        return Execution(self, execution_id)

    async def find(self, text: str) -> str:
        """The one id that begins with `text`; `@last` is the newest, `NAME@last` a workflow's newest.

        Raises NotFound where none or several do, InvalidArgument for an empty text.
        """
        self.check_open()
        return await find(self.store, text)

    async def delete(self, execution_id: str) -> None:
        """Delete a terminal execution and its log. Raises NotFound, IllegalTransition."""
        self.check_open()
        await self.machine.services.writer.write(DeleteExecution(execution_id=execution_id))

    async def events(self, *, after: int = 0, limit: int = 1_000) -> list[Event]:
        """The log of all executions after that event id, oldest first."""
        self.check_open()
        return await self.store.events(after=after, limit=arguments.at_least_one(limit, what="limit"))

    async def list(
        self,
        *,
        status: Status | str | None = None,
        workflow: str | None = None,
        since: datetime | None = None,
        parent: str | None = None,
        limit: int = 50,
        after: str | None = None,
    ) -> list[ExecutionSummary]:
        """A page of executions, newest first; the last id of a page is the next page's `after`.

        `parent`: only those that were started as children of it.
        """
        self.check_open()
        wanted = None if status is None else status_named(status)
        began, most = arguments.since(since), arguments.at_least_one(limit, what="limit")
        return await self.store.executions(
            status=wanted, workflow=workflow, since=began, parent=parent, limit=most, after=after
        )

    @property
    def waiting_for_code(self) -> Mapping[str, tuple[str, ...]]:
        """Unfinished executions that cannot be performed here, and what each of them misses."""
        self.check_open()
        return self.machine.recovery.waiting_for_code

    async def has_worker(self) -> bool:
        """Whether another living process takes up work from this store by itself."""
        self.check_open()
        return any(runner.kind in WORKERS for runner in await self.machine.membership.living())

    async def ring_workers(self) -> None:
        """Tell such processes, and this one, that there may be work."""
        self.check_open()
        self._keeper.ask()
        await self.machine.membership.ring_workers()

    async def serve(self) -> None:
        """Run until cancelled: what a worker does."""
        self.check_open()
        await anyio.sleep_forever()

    def check_open(self) -> None:
        """Raise RuntimeClosed outside the `async with`, and in another event loop than its own."""
        check_home(None if self._stack is None else self.machine.task)

    async def _publish(self, workflow: Workflow) -> Revision:
        self.check_open()
        revision = await self.machine.plans.publish(_workflow(workflow), at_ms=self.machine.services.now_ms())
        if self.machine.recovery.waiting_for_code:
            self.machine.recovery.ask()
        if self.machine.plans.has_declared():
            await self.ring_workers()
        return revision

    async def _revision(self, workflow: Workflow | str) -> Revision:
        if isinstance(workflow, str):
            return await self.machine.plans.active(workflow)
        return await self._publish(workflow)


def _own(store: Store | None, keys: Any) -> Store | None:
    """Return it. Raises InvalidArgument for keys beside it: nothing would be encrypted with them."""
    if store is not None and keys is not None:
        raise arguments.InvalidArgument("keys: a store of your own encrypts by itself: give them to it")
    return store


def _agents(given: Any) -> Agents:
    """Return them. Raises InvalidArgument for anything else."""
    if not isinstance(given, Agents):
        raise arguments.InvalidArgument(f"agents is of type {type(given).__name__}: give an Agents registry")
    return given


def _workflows(given: Any) -> tuple[Workflow, ...]:
    """Return them. Raises InvalidArgument for anything else, as a single one."""
    if isinstance(given, Workflow | str) or not isinstance(given, Iterable):
        raise arguments.InvalidArgument(f"workflows is {given!r:.60}: give a list of workflows")
    return tuple(map(_workflow, given))


def _workflow(given: Any) -> Workflow:
    """Return it. Raises InvalidArgument for anything else."""
    if not isinstance(given, Workflow):
        raise arguments.InvalidArgument(
            f"{given!r:.60} is no workflow: give a Workflow, or the name of one that is published"
        )
    return given
