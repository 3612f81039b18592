"""How workflows, steps and attempts have fared: statistics over what is in the store and what was pruned.

What has ended a while ago is in the tallies, what was pruned in the roll-ups, and only the rest is counted.
Roll-ups have no time any more: statistics of a stretch of time are of what is there.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import Final

import msgspec

from perdure.store.records import Record, WorkflowStatistics
from perdure.store.script import Script
from perdure.store.scripts import tallies
from perdure.store.scripts.counting import DURATIONS, EXECUTIONS, FAILURES, STEPS, listed
from perdure.store.scripts.pages import bounded
from perdure.store.scripts.rows import Row, maybe_moment, milliseconds, moment
from perdure.store.states import TERMINAL

PRUNED: Final = """
SELECT workflow, state, executions, timed, duration_ms_sum, duration_ms_min, duration_ms_max, last_started_at
FROM workflow_rollups
"""
PRUNED_STEPS: Final = """
SELECT workflow, step, attempts, outcomes, completed, failed, skipped, retried, retried_completed, timed,
       duration_ms_sum
FROM workflow_step_rollups
"""
PRUNED_ERRORS: Final = "SELECT workflow, step, error, failures, last_at FROM workflow_error_rollups"


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


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """Which executions are counted: those of a workflow; of which times; whether those that went, too."""

    workflow: str | None
    parts: tallies.Parts
    has_pruned: bool

    def count(self, counted: str, *, tallied: str, pruned: str) -> Script[list[Row]]:
        """Count executions or steps: those to be counted now, those that once were, those that went."""
        live = yield from self.count_live(counted)
        return [*live, *(yield from self.count_tallied(tallied)), *(yield from self.count_pruned(pruned))]

    def count_failures(self) -> Script[list[Row]]:
        """Count errors, of steps and of executions."""
        found: list[Row] = []
        for counted in FAILURES:
            found += yield from self.count_live(counted)
        found += yield from self.count_tallied("errors")
        return [*found, *(yield from self.count_pruned(PRUNED_ERRORS))]

    def count_live(self, counted: str) -> Script[list[Row]]:
        """Count now, with a question for each stretch of numbers: the answers are for adding up."""
        of = "true" if self.workflow is None else "e.workflow_no IN (SELECT no FROM workflows WHERE name = ?)"
        found: list[Row] = []
        for where, numbers in self.parts.others:
            sql = counted.format(chosen="workflow_executions e", where=f"{where} AND {of}")
            found += (yield sql, (*numbers, *self._workflow)).fetchall()
        return found

    def count_tallied(self, column: str) -> Script[list[Row]]:
        """What was counted once it had ended."""
        rows = yield from self.parts.tallied(column)
        return [row for row in rows if self.workflow in (None, row[0])]

    def count_pruned(self, rolled_up: str) -> Script[list[Row]]:
        """What was counted when it went; it has no time any more."""
        if not self.has_pruned:
            return []
        where = "true" if self.workflow is None else "workflow = ?"
        return (yield f"{rolled_up} WHERE {where}", self._workflow).fetchall()

    def percentiles(self) -> Script[dict[str, tuple[int, int]]]:
        """By workflow the durations of the completed that half and 95 % of them did not exceed."""
        found = listed((yield from self.count_live(DURATIONS)))
        for workflow, durations in (yield from self.count_tallied("durations")):
            found.setdefault(workflow, []).extend(durations)
        return {workflow: (_percentile(of, 50), _percentile(of, 95)) for workflow, of in found.items()}

    @property
    def _workflow(self) -> tuple[str, ...]:
        return () if self.workflow is None else (self.workflow,)


def _scope(workflow: str | None, since: datetime | None) -> Script[Scope]:
    parts = yield from tallies.parts(None if since is None else milliseconds(since))
    return Scope(workflow=workflow, parts=parts, has_pruned=since is None)


def workflows(workflow: str | None, since: datetime | None) -> Script[list[WorkflowStatistics]]:
    """How the executions of each workflow, or of one, have fared, by name."""
    scope = yield from _scope(workflow, since)
    found = _grouped((yield from scope.count(EXECUTIONS, tallied="executions", pruned=PRUNED)), key=1)
    percentiles = yield from scope.percentiles()
    pruned = Counter[str]()
    for name, _, executions, *_ in (yield from scope.count_pruned(PRUNED)):
        pruned[name] += executions
    return [
        _workflow(name, rows, pruned[name], *percentiles.get(name, (None, None)))
        for (name,), rows in sorted(found.items())
    ]


def steps(workflow: str | None, since: datetime | None) -> Script[list[StepStatistics]]:
    """How their steps have fared, those that fail the most first."""
    scope = yield from _scope(workflow, since)
    counted = _grouped((yield from scope.count(STEPS, tallied="steps", pruned=PRUNED_STEPS)), key=2)
    found = [_step(workflow, step, rows) for (workflow, step), rows in counted.items()]
    return sorted(found, key=lambda each: (each.workflow, -each.failed, each.step))


def errors(workflow: str | None, since: datetime | None, limit: int) -> Script[list[ErrorStatistics]]:
    """Which errors there were, the most frequent first."""
    scope = yield from _scope(workflow, since)
    counted = _grouped((yield from scope.count_failures()), key=3)
    found = [_error(workflow, step, error, rows) for (workflow, step, error), rows in counted.items()]
    found.sort(key=lambda each: (-each.failures, each.workflow, each.step, each.error))
    return found[: bounded(limit)]


def _grouped(rows: Iterable[Row], *, key: int) -> dict[tuple[str, ...], list[Row]]:
    """The rows by their first columns, without these."""
    found = defaultdict[tuple[str, ...], list[Row]](list)
    for row in rows:
        found[tuple(row[:key])].append(tuple(row[key:]))
    return found


def _workflow(
    name: str, rows: Iterable[Row], pruned: int, p50: int | None, p95: int | None
) -> WorkflowStatistics:
    states, counts, timed, sums, shortest, longest, started = zip(*rows, strict=True)
    ends = Counter[str]()
    for state, count in zip(states, counts, strict=True):
        ends[str(state)] += count
    return WorkflowStatistics(
        workflow=name,
        executions=sum(counts),
        completed=ends["completed"],
        failed=ends["failed"],
        cancelled=ends["cancelled"],
        active=sum(count for state, count in ends.items() if state not in TERMINAL),
        success_ratio=_share(ends["completed"], ends["completed"] + ends["failed"]),
        duration_ms_mean=_share(sum(sums), sum(timed)),
        duration_ms_min=min((each for each in shortest if each is not None), default=None),
        duration_ms_max=max((each for each in longest if each is not None), default=None),
        last_started_at=maybe_moment(max(started)),
        rolled_back=ends["rolled_back"],
        pruned=pruned,
        duration_ms_p50=p50,
        duration_ms_p95=p95,
    )


def _step(workflow: str, step: str, rows: Iterable[Row]) -> StepStatistics:
    sums = [sum(column) for column in zip(*rows, strict=True)]
    attempts, outcomes, completed, failed, skipped, retried, retried_completed, timed, duration_ms = sums
    return StepStatistics(
        workflow=workflow,
        step=step,
        attempts=attempts,
        outcomes=outcomes,
        completed=completed,
        failed=failed,
        skipped=skipped,
        failure_ratio=_share(failed, completed + failed),
        retried=retried,
        retried_completed=retried_completed,
        retry_success_ratio=_share(retried_completed, retried),
        duration_ms_mean=_share(duration_ms, timed),
    )


def _error(workflow: str, step: str, error: str, rows: Iterable[Row]) -> ErrorStatistics:
    failures, times = zip(*rows, strict=True)
    return ErrorStatistics(
        workflow=workflow, step=step, error=error, failures=sum(failures), last_at=moment(max(times))
    )


def _percentile(durations: list[int], percent: int) -> int:
    """The smallest duration that so many of a hundred did not exceed."""
    durations.sort()  # of sorted parts, which makes it easy
    return durations[-(len(durations) * percent // -100) - 1]


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None
