"""Takes away what ended long ago, a few executions at a time, and keeps what they tell in the roll-ups.

A pruning walks the executions in the order of their numbers, which is that of their creation, so it
needs no index that every execution would have to pay for: it begins where the one before has stopped
and ends at the first execution that is younger than what may go. What is not at its end, or ended too
late, is stepped over.

What goes is counted first, in the same transaction: statistics tell the same before and after.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from perdure.store.script import Many, Script
from perdure.store.scripts.counting import EXECUTIONS, FAILURES, STEPS
from perdure.store.scripts.tallies import take_away
from perdure.store.states import TERMINAL, State
from perdure.store.writes import Write

PAGE: Final = 100  # executions looked at for one transaction, however few of them may go
FIRINGS_MAX: Final = 1_000  # lines of schedules' histories that go with one transaction

ENDED: Final = ", ".join(f"'{state}'" for state in sorted(TERMINAL))
ENDED_WELL: Final = ", ".join(f"'{state}'" for state in sorted(TERMINAL - {State.FAILED}))

# A child stays for as long as its parent may ask for it.
LOOK: Final = f"""
SELECT e.no, e.created_at,
       CASE WHEN e.state IN ({{states}}) AND e.updated_at < ? AND NOT EXISTS (
           SELECT 1 FROM workflow_executions p WHERE p.id = e.parent_id AND p.state NOT IN ({ENDED})
       ) THEN 1 ELSE 0 END AS may_go
FROM workflow_executions e WHERE e.no > ? ORDER BY e.no LIMIT ?
"""

LISTED: Final = "SELECT execution_no FROM workflow_deletions"
THESE: Final = {
    "chosen": "workflow_deletions d CROSS JOIN workflow_executions e ON e.no = d.execution_no",
    "where": "true",
}
FOLD_EXECUTIONS: Final = f"""
INSERT INTO workflow_rollups (workflow, state, executions, timed, duration_ms_sum, duration_ms_min,
                              duration_ms_max, last_started_at)
{EXECUTIONS.format(**THESE)}
ON CONFLICT (workflow, state) DO UPDATE SET
    executions = workflow_rollups.executions + excluded.executions,
    timed = workflow_rollups.timed + excluded.timed,
    duration_ms_sum = workflow_rollups.duration_ms_sum + excluded.duration_ms_sum,
    duration_ms_min = CASE WHEN workflow_rollups.duration_ms_min <= excluded.duration_ms_min
        THEN workflow_rollups.duration_ms_min
        ELSE coalesce(excluded.duration_ms_min, workflow_rollups.duration_ms_min) END,
    duration_ms_max = CASE WHEN workflow_rollups.duration_ms_max >= excluded.duration_ms_max
        THEN workflow_rollups.duration_ms_max
        ELSE coalesce(excluded.duration_ms_max, workflow_rollups.duration_ms_max) END,
    last_started_at = CASE WHEN workflow_rollups.last_started_at > excluded.last_started_at
        THEN workflow_rollups.last_started_at ELSE excluded.last_started_at END
"""

FOLD_STEPS: Final = f"""
INSERT INTO workflow_step_rollups (workflow, step, attempts, outcomes, completed, failed, skipped, retried,
                                   retried_completed, timed, duration_ms_sum)
{STEPS.format(**THESE)}
ON CONFLICT (workflow, step) DO UPDATE SET
    attempts = workflow_step_rollups.attempts + excluded.attempts,
    outcomes = workflow_step_rollups.outcomes + excluded.outcomes,
    completed = workflow_step_rollups.completed + excluded.completed,
    failed = workflow_step_rollups.failed + excluded.failed,
    skipped = workflow_step_rollups.skipped + excluded.skipped,
    retried = workflow_step_rollups.retried + excluded.retried,
    retried_completed = workflow_step_rollups.retried_completed + excluded.retried_completed,
    timed = workflow_step_rollups.timed + excluded.timed,
    duration_ms_sum = workflow_step_rollups.duration_ms_sum + excluded.duration_ms_sum
"""

FOLD_FAILURES: Final = """
INSERT INTO workflow_error_rollups (workflow, step, error, failures, last_at)
{counted}
ON CONFLICT (workflow, step, error) DO UPDATE SET
    failures = workflow_error_rollups.failures + excluded.failures,
    last_at = CASE WHEN workflow_error_rollups.last_at > excluded.last_at
        THEN workflow_error_rollups.last_at ELSE excluded.last_at END
