"""When an execution's circuit breaker trips, and what that does to it."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import msgspec


class OnTrip(StrEnum):
    """What becomes of an execution whose breaker trips."""

    FAIL = "fail"  # what is in flight is cancelled
    PAUSE = "pause"  # what is in flight finishes
    COMPENSATE = "compensate"  # what is in flight is cancelled, what was done is undone


class Breaker(msgspec.Struct, frozen=True, kw_only=True):
    """Trips when `errors` attempts of an execution have failed, or were slow, within `window_ms`."""

    errors: int
    window_ms: int
    latency_ms: int | None = None
    on_trip: OnTrip = OnTrip.FAIL

    def is_slow(self, took_ms: int) -> bool:
        """Whether an attempt that took so long counts as a bad one, whatever it gave."""
        return self.latency_ms is not None and took_ms > self.latency_ms

    def recent(self, mishaps: Sequence[int], *, now: int) -> list[int]:
        """Of those moments, oldest first, the ones that count now; no more than it takes to trip."""
        return [at for at in mishaps if at > now - self.window_ms][-self.errors :]
