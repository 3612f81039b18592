"""How workflows, steps and attempts have fared: statistics over what is in the store and what was pruned."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import msgspec

from perdure.store.records import Record, WorkflowStatistics
from perdure.store.script import Script
from perdure.store.scripts.pages import bounded
from perdure.store.scripts.rows import Row, maybe_moment, moment

WORKFLOWS: Final = """
SELECT workflow, executions, completed, failed, cancelled, active, success_ratio, duration_ms_mean,
       duration_ms_min, duration_ms_max, last_started_at, rolled_back, pruned
FROM workflow_statistics
"""
# The smallest duration that so large a share of the completed did not exceed; equal ones are counted first.
PERCENTILES: Final = """
SELECT p.workflow, min(CASE WHEN p.place * 2 >= p.many THEN p.duration_ms END),
       min(CASE WHEN p.place * 20 >= p.many * 19 THEN p.duration_ms END)
FROM (
    SELECT w.name AS workflow, c.duration_ms,
           sum(sum(c.many)) OVER (PARTITION BY w.name ORDER BY c.duration_ms) AS place,
           sum(sum(c.many)) OVER (PARTITION BY w.name) AS many
    FROM (SELECT e.workflow_no, e.duration_ms, count(*) AS many FROM workflow_executions e
          WHERE e.state = 'completed' AND e.duration_ms IS NOT NULL
          GROUP BY e.workflow_no, e.duration_ms) c
    JOIN workflows w ON w.no = c.workflow_no {only}
    GROUP BY w.name, c.duration_ms
) p
GROUP BY p.workflow
"""
STEPS: Final = """
SELECT workflow, step, attempts, outcomes, completed, failed, skipped, failure_ratio, retried,
       retried_completed, retry_success_ratio, duration_ms_mean
FROM workflow_step_statistics
"""
ERRORS: Final = "SELECT workflow, step, error, failures, last_at FROM workflow_error_statistics "


class StepStatistics(Record, frozen=True, kw_only=True):
    """How one step has fared (view `workflow_step_statistics`); `outcomes` are what it came to in the end.

    `retried` are the outcomes that took more than one attempt, `retried_completed` those of them that
    were good: what trying again was worth.
    """

    workflow: str
    step: str
    attempts: int
    outcomes: int
    completed: int
    failed: int
    skipped: int
    failure_ratio: float | None
    retried: int
    retried_completed: int
    retry_success_ratio: float | None
    duration_ms_mean: float | None


class ErrorStatistics(Record, frozen=True, kw_only=True):
    """How often attempts of one step ended in one kind of error (view `workflow_error_statistics`).

    `step` is empty for what ended the whole execution, such as its deadline.
    """

    workflow: str
    step: str
    error: str
    failures: int
    last_at: datetime


def workflows(workflow: str | None) -> Script[list[WorkflowStatistics]]:
    """How the executions of each workflow have fared, by name."""
    where, parameters = _of(workflow)
    found = (yield f"{WORKFLOWS} {where} ORDER BY workflow", parameters).fetchall()
    only = "" if workflow is None else "AND w.name = ?"
    percentiles = {row[0]: row[1:] for row in (yield PERCENTILES.format(only=only), parameters)}
    return [_workflow(row, *percentiles.get(row[0], (None, None))) for row in found]


def steps(workflow: str | None) -> Script[list[StepStatistics]]:
    """How their steps have fared, those that fail the most first."""
    where, parameters = _of(workflow)
    order = "ORDER BY workflow, failed DESC, step"
    return [_step(row) for row in (yield f"{STEPS} {where} {order}", parameters)]


def errors(workflow: str | None, limit: int) -> Script[list[ErrorStatistics]]:
    """Which errors there were, the most frequent first."""
    where, parameters = _of(workflow)
    order = "ORDER BY failures DESC, workflow, step, error LIMIT ?"
    return [_error(row) for row in (yield f"{ERRORS} {where} {order}", (*parameters, bounded(limit)))]


def _of(workflow: str | None) -> tuple[str, tuple[Any, ...]]:
    return ("", ()) if workflow is None else ("WHERE workflow = ?", (workflow,))


def _workflow(row: Row, p50: int | None, p95: int | None) -> WorkflowStatistics:
    found = dict(zip(WorkflowStatistics.__struct_fields__, row, strict=False))
    found |= {"last_started_at": maybe_moment(row[10]), "duration_ms_p50": p50, "duration_ms_p95": p95}
    return msgspec.convert(found, WorkflowStatistics)


def _step(row: Row) -> StepStatistics:
    return msgspec.convert(dict(zip(StepStatistics.__struct_fields__, row, strict=True)), StepStatistics)


def _error(row: Row) -> ErrorStatistics:
    found = dict(zip(ErrorStatistics.__struct_fields__, row, strict=True))
    return msgspec.convert(found | {"last_at": moment(row[4])}, ErrorStatistics)
