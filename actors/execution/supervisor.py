"""The dynamic supervisor of all executions that are hot in this process: starts, takes up, forgets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Final

from perdure.actors.cluster.membership import Membership
from perdure.actors.decider import planner
from perdure.actors.decider.kinds import children
from perdure.actors.effects.orders import Ring, UndoChild
from perdure.actors.effects.turn import Turn
from perdure.actors.errors import RuntimeClosed
from perdure.actors.execution.cold import Cold
from perdure.actors.execution.incidents import classify
from perdure.actors.execution.publishing import publish
from perdure.actors.execution.relatives import Relatives
from perdure.actors.execution.services import Services
from perdure.actors.execution.slot import Prepared, Slot, is_left_to_others
from perdure.actors.execution.starting import (
    START_FIELDS,
    NewExecution,
    Starting,
    first_write,
    has_started,
    opened,
    place_of,
    queued_write,
)
from perdure.actors.kernel import (
    ActorStopped,
    ChildSpec,
    Down,
    Reason,
    Ref,
    Supervisor,
)
from perdure.actors.log import get_logger
from perdure.actors.messages import LeaseDoubted, Nudge
from perdure.actors.state.execution import ExecutionState
from perdure.store.errors import OutcomeUnknown
from perdure.store.protocol import Answer as Written
from perdure.store.states import TERMINAL
from perdure.store.writes import Place, Started

SHUTDOWN_S: Final = 10.0  # bodies have this long to unwind before their actor is cancelled

log = get_logger("perdure.executions")


class Executions:
    """Starts executions and keeps those that are hot."""

    def __init__(
        self,
        services: Services,
        supervisor: Supervisor,
        membership: Membership,
        *,
        max_active: int,
        on_room: Callable[[], None],
        on_free: Callable[[], None],
        on_queued: Callable[[str, str], None],
        on_left: Callable[[], None],
        on_lost: Callable[[], None],
        on_quarantine: Callable[[str, BaseException | None], None],
        on_unsure: Callable[[str], None],
        on_mail: Callable[[str], None],
        on_undo: Callable[[str, UndoChild], None],
    ) -> None:
        """At most `max_active` executions are hot at a time; further ones queue in the store.

        `on_room` is called when something in the store may be there to take up, `on_free` when one has
        ended, or has not become hot after all: there is room again, here and perhaps in its queue.
        `on_queued` is called with one that has to wait for such a slot, and the queue's name.

        `on_left` is called when one was given up that has something to do which cannot be done here,
        `on_lost` when another runner has taken one over, `on_quarantine` with one whose actor is not
        to be restarted any more, `on_unsure` with one of which it cannot be told whether it is ours and
        has to be taken up; `on_mail` with one for which a message was left, or may have been,
        `on_undo` with one whose child is to be rolled back.
        """
        self._services = services
        self._supervisor = supervisor
        self._membership = membership
        self.max_active = max_active
        self._on_room = on_room
        self._on_free = on_free
        self._on_queued = on_queued
        self._on_left = on_left
        self._on_lost = on_lost
        self._on_quarantine = on_quarantine
        self._on_unsure = on_unsure
        self._relatives = Relatives(services, start=self.start, ring=on_mail, undo=on_undo)
        self.cold = Cold()
        self._slots: dict[str, Slot] = {}
        self._set_aside: set[str] = set()
        self._is_closed = False
        self._is_held = False
        self._starting = Starting(on_answered=self._give_room_back)

    @property
    def has_room(self) -> bool:
        """Whether another execution may become hot."""
        return self.room > 0

    @property
    def room(self) -> int:
        """How many executions may become hot besides those that are."""
        if self._is_closed or self._is_held:
            return 0
        return max(0, self.max_active - len(self._slots) - len(self._starting))

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

    async def start(self, new: NewExecution) -> bool:
        """Make a new execution durable and set it going; False when the id exists and was joined."""
        self.check_open()
        is_owed = new.parent_step is not None and self._services.linger_ms is None  # nobody here sweeps
        place = place_of(new)
        if place is not None or new.is_detached or not (self.has_room or is_owed):
            return await self._enqueue(new, place)
        turn = opened(new, at=self._services.now_ms(), workload=self._services.workload)
        planner.begin(turn)
        planner.proceed(turn)
        if not turn.fields.keys() <= START_FIELDS:
            return await self._enqueue(new)  # whoever takes it up comes to the same, in a change
        children.tell(turn)
        if planner.may_park(turn, linger_ms=self._services.linger_ms, is_closing=False):
            return await self._submit(new, turn, None)
        return await self._membership.as_listed(partial(self._submit, new, turn))

    async def _submit(self, new: NewExecution, turn: Turn, runner_no: int | None) -> bool:
        """Start it in this runner's name, or in nobody's if it only waits; False when it was joined."""
        turn.releases = runner_no is None
        written = self._services.writer.submit(first_write(new, turn, runner_no=runner_no))
        written.add_done_callback(lambda done: self._begin(turn.state, turn, done))
        self._starting.add(new.id, written)
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
            self._on_room()  # it leaves the one it joined to a sweep, which may just have passed that by
            return
        state.no = started.execution_no
        state.version = 1
        publish(self._services, state, turn, version=1, first_event_id=started.first_event_id)
        if turn.releases:
            for order in turn.orders:
                if isinstance(order, Ring):
                    self._relatives.ring(order.execution_id)
            state.epoch = 0
            self.cold.keep(state)
            self._on_room()
        else:
            self.spawn(state.id, prepared=(state, turn.orders))

    async def _enqueue(self, new: NewExecution, place: Place | None = None) -> bool:
        """Make it durable, owned by nobody, for whoever has room; with a place it first waits for a slot."""
        written = self._services.writer.submit(queued_write(new, at=self._services.now_ms(), place=place))
        written.add_done_callback(lambda done: self._has_queued(new, place, done))
        return await has_started(written)

    def _has_queued(self, new: NewExecution, place: Place | None, written: asyncio.Future[Written]) -> None:
        """It is durable: let it be found, even if whoever asked for it no longer waits."""
        if written.cancelled() or written.exception() is not None:
            return
        if not isinstance(written.result(), Started):
            return
        if place is not None:
            self._on_queued(new.id, place.queue)
        self._on_room()
        if not new.plan.is_performable:
            self._on_left()

    def take_up(self, execution_id: str, *, epoch: int | None = None) -> None:
        """Start an actor for an execution, unless it has one; it claims it first, or has it since `epoch`.

        A start or a move on its way may set it going, unless it has been claimed: then they come too late.
        """
        has_actor = execution_id in self._slots if epoch is not None else self.is_ours(execution_id)
        if not (self._is_closed or has_actor):
            self.spawn(execution_id, epoch=epoch)

    def nudge(self, execution_id: str, message: Nudge) -> None:
        """Tell an execution that a step of it which was held may go on; one that is cold is taken up."""
        if self.has_room or self.is_hot(execution_id):
            self.take_up(execution_id)
        ref = self._supervisor.find(execution_id)
        if ref is not None:
            with suppress(ActorStopped):
                ref.post(message)

    def is_ours(self, execution_id: str) -> bool:
        """Whether the execution has an actor here, or is about to."""
        return execution_id in self._slots or execution_id in self._starting

    def is_set_aside(self, execution_id: str) -> bool:
        """Whether it kept crashing its actor here, and is performed no more until somebody asks for it."""
        return execution_id in self._set_aside

    def find(self, execution_id: str) -> Ref[Any] | None:
        """The actor of a hot execution."""
        return self._supervisor.find(execution_id)

    async def wait_for_start(self, execution_id: str) -> bool:
        """Wait for what becomes of a start that is on its way to the store; False if there is none."""
        return await self._starting.wait(execution_id)

    def note_move(self, execution_id: str, written: asyncio.Future[Written]) -> None:
        """Let others wait for a write that moves an execution nobody owns."""
        self._starting.add(execution_id, written)

    def _give_room_back(self, execution_id: str) -> None:
        """One that counted as about to be hot is answered: where it is not, somebody may have had to wait."""
        if self.room == 1 and not self.is_hot(execution_id):  # there was none before
            self._on_free()

    def go_on(self, turn: Turn) -> None:
        """An execution that nobody owned has been moved in this runner's name: it goes on from there."""
        if not self._is_closed:
            self.spawn(turn.state.id, prepared=(turn.state, turn.orders))
            self._relatives.ring(turn.state.id)  # nobody has looked into its inbox

    def leave_cold(self, state: ExecutionState, *, has_news: bool) -> None:
        """An execution that nobody owned has moved, and nobody owns it still.

        `has_news`: there may be something to do at a moment of which no sweep has heard.
        """
        self.cold.keep(state)
        if has_news:
            self._on_room()
        if is_left_to_others(state):
            self._on_left()

    def take_up_unsure(self, execution_id: str) -> None:
        """It cannot be told whether an execution has been moved in this runner's name."""
        self._on_unsure(execution_id)

    def hand_over(self, execution_id: str, message_no: int) -> bool:
        """Note that a message of the inbox goes into the actor's mailbox; False if it did before."""
        handed = self._slots[execution_id].handed
        if message_no in handed:
            return False
        handed.add(message_no)
        return True

    def spawn(
        self, execution_id: str, *, prepared: Prepared | None = None, epoch: int | None = None
    ) -> Ref[Any]:
        """Start the actor of an execution that has none; it claims it first, if it has to."""
        slot = Slot(prepared, epoch)
        self.cold.take(execution_id)
        self._slots[execution_id] = slot
        self._set_aside.discard(execution_id)
        factory = partial(slot.incarnate, self._services, self._relatives, execution_id)
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
        state = None if slot is None or slot.actor is None else slot.actor.state
        if state is not None and down.reason is Reason.FINISHED and state.state not in TERMINAL:
            self.cold.keep(state)
        if down.reason is Reason.LOST:
            self._on_lost()
        if state is not None and down.reason is Reason.FINISHED and state.state in TERMINAL:
            self._on_free()
        else:
            self._on_room()
        if state is not None and is_left_to_others(state):
            self._on_left()

    def check_open(self) -> None:
        """Raise RuntimeClosed when nothing new may begin here."""
        if self._is_closed:
            raise RuntimeClosed("the runtime is closed: start a new one on the same store to go on")
