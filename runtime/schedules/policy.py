"""What is to be done about the moments of a schedule that have come: a pure decision.

A moment counts as met when its start is at most LATE_MS late and no later moment has come; what nobody was
there for is missed.
Every moment is decided once and recorded: started, queued, skipped or missed.
"""

from __future__ import annotations

from datetime import timedelta
from itertools import islice, takewhile
from typing import Final

import msgspec

from perdure.runtime.schedules.rule import Missed, Overlap, Rule
from perdure.runtime.schedules.timetable import EPOCH, delayed, moments
from perdure.store.schedule_writes import FiringWrite

LATE_MS: Final = 60_000  # a restart, or a busy minute, misses nothing
MOMENTS_MAX: Final = 10_000  # looked at in one decision; what is left is decided in the next
QUEUE_MAX: Final = 1_000  # moments that wait; what comes on top of them is skipped
QUEUE_LOOK_MS: Final = 5_000  # how often a queue looks whether its turn has come, where no end is heard of


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Where a schedule stands. Times in ms."""

    id: str
    considered_at: int
    pending: tuple[int, ...] = ()
    is_last_active: bool = False


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What to start, in order, what to write down, and when to look again."""

    start: tuple[int, ...] = ()
    cancels_last: bool = False
    firings: tuple[FiringWrite, ...] = ()
    pending: tuple[int, ...] = ()
    considered_at: int
    next_at: int | None


def decide(rule: Rule, standing: Standing, *, now: int) -> Decision:
    """Decide every moment that has come by `now`."""
    coming = _due(rule, standing, now=now)
    due = coming[:MOMENTS_MAX]
    considered_at = due[-1] if due else standing.considered_at
    run = _to_make_up_for(rule, due, standing, now=now, are_all=len(due) == len(coming))
    missed = sorted({*due} - {*run})
    firings = [FiringWrite(missed[0], "missed", None, len(missed))] if missed else []
    start, pending, skipped = _share_out(rule, run, standing)
    firings += [FiringWrite(moment, "started", execution_id(standing.id, moment)) for moment in start]
    firings += [FiringWrite(moment, "queued") for moment in pending if moment not in standing.pending]
    firings += [FiringWrite(moment, "skipped") for moment in skipped]
    return Decision(
        start=tuple(start),
        cancels_last=rule.overlap is Overlap.REPLACE and standing.is_last_active and bool(start),
        firings=tuple(firings),
        pending=tuple(pending),
        considered_at=considered_at,
        next_at=_next_at(rule, standing.id, considered_at, now=now, waits=bool(pending)),
    )


def execution_id(schedule_id: str, moment: int) -> str:
    """The id of what a moment starts. The same moment is the same execution, so it starts once."""
    at = EPOCH + timedelta(milliseconds=moment)
    return f"{schedule_id}.{at:%Y%m%dT%H%M%SZ}"


def next_at(rule: Rule, *, schedule_id: str, after: int) -> int | None:
    """When there will be something to decide; None when never again."""
    return next((delayed(rule, one, schedule_id=schedule_id) for one in moments(rule, after=after)), None)


def _due(rule: Rule, standing: Standing, *, now: int) -> list[int]:
    """The moments that have come since the last that was decided; at most one more than are decided now."""
    coming = takewhile(
        lambda moment: delayed(rule, moment, schedule_id=standing.id) <= now,
        moments(rule, after=standing.considered_at),
    )
    return list(islice(coming, MOMENTS_MAX + 1))


def _to_make_up_for(rule: Rule, due: list[int], standing: Standing, *, now: int, are_all: bool) -> list[int]:
    """The due moments that are to be acted upon: those that are met, and what `missed` allows.

    Unless they `are_all` that have come, the latest is not among them.
    """
    if not due:
        return []
    is_met = are_all and now - delayed(rule, due[-1], schedule_id=standing.id) <= LATE_MS
    met, late = (due[-1:], due[:-1]) if is_met else ([], due)
    allowed = [moment for moment in late if now - moment <= rule.missed_window_ms]
    match rule.missed:
        case Missed.SKIP:
            return met
        case Missed.LATEST:
            return met or (allowed[-1:] if are_all else [])
        case Missed.ALL:
            return allowed + met


def _share_out(rule: Rule, run: list[int], standing: Standing) -> tuple[list[int], list[int], list[int]]:
    """Of what is to be acted upon, and of what has waited: what starts now, what waits, what is skipped."""
    line = [*standing.pending, *run]
    begun = [] if standing.is_last_active else line[:1]
    rest = line[len(begun) :]
    match rule.overlap:
        case Overlap.ALLOW:
            return line, [], []
        case Overlap.REPLACE:
            return line[-1:], [], line[:-1]
        case Overlap.SKIP:
            return begun, [], rest
        case Overlap.QUEUE:
            return begun, rest[:QUEUE_MAX], rest[QUEUE_MAX:]


def _next_at(rule: Rule, schedule_id: str, after: int, *, now: int, waits: bool) -> int | None:
    coming = next_at(rule, schedule_id=schedule_id, after=after)
    if not waits:
        return coming
    return now + QUEUE_LOOK_MS if coming is None else min(coming, now + QUEUE_LOOK_MS)
