"""What one process knows of a guard: who was held there, the oldest first, and how its circuit stands."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Final

import anyio
import msgspec

from perdure.actors.attempt.circuit import CLOSED, Circuit
from perdure.actors.instructions.guard import Guard
from perdure.actors.messages import Nudge

HELD_MAX: Final = 10_000  # of one guard in this process that are told; past it their times tell them
GRACE_MS: Final = 5_000  # how late one that was held may ask again before it is thought to be gone


class Refused(Exception):
    """A step was not let through and is to ask again at `until` (ms)."""

    def __init__(self, why: str, *, agent: str, until: int) -> None:
        """`why` is `concurrency`, `rate` or `circuit`."""
        super().__init__(why)
        self.why = why
        self.agent = agent
        self.until = until


class Pass(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt at a guard: who it is, and how it is told when it was held."""

    guard: Guard
    holder: str
    execution_id: str
    nudge: Nudge


class Held(msgspec.Struct, frozen=True):
    """One that was held by slots or a rate: since when it has been asking, and when it asks again."""

    entry: Pass
    asked_at: int
    until: int


class Here:
    """What this process knows of one guard: who asks the store now, who was held, how the circuit stands."""

    __slots__ = (
        "_ages",
        "_held",
        "_told",
        "asked_at",
        "circuit",
        "has_passed_by",
        "held_by_circuit",
        "inside",
        "read_at",
        "room",
        "shut_until",
        "slots",
        "turnstile",
        "version",
    )

    def __init__(self) -> None:
        self.circuit: Circuit = CLOSED
        self.version = 0
        self.read_at: int | None = None
        self.turnstile = anyio.Lock()  # first come, first served
        self.room = anyio.Event()
        self.has_passed_by = False  # somebody was held who did not ask, though there was room
        self.shut_until = 0  # what the store said last of the rate
        self.held_by_circuit: dict[str, Pass] = {}
        self.inside: set[str] = set()  # who has come and neither left nor been refused
        self.slots: dict[str, int] = {}  # who has a slot, or may have one, as which runner's
        self.asked_at: dict[str, int] = {}
        self._held: dict[str, Held] = {}
        self._told: dict[str, Held] = {}  # there is room for them, and they are on their way
        self._ages: list[tuple[int, str]] = []  # a heap of those held, and of some that are no more

    def came_at(self, holder: str, now: int) -> int:
        """Since when somebody has been asking."""
        self._held.pop(holder, None)
        self._told.pop(holder, None)
        self.held_by_circuit.pop(holder, None)
        if len(self.asked_at) > 2 * HELD_MAX:
            self.asked_at.clear()  # of executions that have ended meanwhile
        return self.asked_at.setdefault(holder, now)

    def hold(self, held: Held) -> None:
        """Remember one that was not let in."""
        if len(self._held) < HELD_MAX:
            holder = held.entry.holder
            self._held[holder] = held
            heappush(self._ages, (held.asked_at, holder))

    def oldest(self, now: int) -> Held | None:
        """Of those held, the one that has been asking longest.

        One that has not asked again when it was to has ended, or is elsewhere, and counts no longer.
        """
        while self._ages:
            held = self._held.get(self._ages[0][1])
            if held is not None and held.asked_at == self._ages[0][0] and held.until + GRACE_MS > now:
                return held
            if held is not None and held.asked_at == self._ages[0][0]:
                del self._held[held.entry.holder]
            heappop(self._ages)
        return None

    def tell_oldest(self, now: int) -> Held | None:
        """The one that is to be told of room; until it comes nobody younger is let in before it."""
        oldest = self.oldest(now)
        if oldest is not None:
            del self._held[oldest.entry.holder]
            self._told[oldest.entry.holder] = msgspec.structs.replace(oldest, until=now)
        return oldest

    def has_older(self, came_at: int, now: int) -> bool:
        """Whether somebody who has been asking for longer is held, or is on the way."""
        for holder, held in list(self._told.items()):
            if held.until + GRACE_MS <= now:
                del self._told[holder]
            elif held.asked_at < came_at:
                return True
        oldest = self.oldest(now)
        return oldest is not None and oldest.asked_at < came_at

    @property
    def ahead(self) -> int:
        """How many are held by slots or a rate, or on the way: whoever comes now goes after them."""
        return len(self._held) + len(self._told)
