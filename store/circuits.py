"""Circuit breakers as they are kept: of an execution a column, of an agent a row that all runners share."""

from __future__ import annotations

import msgspec


class CircuitBreakerState(msgspec.Struct, frozen=True, kw_only=True):
    """What an execution's breaker has done; times in ms since 1970.

    `reset_at` is when somebody let the execution go on: what began before counts no longer. `items` is
    when the bad attempts of items ended that count; those of steps have rows that tell.
    """

    tripped_at: int | None = None
    reason: str | None = None
    reset_at: int | None = None
    items: tuple[int, ...] = ()

    @property
    def counts_since(self) -> int:
        """Attempts that began before this moment count no longer."""
        return 0 if self.reset_at is None else self.reset_at
