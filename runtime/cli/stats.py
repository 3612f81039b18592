"""`perdure stats`: how workflows and their steps have fared, and what went wrong most."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, TypedDict

from perdure.runtime.cli.exit_codes import Exit
from perdure.runtime.cli.options import Reading, read_period
from perdure.runtime.cli.render import ago, duration
from perdure.runtime.cli.session import Session, open_session, run_async
from perdure.runtime.cli.text import Cell
from perdure.store.errors import NotFound
from perdure.store.records import WorkflowStatistics
from perdure.store.scripts.faring import ErrorStatistics, StepStatistics

READING = Reading()
ERRORS: Final = 10  # the most frequent; the view `workflow_error_statistics` has them all

WORKFLOW_HEADS: Final = (
    "WORKFLOW", "RUNS", "DONE", "FAILED", "UNDONE", "CANCELLED", "ACTIVE",
    "GOOD", "MEAN", "P50", "P95", "LAST",
)  # fmt: skip
STEP_HEADS: Final = (
    "WORKFLOW", "STEP", "DONE", "FAILED", "FAIL RATE", "SKIPPED", "RETRIED", "RETRY GOOD", "MEAN"
)  # fmt: skip
ERROR_HEADS: Final = ("FAILURES", "WORKFLOW", "STEP", "ERROR", "LAST")


class Of(TypedDict):
    """What is asked about."""

    workflow: str | None
    since: datetime | None


def stats(workflow: str | None = None, /, *, last: str | None = None, options: Reading = READING) -> int:
    """Show how often executions succeed, how long they take, which steps fail, and of what.

    What was pruned is counted in; percentiles (P50, P95) are of the completed that are still there.
    With --last it is only what was started since, and is still there.

    Args:
        workflow: Only of that workflow.
        last: Only what was started within the last 24h, 7d, 4w or the like.
    """
    session = open_session(options)
    since = None if last is None else session.now() - read_period(last, what="--last")
    of: Of = {"workflow": workflow, "since": since}

    async def main() -> int:
        async with session.looking() as store:
            workflows = await store.statistics(**of)
            steps = await store.step_statistics(**of)
            errors = await store.error_statistics(**of, limit=ERRORS)
        if workflow is not None and not workflows:
            within = "" if last is None else f" within the last {last}"
            raise NotFound(f"execution of a workflow{within}", workflow)
        if session.out.format != "table":
            session.out.json({"workflows": workflows, "steps": steps, "errors": errors})
            return Exit.DONE
        _show(session, workflows, steps, errors)
        return Exit.DONE

    return run_async(main)


def _show(
    session: Session,
    workflows: Sequence[WorkflowStatistics],
    steps: Sequence[StepStatistics],
    errors: Sequence[ErrorStatistics],
) -> None:
    out = session.out
    out.table(WORKFLOW_HEADS, [_workflow_row(each, session) for each in workflows])
    if steps:
        out.write("\n")
        out.table(STEP_HEADS, [_step_row(each) for each in steps])
    if errors:
        out.write("\n")
        out.table(ERROR_HEADS, [_error_row(each, session) for each in errors])


def _workflow_row(each: WorkflowStatistics, session: Session) -> Sequence[Cell | str]:
    ended = (each.completed, each.failed, each.rolled_back, each.cancelled)
    counts = (each.executions, *ended, each.active)
    times = (each.duration_ms_mean, each.duration_ms_p50, each.duration_ms_p95)
    return (
        each.workflow,
        *(f"{count:,}" for count in counts),
        _share(each.success_ratio),
        *(_duration(time) for time in times),
        "–" if each.last_started_at is None else ago(each.last_started_at, now=session.now()),
    )


def _step_row(each: StepStatistics) -> Sequence[Cell | str]:
    return (
        each.workflow,
        each.step,
        f"{each.completed:,}",
        f"{each.failed:,}",
        Cell(_share(each.failure_ratio), "red" if each.failed else None),
        f"{each.skipped:,}",
        f"{each.retried:,}",
        _share(each.retry_success_ratio),
        _duration(each.duration_ms_mean),
    )


def _error_row(each: ErrorStatistics, session: Session) -> Sequence[Cell | str]:
    last = ago(each.last_at, now=session.now())
    return f"{each.failures:,}", each.workflow, each.step or "–", Cell(each.error, "red"), last


def _share(ratio: float | None) -> str:
    return "–" if ratio is None else f"{ratio:.1%}"


def _duration(ms: float | None) -> str:
    return duration(None if ms is None else round(ms))
