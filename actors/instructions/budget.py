"""What attempts have used of an execution's budget, and whether another may begin. Pure.

A step that declares what it will use begins if that fits into what is left; where it would fit but for
what is declared by those in flight, it waits until they have ended and what they really used is known.
A step that declares nothing begins while anything is left. What has begun is never stopped for it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

import msgspec

from perdure.store.errors import PerdureError
from perdure.store.usage import NANOS, Limits, Usage

COST_MAX: Final = 1_000_000  # of one report: what is more was meant in another unit
TOKENS_MAX: Final = 10**12  # of one report
NOTHING: Final = Usage()


class OnExceeded(StrEnum):
    """What becomes of an execution whose next step would exceed its budget."""

    PAUSE = "pause"  # it rests, until somebody resumes it with more
    FAIL = "fail"  # the step fails


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """How much an execution may use, and what happens when it would use more."""

    limits: Limits = Limits()
    on_exceeded: OnExceeded = OnExceeded.PAUSE


class Room(StrEnum):
    """Whether an attempt may begin."""

    ENOUGH = "enough"
    LATER = "later"  # there would be, but for what is in flight
    NONE = "none"


class BudgetExceeded(PerdureError):
    """A step would use more than the budget of its execution has left."""

    def __init__(self, key: str, *, used: Usage, limits: Limits, estimate: Usage | None) -> None:
        """`used` so far by the whole execution; `estimate` is what the step declares, if it does."""
        declared = "" if estimate is None else f" and declares to use {shown(estimate)}"
        super().__init__(
            f"step {key!r} may not begin: the execution has used {shown(used)} of {shown(limits)}{declared}; "
            "resume (or retry) it with a larger budget to go on"
        )
        self.key = key


class InvalidUsage(PerdureError, ValueError):
    """Something given to `context.usage()` is no amount."""


def room_for(estimate: Usage | None, *, used: Usage, reserved: Usage, limits: Limits) -> Room:
    """Whether an attempt may begin, given what was used and what those in flight declare to use."""
    if not _fits(estimate, used=used, limits=limits):
        return Room.NONE
    return Room.ENOUGH if _fits(estimate, used=used + reserved, limits=limits) else Room.LATER


def _fits(estimate: Usage | None, *, used: Usage, limits: Limits) -> bool:
    wanted = estimate or NOTHING
    pairs = [
        (used.cost_nanos, wanted.cost_nanos, None if limits.cost is None else round(limits.cost * NANOS)),
        (used.tokens, wanted.tokens, limits.tokens),
    ]
    if estimate is None:
        return all(limit is None or have < limit for have, _, limit in pairs)
    return all(limit is None or have + want <= limit for have, want, limit in pairs)


def checked(cost: Any, tokens: Any) -> Usage:
    """A report as a usage. Raises InvalidUsage."""
    is_money = isinstance(cost, int | float) and not isinstance(cost, bool)
    if not (is_money and 0 <= cost <= COST_MAX):
        raise InvalidUsage(f"cost={cost!r}: give a number from 0 to {COST_MAX:,}")
    is_count = isinstance(tokens, int) and not isinstance(tokens, bool)
    if not (is_count and 0 <= tokens <= TOKENS_MAX):
        raise InvalidUsage(f"tokens={tokens!r}: give a whole number from 0 to {TOKENS_MAX:,}")
    return Usage.of(nanos=round(cost * NANOS), tokens=tokens)


def shown(amount: Usage | Limits) -> str:
    """An amount as people read it: `0.25 and 1,200 tokens`."""
    parts = [] if amount.cost is None else [f"{amount.cost:.9f}".rstrip("0").rstrip(".")]
    if amount.tokens is not None and (amount.tokens or amount.cost is None):
        parts.append(f"{amount.tokens:,} tokens")
    return " and ".join(parts) or "no limit"