"""
FOLDS: Final = (
    FOLD_EXECUTIONS,
    FOLD_STEPS,
    *(FOLD_FAILURES.format(counted=counted.format(**THESE)) for counted in FAILURES),
)

# Nothing is decided before it is due: so the key leads to those that are old, and only they are looked at.
OLD_FIRINGS: Final = """
    SELECT f.schedule_no, f.due_at FROM workflow_schedules s
    CROSS JOIN workflow_schedule_firings f ON f.schedule_no = s.no
    WHERE f.due_at < ? AND f.decided_at < ? LIMIT ?
"""
PRUNE_FIRINGS: Final = f"DELETE FROM workflow_schedule_firings WHERE (schedule_no, due_at) IN ({OLD_FIRINGS})"


class Prune(Write, frozen=True, kw_only=True):
    """Delete up to `limit` terminal executions that ended before then, oldest first, behind `after_no`.

    What they tell stays in the statistics. With `keep_failed` those that failed stay. Answers `Pruned`.
    """

    before: int
    after_no: int = 0
    limit: int
    keep_failed: bool = False


class Pruned(msgspec.Struct, frozen=True):
    """The answer to `Prune`: how many went, where to go on, and whether there is nothing more to take."""

    executions: int
    after_no: int
    is_done: bool


def prune(write: Prune, *, tables: Sequence[str]) -> Script[Pruned]:
    """Delete the next few of those that may go, with all their rows in these tables."""
    look = f"{_look(write.keep_failed)} /* LOCKED */"  # for nobody to open again what is about to go
    page = (yield look, (write.before, write.after_no, PAGE)).fetchall()
    young = next((at for at, row in enumerate(page) if row[1] >= write.before), len(page))
    chosen = [row[0] for row in page[:young] if row[2]][: write.limit]
    after_no = chosen[-1] if len(chosen) == write.limit else page[young - 1][0] if young else write.after_no
    if chosen:
        yield from _fold_and_delete(chosen, tables)
    is_done = len(chosen) < write.limit and (young < len(page) or len(page) < PAGE)
    if is_done:
        is_done = (yield PRUNE_FIRINGS, (write.before, write.before, FIRINGS_MAX)).rowcount < FIRINGS_MAX
    return Pruned(executions=len(chosen), after_no=after_no, is_done=is_done)


def prunable(before: int, keep_failed: bool) -> Script[int]:  # noqa: FBT001
    """How many executions may go."""
    looked = _look(keep_failed).replace("WHERE e.no > ? ORDER BY e.no LIMIT ?", "WHERE e.created_at < ?")
    found = yield f"SELECT count(*) FROM ({looked}) f WHERE may_go = 1", (before, before)
    return int(found.fetchone()[0])


def is_due(before: int) -> Script[bool]:
    """Whether an execution or a line of a schedule's history is older than that."""
    created_at = yield from oldest()
    if created_at is not None and created_at < before:
        return True
    return (yield OLD_FIRINGS, (before, before, 1)).fetchone() is not None


def oldest() -> Script[int | None]:
    """When (ms) the oldest execution was created."""
    row = (yield "SELECT created_at FROM workflow_executions ORDER BY no LIMIT 1", ()).fetchone()
    return None if row is None else row[0]


def _look(keep_failed: bool) -> str:  # noqa: FBT001
    return LOOK.format(states=ENDED_WELL if keep_failed else ENDED)


def _fold_and_delete(chosen: Sequence[int], tables: Sequence[str]) -> Script[None]:
    """Count them, then delete them; a deletion has to be announced, or the log would not let its lines go."""
    rows: list[tuple[Any, ...]] = [(no,) for no in chosen]
    yield from take_away(chosen)
    yield Many("INSERT INTO workflow_deletions (execution_no) VALUES (?)", rows)
    for fold in FOLDS:
        yield fold, ()
    for table in tables:
        if table != "workflow_deletions":
            yield f"DELETE FROM {table} WHERE execution_no IN ({LISTED})", ()
    yield f"DELETE FROM workflow_search WHERE rowid IN ({LISTED})", ()
    yield Many("DELETE FROM workflow_deletions WHERE execution_no = ?", rows)
    yield Many("DELETE FROM workflow_executions WHERE no = ?", rows)
