"""What is in a store and not at its end, and since when nothing has happened to it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from perdure.store.records import PAGE_MAX, Record
from perdure.store.script import Script
from perdure.store.scripts import retention
from perdure.store.scripts.rows import CLAIMABLE, maybe_moment, moment
from perdure.store.states import TERMINAL

RESTING: Final = """
SELECT e.id, w.name, e.workflow_no, e.state, r.id, e.agents, {since}
FROM workflow_executions e
JOIN workflows w ON w.no = e.workflow_no
LEFT JOIN runners r ON r.no = e.runner_no
"""
ENDED: Final = ", ".join(f"'{state}'" for state in sorted(TERMINAL))
OWNED: Final = f"WHERE e.runner_no IS NOT NULL AND e.state NOT IN ({ENDED}) AND e.updated_at <= ?"
UNCLAIMED: Final = f"WHERE {CLAIMABLE} AND e.updated_at <= ?"
PAUSED: Final = "WHERE e.state = 'paused' AND e.paused_at <= ?"
QUARANTINED: Final = (
    f"WHERE e.state NOT IN ({ENDED}) AND e.updated_at <= ? AND 'execution_quarantined' = (SELECT v.type "
    "FROM workflow_events v WHERE v.execution_no = e.no ORDER BY v.id DESC LIMIT 1)"
)
OVERDUE: Final = (
    "JOIN (SELECT execution_no, min(due_at) AS due_at FROM workflow_timers GROUP BY execution_no) t "
    "ON t.execution_no = e.no "
    "WHERE e.runner_no IS NULL AND e.state = 'awaiting_completion' AND t.due_at <= ?"
)
UNANSWERED: Final = (
    "JOIN (SELECT execution_no, min(created_at) AS created_at FROM workflow_messages "
    "WHERE applied_version IS NULL AND answer IS NULL GROUP BY execution_no) m ON m.execution_no = e.no "
    "WHERE m.created_at <= ?"
)
STALLED: Final = """
SELECT * FROM (
    SELECT s.id, s.workflow,
           NOT EXISTS (SELECT 1 FROM workflows w
                       WHERE w.name = s.workflow AND w.is_active = 1) AS is_orphaned,
           (SELECT CASE f.decision WHEN 'refused' THEN f.reason END FROM workflow_schedule_firings f
            WHERE f.schedule_no = s.no ORDER BY f.due_at DESC LIMIT 1) AS refusal,
           CASE WHEN s.next_at <= ? THEN s.next_at END AS due_at
    FROM workflow_schedules s WHERE s.is_paused = 0 ORDER BY s.id
) AS found WHERE is_orphaned OR refusal IS NOT NULL OR due_at IS NOT NULL LIMIT ?
"""
UNDELIVERED: Final = (
    "SELECT count(*), min(due_at) FROM workflow_deliveries WHERE state = 'pending' AND due_at <= ?"
)
COUNTS: Final = f"""
SELECT count(*), count(*) FILTER (WHERE state NOT IN ({ENDED})),
       count(*) FILTER (WHERE state NOT IN ({ENDED}) AND state <> 'paused' AND runner_no IS NULL)
FROM workflow_executions
"""
EVER: Final = 2**62  # a bound that nothing is after


class Bounds(Record, frozen=True, kw_only=True):
    """Times in milliseconds; what has rested since before them has rested for long."""

    unclaimed: int
    overdue: int
    unanswered: int
    paused: int


class Resting(Record, frozen=True, kw_only=True):
    """An execution on which nothing happens, and since when."""

    execution_id: str
    workflow: str
    workflow_no: int
    state: str
    runner: str | None
    agents: str | None
    since: datetime


class Stalled(Record, frozen=True, kw_only=True):
    """A schedule that starts nothing: its workflow is gone, its last start was refused, or it is overdue."""

    schedule: str
    workflow: str
    is_orphaned: bool
    refusal: str | None
    due_at: datetime | None


class Work(Record, frozen=True, kw_only=True):
    """What is not at its end, up to PAGE_MAX of each kind, oldest first."""

    executions: int
    oldest: datetime | None = None
    unfinished: int
    unattended: int  # of those: neither owned nor paused
    owned: tuple[Resting, ...]
    unclaimed: tuple[Resting, ...]
    overdue: tuple[Resting, ...]
    unanswered: tuple[Resting, ...]
    quarantined: tuple[Resting, ...]
    paused: tuple[Resting, ...]
    stalled: tuple[Stalled, ...] = ()
    undelivered: int = 0  # calls of webhooks that should have been made
    undelivered_since: datetime | None = None


def work(bounds: Bounds) -> Script[Work]:
    """What rests, and for how long; to be asked as of one moment."""
    counts = yield COUNTS, ()
    executions, unfinished, unattended = counts.fetchone()
    undelivered, undelivered_since = (yield UNDELIVERED, (bounds.overdue,)).fetchone()
    return Work(
        executions=executions,
        oldest=maybe_moment((yield from retention.oldest())),
        unfinished=unfinished,
        unattended=unattended,
        owned=(yield from _resting(OWNED, "e.updated_at", EVER)),
        unclaimed=(yield from _resting(UNCLAIMED, "e.updated_at", bounds.unclaimed)),
        overdue=(yield from _resting(OVERDUE, "t.due_at", bounds.overdue)),
        unanswered=(yield from _resting(UNANSWERED, "m.created_at", bounds.unanswered)),
        quarantined=(yield from _resting(QUARANTINED, "e.updated_at", EVER)),
        paused=(yield from _resting(PAUSED, "e.paused_at", bounds.paused)),
        stalled=tuple(map(_stalled, (yield STALLED, (bounds.overdue, PAGE_MAX)))),
        undelivered=undelivered,
        undelivered_since=maybe_moment(undelivered_since),
    )


def _resting(where: str, since: str, before: int) -> Script[tuple[Resting, ...]]:
    query = f"{RESTING.format(since=since)} {where} ORDER BY e.no LIMIT ?"
    found = yield query, (before, PAGE_MAX)
    return tuple(map(_rests, found))


def _stalled(row: tuple[Any, ...]) -> Stalled:
    return Stalled(
        schedule=row[0],
        workflow=row[1],
        is_orphaned=bool(row[2]),
        refusal=row[3],
        due_at=None if row[4] is None else moment(row[4]),
    )


def _rests(row: tuple[Any, ...]) -> Resting:
    return Resting(
        execution_id=row[0],
        workflow=row[1],
        workflow_no=row[2],
        state=row[3],
        runner=row[4],
        agents=row[5],
        since=moment(row[6]),
    )
