"""What attempts use, how much an execution may use, and what steps used in the past."""

from __future__ import annotations

from typing import Final

import msgspec

NANOS: Final = 1_000_000_000  # billionths in a unit of money: a token costs about a thousand of them


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What something cost: money, in whatever unit its user counts, and tokens.

    Money is counted in billionths, so that three times a tenth is three tenths.
    """

    cost: float = 0.0
    tokens: int = 0

    @classmethod
    def of(cls, *, nanos: int, tokens: int) -> Usage:
        """The usage of so many billionths."""
        return cls(cost=nanos / NANOS, tokens=tokens)

    @property
    def cost_nanos(self) -> int:
        """The money in billionths of its unit, as it is stored and added."""
        return round(self.cost * NANOS)

    def __add__(self, other: Usage) -> Usage:
        """Both together."""
        return Usage.of(nanos=self.cost_nanos + other.cost_nanos, tokens=self.tokens + other.tokens)

    def times(self, count: int) -> Usage:
        """As much, so many times."""
        return Usage.of(nanos=self.cost_nanos * count, tokens=self.tokens * count)


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How much may be used; None is without limit."""

    cost: float | None = None
    tokens: int | None = None


class StepHistory(msgspec.Struct, frozen=True, kw_only=True):
    """What one step of a workflow came to, on average over its outcomes; None where nothing is known."""

    outcomes: int = 0
    duration_ms_mean: float | None = None
    cost_mean: float | None = None
    tokens_mean: float | None = None
