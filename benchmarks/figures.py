"""What can be said about repeated measurements: the middle, the ends, and ratios within a round."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import msgspec


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """The middle and both ends of one figure over several rounds."""

    median: float
    min: float
    max: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Sum up at least one value."""
        return cls(median=statistics.median(values), min=min(values), max=max(values))


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` of all values do not exceed (nearest rank)."""
    ranked = sorted(values)
    rank = -(-len(ranked) * percent // 100)
    return ranked[max(int(rank), 1) - 1]


def share(measured: float, floor: float, *, more_is_better: bool) -> float:
    """How much of the floor's speed was reached: 1.0 is as fast as the floor, 0.5 half as fast."""
    return measured / floor if more_is_better else floor / measured


def shares(measured: Sequence[float], floor: Sequence[float], *, more_is_better: bool) -> Spread:
    """The shares of pairs from the same round, so that what a machine does to both cancels out."""
    return Spread.of(
        [share(m, f, more_is_better=more_is_better) for m, f in zip(measured, floor, strict=True)]
    )
