"""The dynamic supervisor of all executions that are hot in this process, and the way to any other.

A message to an execution finds its actor if there is one. If there is none the execution is a row:
either another runner's, then the message goes through the durable inbox and a bell is rung, or
nobody's, then an actor is started here, which claims it first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Final

import msgspec

from perdure.actors import planner
from perdure.actors.elsewhere import Elsewhere
from perdure.actors.errors import RuntimeClosed
from perdure.actors.execution import ExecutionActor
from perdure.actors.inbox import posted
from perdure.actors.incidents import classify
from perdure.actors.kernel import (
    ActorRestarted,
    ActorStopped,
    ChildSpec,
    Down,
    Reason,
    Ref,
    Supervisor,
)
from perdure.actors.log import get_logger
from perdure.actors.membership import Membership
from perdure.actors.messages import (
    COMMAND_WORDS,
    CONTROL,
    Answer,
    AnyCommand,
    LeaseDoubted,
    Query,
    Restore,
    Retry,
)
from perdure.actors.publishing import publish
from perdure.actors.reading import read_back
from perdure.actors.services import Services
from perdure.actors.starting import NewExecution, Starting, first_write, has_started, start_write
from perdure.actors.state import ExecutionState
from perdure.actors.turn import Asker, Order, Turn
from perdure.store.errors import (
    Conflict,
    IllegalTransition,
    NotFound,
    OutcomeUnknown,
    PerdureError,
    StoreError,
)
from perdure.store.protocol import Answer as Written
from perdure.store.records import Runner
from perdure.store.states import TERMINAL, State
from perdure.store.writes import Start, Started

ROUTE_TRIES: Final = 20  # an execution may park, or change hands, just as a message is on its way
SHUTDOWN_S: Final = 10.0  # bodies have this long to unwind before their actor is cancelled

log = get_logger("perdure.executions")


class _Slot:
    """What outlives the incarnations of one execution's actor: its waiters, and the live one."""

    __slots__ = ("actor", "handed", "prepared", "waiters")

    def __init__(self, prepared: tuple[ExecutionState, list[Order]] | None) -> None:
        self.actor: ExecutionActor | None = None
        self.prepared = prepared
        self.waiters: list[Asker] = []
        self.handed: set[int] = set()  # inbox messages that are in its mailbox, or were

    def incarnate(self, services: Services, execution_id: str) -> ExecutionActor:
        """The next incarnation; only the first finds a state prepared."""
        prepared, self.prepared = self.prepared, None
        self.actor = ExecutionActor(
            services, execution_id, waiters=self.waiters, handed=self.handed, prepared=prepared
        )
        return self.actor

    @property
    def is_left_to_others(self) -> bool:
        """Whether the execution could go on, in a process that has what it needs."""
        state = None if self.actor is None else self.actor.state
        return state is not None and state.state is State.SCHEDULING and not state.plan.is_performable


