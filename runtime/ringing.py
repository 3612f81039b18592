"""What a ring of the bell leads to; the bell hangs before there is anything to lead to."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from perdure.actors.cluster.lease import Lease
from perdure.actors.dispatch.queueing import Admissions
from perdure.actors.dispatch.recovery import Recovery
from perdure.actors.dispatch.routing import Routing
from perdure.actors.effects.orders import UndoChild
from perdure.actors.helpers import Helpers
from perdure.actors.log import get_logger
from perdure.store.protocol import Audible, Store

log = get_logger("perdure.runtime")


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """Those whom a ring concerns, and those who tell them."""

    helpers: Helpers
    routing: Routing
    recovery: Recovery
    lease: Lease


class Rung:
    """Passes rings on to the parts of the machine while they are there; without them a ring is nothing."""

    def __init__(self) -> None:
        """Nobody is there yet."""
        self._parts: Parts | None = None
        self._admissions: Admissions | None = None
        self._listeners: list[Callable[[], None]] = []

    def connect(self, parts: Parts) -> None:
        """From now on those are there."""
        self._parts = parts

    def disconnect(self) -> None:
        """They are there no longer."""
        self._parts = None

    def admits(self, admissions: Admissions, helpers: Helpers) -> None:
        """Somebody admits what waits in queues: it is to hear of room and of work."""
        self._admissions = admissions
        self.listen(admissions.expect)
        helpers.keep(admissions.run, name="admissions")

    def listen(self, listener: Callable[[], None]) -> None:
        """Call it, too, when another process says that there is work."""
        self._listeners.append(listener)

    def hear(self, store: Store) -> None:
        """Hear of what other processes leave, where the store tells."""
        if isinstance(store, Audible):
            store.hear(on_mail=self.mail, on_work=self.work, on_doubt=self.doubt)
            if store.cannot_hear:
                log.warning("bell_not_heard", location=store.location, why=store.cannot_hear)

    def ring(self, execution_id: str) -> None:
        """An execution has mail, and it is for this process to take it up."""
        if self._parts is not None:
            self._parts.helpers.start_soon(self._parts.routing.ring, execution_id)

    def deliver(self, execution_id: str) -> None:
        """A message was left for an execution: whoever performs it is to hear of it."""
        if self._parts is not None:
            self._parts.helpers.start_soon(self._parts.routing.deliver, execution_id)

    def undo(self, parent_id: str, order: UndoChild) -> None:
        """The child of an execution is to be rolled back."""
        if self._parts is not None:
            self._parts.helpers.start_soon(self._parts.routing.roll_back, parent_id, order)

    def mail(self, execution_id: str) -> None:
        """Somebody tells everybody: it concerns whoever performs the execution."""
        if self._parts is not None and self._parts.routing.is_for_us(execution_id):
            self.ring(execution_id)

    def doubt(self) -> None:
        """Something may have been rung that nobody could hear."""
        if self._parts is not None:
            self._parts.helpers.start_soon(self._parts.recovery.look_for_mail)
            self._parts.recovery.ask()

    def work(self) -> None:
        """Another process has work for somebody, or has changed when work begins."""
        self.sweep()
        for listener in self._listeners:
            listener()

    def queued(self, execution_id: str, queue: str) -> None:
        """An execution begins to wait in a queue."""
        if self._admissions is not None:
            self._admissions.own(execution_id, queue)

    def sweep(self) -> None:
        """There may be room, or something to take up."""
        self.admit()
        if self._parts is not None:
            self._parts.recovery.ask()

    def free(self) -> None:
        """A place that an execution had is free: there is room here, and perhaps in its queue."""
        self.admit()
        if self._parts is not None:
            self._parts.recovery.room.use()

    def admit(self) -> None:
        """There may be room in a queue."""
        if self._admissions is not None:
            self._admissions.ask()

    def meet(self) -> None:
        """Somebody has joined: it is to hear this process, and its death is to be heard."""
        self.beat()
        if self._parts is not None:
            self._parts.recovery.ask()

    def beat(self) -> None:
        """An execution was lost, or somebody is there to hear it."""
        if self._parts is not None:
            self._parts.lease.wake()
