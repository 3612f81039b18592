"""The mailbox: where messages wait for their actor.

Two lanes. The *normal* lane is bounded for those who can wait (`tell`) and never refuses those who
cannot (`post`: step results, timers). The *control* lane is read first, so that a pause does not
stand behind a thousand results.

What is guaranteed:

- Within a lane messages are read in the order in which they were put in. Control messages overtake
  normal ones, never each other.
- `take` is a peek. What was taken stays *in hand* until `ack`; when the actor crashes in between,
  `put_back` returns it to the front of its lane, in order. So a message is lost only by being
  acknowledged, and may be seen twice when a crash lies between.
- A message that was in hand at a crash is a *suspect* and is handed out alone from then on: an
  innocent neighbour from the same batch is cleared by its own success and never buried with the
  culprit. At `POISON_CRASHES` a suspect is a dead letter.
- A new incarnation may `discard` what only meant something to the one before.
- Once closed, the mailbox takes nothing in and everyone who waits at it is told.

One loop, one receiver; not for use from other threads.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, TypeVar

import anyio.lowlevel

from perdure.actors.kernel.envelope import POISON_CRASHES, Envelope, MailboxStatistics
from perdure.actors.kernel.errors import ActorStopped
from perdure.actors.kernel.hooks import faults
from perdure.actors.kernel.reply import Reply

MAILBOX_MAX: Final = 1_000  # ~1 MiB of envelopes; past it tell() waits inside a process
BATCH_MAX: Final = 64  # past it a bigger batch saves nothing and delays control messages
_OWED_MIN: Final = 64  # below this many, forgetting answered replies is not worth a pass

M = TypeVar("M")


class Mailbox(Generic[M]):
    """Two lanes, one receiver. Costs next to nothing until the first message."""

    __slots__ = (
        "_acked",
        "_control",
        "_hand",
        "_is_closed",
        "_limit",
        "_normal",
        "_owed",
        "_owed_max",
        "_senders",
        "_suspects",
        "_waiter",
        "name",
    )

    def __init__(self, *, limit: int = MAILBOX_MAX, name: str = "") -> None:
        """`limit` bounds the normal lane (what is in hand counts), `name` is the actor's, for errors."""
        assert limit > 0, "a mailbox without room could never receive"
        self.name = name
        self._limit = limit
        self._control: deque[Envelope[M]] | None = None  # an empty deque takes 760 bytes, None takes none
        self._normal: deque[Envelope[M]] | None = None
        self._hand: Sequence[Envelope[M]] = ()
        self._senders: deque[tuple[Envelope[M], asyncio.Future[None]]] | None = None
        self._owed: list[Reply] | None = None
        self._owed_max = _OWED_MIN
        self._waiter: asyncio.Future[None] | None = None
        self._suspects = 0
        self._acked = 0
        self._is_closed = False

    def __len__(self) -> int:
        """The number of messages waiting or in hand."""
        return len(self._control or ()) + len(self._normal or ()) + len(self._hand)

    def statistics(self) -> MailboxStatistics:
        """How full it is, now."""
        return MailboxStatistics(
            control=len(self._control or ()),
            normal=len(self._normal or ()),
            in_hand=len(self._hand),
            senders_waiting=len(self._senders or ()),
            limit=self._limit,
            acked=self._acked,
            is_closed=self._is_closed,
        )

    @property
    def has_room(self) -> bool:
        """Whether a normal message may come in now, with nobody waiting before it."""
        return not self._senders and len(self._normal or ()) + len(self._hand) < self._limit

    def post(self, message: M, *, control: bool = False, reply: Reply | None = None) -> None:
        """Put a message in at once; never waits and never refuses for want of room.

        For those who cannot wait: results, timers, control. Raises ActorStopped once closed.
        """
        if self._is_closed:
            raise ActorStopped(self.name)
        if faults.hit is not None:
            faults.hit("mailbox.post:before")
        self._append(Envelope(message=message, reply=reply, control=control))
        if faults.hit is not None:
            faults.hit("mailbox.post:after")

    async def tell(self, message: M, *, control: bool = False, reply: Reply | None = None) -> None:
        """Put a message in; on the normal lane wait for room, behind those who already wait.

        Cancelled while waiting, the message is not sent, unless it got its place in that very
        moment: to be sure, ask. Raises ActorStopped once closed.
        """
        if control or self.has_room or self._is_closed:
            self.post(message, control=control, reply=reply)
            return
        if self._senders is None:
            self._senders = deque()
        admitted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        sender = (Envelope(message=message, reply=reply), admitted)
        self._senders.append(sender)
        try:
            await admitted
        except asyncio.CancelledError:
            if self._senders and sender in self._senders:
                self._senders.remove(sender)
            raise

    async def wait(self) -> None:
        """Return when there is something to take. For the one receiver.

        Gives way to the rest of the loop at least once, so that a receiver with plenty of mail can
        be cancelled and starves nobody. Raises ActorStopped when the mailbox is closed.
        """
        if self._control or self._normal:
            await anyio.lowlevel.checkpoint()
        while not (self._control or self._normal):
            if self._is_closed:
                raise ActorStopped(self.name)
            assert self._waiter is None, "a mailbox has one receiver"
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    def take(self, limit: int = BATCH_MAX) -> list[Envelope[M]]:
        """Take up to `limit` messages in hand, control first; empty when there are none.

        They stay in hand until `ack` or `put_back`. A suspect comes alone, whatever the limit.
        """
        if faults.hit is not None:
            faults.hit("mailbox.take:before")
        batch: list[Envelope[M]] = []
        if self._suspects:
            self._take_carefully(batch, limit)
        else:
            if self._control:
                _move(self._control, batch, limit)
            if self._normal and len(batch) < limit:
                _move(self._normal, batch, limit)
        self._hand = [*self._hand, *batch] if self._hand else batch
        if faults.hit is not None:
            faults.hit("mailbox.take:after")
        return batch

    def ack(self) -> None:
        """What is in hand is done with; those who wait for room come in."""
        if faults.hit is not None:
            faults.hit("mailbox.ack:before")
        for envelope in self._hand:
            if envelope.reply is not None and envelope.reply.is_open:
                self._owe(envelope.reply)
        self._acked += len(self._hand)
        self._hand = ()
        if self._senders:
            self._admit()
        if faults.hit is not None:
            faults.hit("mailbox.ack:after")

    def put_back(self, *, blame: bool = True) -> list[Envelope[M]]:
        """Return what is in hand to the front of its lanes, in order, and count the crash.

        Gives back, instead of keeping them, those that reached POISON_CRASHES. With `blame=False`
        the crash is not the messages' fault and is not counted.
        """
        dead: list[Envelope[M]] = []
        for held in reversed(self._hand):
            envelope = held.blamed() if blame else held
            if envelope.crashes >= POISON_CRASHES:
                dead.append(envelope)
                continue
            self._lane(control=envelope.control).appendleft(envelope)
            self._suspects += envelope.crashes > 0
        self._hand = ()
        if self._senders:
            self._admit()
        dead.reverse()
        return dead

    def discard(self, is_stale: Callable[[M], bool]) -> None:
        """Drop what waits and means nothing to a new incarnation; for messages that nobody waits for."""
        for lane in (self._control, self._normal):
            stale = [envelope for envelope in lane or () if is_stale(envelope.message)]
            if lane and stale:
                kept = [envelope for envelope in lane if not is_stale(envelope.message)]
                lane.clear()
                lane.extend(kept)
                self._suspects -= sum(envelope.crashes > 0 for envelope in stale)
        if self._senders:
            self._admit()

    def abandoned(self, *, for_good: bool) -> list[Reply]:
        """Hand over the open replies of acknowledged messages that nobody is left to answer.

        With `for_good=False` a next incarnation follows: replies that were kept for it stay.
        """
        owed = [reply for reply in self._owed or () if reply.is_open]
        self._owed = [reply for reply in owed if reply.is_kept and not for_good]
        return [reply for reply in owed if for_good or not reply.is_kept]

    def close(self) -> list[Envelope[M]]:
        """Take nothing in any more; gives back what is left behind, what was in hand first."""
        self._is_closed = True
        left = [*self._hand, *(self._control or ()), *(self._normal or ())]
        self._hand, self._control, self._normal, self._suspects = (), None, None, 0
        for _, admitted in self._senders or ():
            if not admitted.done():
                admitted.set_exception(ActorStopped(self.name))
        self._senders = None
        self._wake()
        return left

    def _lane(self, *, control: bool) -> deque[Envelope[M]]:
        """The lane, made when it is first needed."""
        if control:
            if self._control is None:
                self._control = deque()
            return self._control
        if self._normal is None:
            self._normal = deque()
        return self._normal

    def _append(self, envelope: Envelope[M]) -> None:
        """Put an envelope at the end of its lane and wake the receiver."""
        lane = self._control if envelope.control else self._normal
        if lane is None:
            lane = self._lane(control=envelope.control)
        lane.append(envelope)
        if self._waiter is not None:
            self._wake()

    def _wake(self) -> None:
        """Let the receiver look again."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _admit(self) -> None:
        """Let in those who wait for room, in the order in which they came, as far as there is any."""
        assert self._senders is not None
        while self._senders and len(self._normal or ()) + len(self._hand) < self._limit:
            envelope, admitted = self._senders.popleft()
            if not admitted.done():
                self._append(envelope)
                admitted.set_result(None)

    def _take_carefully(self, batch: list[Envelope[M]], limit: int) -> None:
        """Fill the batch as `take` does, but stop before a suspect; a suspect in front goes alone."""
        for lane in (self._control, self._normal):
            while lane and len(batch) < limit:
                if not lane[0].crashes:
                    batch.append(lane.popleft())
                    continue
                if not batch:
                    self._suspects -= 1
                    batch.append(lane.popleft())
                return

    def _owe(self, reply: Reply) -> None:
        """Remember that an acknowledged message still has to be answered."""
        if self._owed is None:
            self._owed = []
        elif len(self._owed) >= self._owed_max:
            self._owed = [owed for owed in self._owed if owed.is_open]
            self._owed_max = max(_OWED_MIN, 2 * len(self._owed))
        self._owed.append(reply)


def _move(lane: deque[Envelope[Any]], batch: list[Envelope[Any]], limit: int) -> None:
    """Move as much of a lane to the batch as fits."""
    if len(lane) <= limit - len(batch):
        batch.extend(lane)
        lane.clear()
        return
    while len(batch) < limit:
        batch.append(lane.popleft())