class Executions:
    """Starts, finds and asks executions. `on_room` is called when one has ended or parked here."""

    def __init__(
        self,
        services: Services,
        supervisor: Supervisor,
        membership: Membership,
        *,
        max_active: int,
        on_room: Callable[[], None],
        on_left: Callable[[], None],
        on_lost: Callable[[], None],
        on_quarantine: Callable[[str, BaseException | None], None],
        on_unsure: Callable[[str], None],
    ) -> None:
        """At most `max_active` executions are hot at a time; further ones queue in the store.

        `on_left` is called when one was given up that has something to do which cannot be done here,
        `on_lost` when another runner has taken one over, `on_quarantine` with one whose actor is not
        to be restarted any more, `on_unsure` with one of which it cannot be told whether its start is
        durable: if it is, it has to be taken up.
        """
        self._services = services
        self._supervisor = supervisor
        self._membership = membership
        self._elsewhere = Elsewhere(services, membership, on_orphan=self.take_up)
        self._max_active = max_active
        self._on_room = on_room
        self._on_left = on_left
        self._on_lost = on_lost
        self._on_quarantine = on_quarantine
        self._on_unsure = on_unsure
        self._slots: dict[str, _Slot] = {}
        self._set_aside: set[str] = set()
        self._is_closed = False
        self._is_held = False
        self._starting = Starting()

    @property
    def has_room(self) -> bool:
        """Whether another execution may become hot."""
        active = len(self._slots) + len(self._starting)
        return active < self._max_active and not self._is_closed and not self._is_held

    @property
    def is_idle(self) -> bool:
        """Whether no execution is hot here."""
        return not self._slots

    @property
    def owns_any(self) -> bool:
        """Whether this runner owns executions: hot ones, or such as it has set aside."""
        return bool(self._slots or self._set_aside)

    def doubt(self) -> int:
        """Let every actor look whether the execution is still its own; tells how many there are."""
        self._set_aside.clear()
        for ref in self._supervisor:
            with suppress(ActorStopped):
                ref.post(LeaseDoubted(), control=True)
        return len(self._slots)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let nothing new become hot: whatever is started meanwhile queues in the store."""
        self._is_held = True
        try:
            yield
        finally:
            self._is_held = False

    def is_hot(self, execution_id: str) -> bool:
        """Whether the execution has an actor here."""
        return execution_id in self._slots

    def live_state(self, execution_id: str) -> ExecutionState | None:
        """What its actor knows of a hot execution; may be one uncommitted turn ahead. For looking only."""
        slot = self._slots.get(execution_id)
        if slot is None:
            return None
        if slot.prepared is not None:
            return slot.prepared[0]
        return None if slot.actor is None else slot.actor.state

    def close(self) -> None:
        """Take nothing new; the supervisor stops what is hot."""
        self._is_closed = True

    # ---- starting ----------------------------------------------------------------------------

    async def start(self, new: NewExecution) -> bool:
        """Make a new execution durable and set it going; False when the id exists and was joined."""
        self._check_open()
        if new.is_detached or not self.has_room:
            return await self._enqueue(new)
        state = ExecutionState(new.plan, execution_id=new.id, trace_id=new.trace_id, context=new.context)
        if new.timeout_ms is not None:
            state.timeout_ms = new.timeout_ms
        turn = Turn(state, now=self._services.now_ms())
        planner.begin(turn)
        planner.proceed(turn)
        start = first_write(new, turn)
        if planner.may_park(turn, linger_ms=self._services.linger_ms, is_closing=False):
            return await self._submit(start, state, turn, runner_no=None)
        runner_no = self._membership.no
        try:
            return await self._submit(start, state, turn, runner_no=runner_no)
        except NotFound as error:
            if error.kind != "runner":
                raise
            await self._membership.rejoin(runner_no)
            return await self._submit(start, state, turn, runner_no=self._membership.no)

    async def _submit(
        self, start: Start, state: ExecutionState, turn: Turn, *, runner_no: int | None
    ) -> bool:
        """Start it in this runner's name, or in nobody's if it only waits; False when it was joined."""
        turn.releases = runner_no is None
        written = self._services.writer.submit(msgspec.structs.replace(start, runner_no=runner_no))
        written.add_done_callback(lambda done: self._begin(state, turn, done))
        self._starting.add(state.id, written)
        return await has_started(written)

    def _begin(self, state: ExecutionState, turn: Turn, written: asyncio.Future[Written]) -> None:
        """The start is durable: set it going, even if whoever asked for it no longer waits."""
        error = None if written.cancelled() else written.exception()
        if isinstance(error, OutcomeUnknown):
            self._on_unsure(state.id)
        if written.cancelled() or error is not None:
            return
        started = written.result()
        if not isinstance(started, Started) or started.joined or self._is_closed:
            return
        state.no = started.execution_no
        state.version = 1
        publish(self._services, state, turn, version=1, first_event_id=started.first_event_id)
        if turn.releases:
            self._on_room()
        else:
            self._spawn(state.id, prepared=(state, turn.orders))

    async def _enqueue(self, new: NewExecution) -> bool:
        """Make it durable, owned by nobody, for whoever has room."""
        start = start_write(new, State.IDLE, at=self._services.now_ms())
        is_new = await has_started(self._services.writer.submit(start))
        self._on_room()
        return is_new

    def take_up(self, execution_id: str) -> None:
        """Start an actor for an execution nobody owns, unless it has one; it claims it first."""
        if not (self._is_closed or execution_id in self._slots or execution_id in self._starting):
            self._spawn(execution_id)

    def _spawn(
        self, execution_id: str, *, prepared: tuple[ExecutionState, list[Order]] | None = None
    ) -> Ref[Any]:
        slot = _Slot(prepared)
        self._slots[execution_id] = slot
        self._set_aside.discard(execution_id)
        factory = partial(slot.incarnate, self._services, execution_id)
        spec = ChildSpec(name=execution_id, factory=factory, shutdown_s=SHUTDOWN_S, classify=classify)
        ref = self._supervisor.start(spec)
        ref.watch(self._forget)
        return ref

    def _forget(self, down: Down) -> None:
        slot = self._slots.pop(down.name, None)
        self._services.bus.publish_leave(down.name)
        if down.reason is Reason.QUARANTINED:
            self._set_aside.add(down.name)
            self._on_quarantine(down.name, down.error)
        if self._is_closed:
            return
        if down.reason is Reason.LOST:
            self._on_lost()
        self._on_room()
        if slot is not None and slot.is_left_to_others:
            self._on_left()

    # ---- asking ------------------------------------------------------------------------------

    async def ask(self, execution_id: str, command: AnyCommand) -> Answer:
        """Send a command to wherever the execution is, and wait for what became of it.

        One that was applied before is answered with where the execution stands by now, also where it
        would be refused: who asks again has not heard the first answer. Raises StoreUnavailable while
        the store is down, OutcomeUnknown when it goes down, and stays so, with the command on its way.
        """
        writer = self._services.writer
        await writer.reach()
        try:
            with writer.outage.bounded(OutcomeUnknown, _unsure(execution_id, command)):
                return await self._route(execution_id, command)
        except (IllegalTransition, Conflict):
            version = await self._services.store.applied(execution_id, command.id)
            execution = None if version is None else await self._services.store.execution(execution_id)
            if version is None or execution is None:
                raise
            return Answer(execution.state, version)

    async def _route(self, execution_id: str, command: AnyCommand) -> Answer:
        for _ in range(ROUTE_TRIES):
            self._check_open()
            ref = self._supervisor.find(execution_id)
            if ref is None:
                owner = await self._find_owner(execution_id, command)
                if owner is not None:
                    return await self._elsewhere.ask(execution_id, command, owner)
                if self.is_hot(execution_id) or await self._starting.wait(execution_id):
                    continue
                ref = self._spawn(execution_id)
            try:
                answer = await ref.ask(command, timeout=None, control=isinstance(command, CONTROL))
            except ActorStopped:
                if ref.down is not None and ref.down.reason is Reason.QUARANTINED:
                    raise StoreError(
                        f"execution {execution_id} keeps crashing its actor: {ref.down.error!r}"
                    ) from ref.down.error
                continue
            except ActorRestarted:
                continue  # the command was applied, or was not: its id tells the next incarnation
            assert isinstance(answer, Answer)
            return answer
        raise StoreError(f"execution {execution_id} changes hands too fast to {_word(command)} it: try again")

    async def query(self, execution_id: str) -> dict[str, Any]:
        """Describe the execution as it is, from its actor if it has one here, else from the store."""
        ref = self._supervisor.find(execution_id)
        if ref is not None:
            try:
                described: dict[str, Any] = await ref.ask(Query(), timeout=None)
            except (ActorStopped, ActorRestarted):
                pass  # it has just parked: the store knows
            else:
                return described
        loaded = await self._services.store.load(execution_id)
        if loaded is None:
            raise NotFound("execution", execution_id)
        plan = await self._services.plans.plan(loaded.execution.workflow_no)
        return ExecutionState.fold(plan, loaded).describe()

    async def owner_elsewhere(self, execution_id: str) -> Runner | None:
        """The living runner in another process that has the execution, if any."""
        if self.is_hot(execution_id):
            return None
        execution = await self._services.store.execution(execution_id)
        return None if execution is None else await self._elsewhere.owner(execution)

    async def ring(self, execution_id: str) -> None:
        """The inbox of an execution has mail: hand it to its actor, starting one where there is none.

        While the store is down it waits: mail is never lost, whoever carries it.
        """
        try:
            loaded = await read_back(self._services, lambda store: store.load(execution_id))
        except PerdureError as error:
            log.warning("ring_unheard", execution_id=execution_id, error=str(error))
            return
        if loaded is None:
            return
        await self._starting.wait(execution_id)
        ref = self._supervisor.find(execution_id)
        if ref is None:
            if loaded.execution.runner in (None, self._membership.id):
                self.take_up(execution_id)
            return
        handed = self._slots[execution_id].handed
        for message in loaded.inbox:
            if message.applied_version is None and message.no not in handed:
                handed.add(message.no)
                ref.post(posted(message), control=True)

    async def _find_owner(self, execution_id: str, command: AnyCommand) -> Runner | None:
        """The living runner elsewhere that has the execution; None when it may be claimed here."""
        execution = await self._services.store.execution(execution_id)
        if execution is None:
            raise NotFound("execution", execution_id)
        if execution.state in TERMINAL and not isinstance(command, Retry | Restore):
            expected = command.expected_version
            if expected is not None and expected != execution.version:
                raise Conflict(execution_id, expected=expected, current=execution.version)
            raise IllegalTransition(
                execution_id,
                state=execution.state.value,
                command=_word(command),
                version=execution.version,
                hint="it has ended",
            )
        return await self._elsewhere.owner(execution)

    def _check_open(self) -> None:
        if self._is_closed:
            raise RuntimeClosed("the runtime is closed: start a new one on the same store to go on")


def _word(command: AnyCommand) -> str:
    return COMMAND_WORDS[type(command)]


def _unsure(execution_id: str, command: AnyCommand) -> str:
    return (
        f"the {_word(command)} of execution {execution_id} may be applied once the store is back; "
        f"to learn what became of it, give it again under its id {command.id}"
    )
