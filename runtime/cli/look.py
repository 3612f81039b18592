"""Many executions at once: list and history."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter

from perdure.runtime.cli.options import Limit, Reading, UsageError, read_period
from perdure.runtime.cli.render import ago, duration, progress
from perdure.runtime.cli.session import Session, open_session, run_async
from perdure.runtime.cli.text import Cell
from perdure.store.states import State, Status

if TYPE_CHECKING:
    from perdure.store.records import ExecutionSummary

DEFAULTS = Reading()
LIST_LIMIT: Final = 20  # what fits on a screen
HISTORY_LIMIT: Final = 1_000  # more is a query for the database, not a table
PAGE: Final = 200  # records asked for at once

Quiet = Annotated[bool, Parameter(name=["--quiet", "-q"], negative="")]


def list_(
    *,
    status: str | None = None,
    workflow: str | None = None,
    parent: str | None = None,
    limit: Limit = LIST_LIMIT,
    quiet: Quiet = False,
    options: Reading = DEFAULTS,
) -> int:
    """List executions, newest first.

    Args:
        status: Only those of one status, such as running, paused or failed.
        workflow: Only those of one workflow.
        parent: Only those that this execution has started: its id, or a unique beginning of it.
        limit: How many at most.
        quiet: Print ids only.
    """
    session = open_session(options)

    async def main() -> int:
        found = await _page(session, status=status, workflow=workflow, parent=parent, limit=limit + 1)
        _show(session, found, _LIST_HEADS, _list_row, limit=limit, quiet=quiet)
        return 0

    return run_async(main)


def history(
    *,
    last: str | None = None,
    status: str | None = None,
    workflow: str | None = None,
    limit: Limit = HISTORY_LIMIT,
    quiet: Quiet = False,
    options: Reading = DEFAULTS,
) -> int:
    """Show the executions of a period with their durations and errors, newest first.

    perdure history --last 7d --status failed

    Args:
        last: How far back: 30s, 15m, 1h30m, 7d or 4w (default: everything).
        status: Only those of one status.
        workflow: Only those of one workflow.
        limit: How many at most.
        quiet: Print ids only.
    """
    session = open_session(options)
    start = None if last is None else session.now() - read_period(last, what="--last")

    async def main() -> int:
        found = await _page(session, status=status, workflow=workflow, limit=limit + 1, start=start)
        _show(session, found, _HISTORY_HEADS, _history_row, limit=limit, quiet=quiet)
        if session.out.format == "table" and not quiet:
            counts = Counter(str(summary.status) for summary in found[:limit])
            session.note(", ".join(f"{count} {word}" for word, count in counts.most_common()) or "nothing")
        return 0

    return run_async(main)


async def _page(
    session: Session,
    *,
    status: str | None,
    workflow: str | None,
    limit: int,
    start: datetime | None = None,
    parent: str | None = None,
) -> list[ExecutionSummary]:
    """Up to `limit` executions, read a page at a time."""
    wanted = None if status is None else read_status(status)
    from perdure.runtime.looking import find

    found: list[ExecutionSummary] = []
    async with session.looking() as store:
        parent_id = None if parent is None else await find(store, parent)
        while len(found) < limit:
            count = min(PAGE, limit - len(found))
            after = found[-1].id if found else None
            page = await store.executions(
                status=wanted, workflow=workflow, since=start, parent=parent_id, limit=count, after=after
            )
            found += page
            if len(page) < count:
                break
    return found


def read_status(text: str) -> Status:
    """A status by its exact name. Raises UsageError, naming all there are."""
    try:
        return Status(text)
    except ValueError:
        known = ", ".join(Status)
        raise UsageError(f"--status {text}: unknown; known: {known}") from None


def _show(
    session: Session,
    found: Sequence[ExecutionSummary],
    heads: Sequence[str],
    row: Callable[[ExecutionSummary, Session], Sequence[Cell | str]],
    *,
    limit: int,
    quiet: bool,
) -> None:
    """Print up to `limit` of those that were found; people are told that there are more."""
    summaries = found[:limit]
    if quiet:
        session.out.write("".join(f"{summary.id}\n" for summary in summaries))
    elif session.out.format != "table":
        session.out.records(summaries)
    else:
        session.out.table(heads, [row(summary, session) for summary in summaries])
        if not summaries:
            session.note("there is no such execution")
        elif len(found) > limit:
            session.note(f"the newest {limit:,}; there are more, which a larger --limit shows")


_LIST_HEADS: Final = ("ID", "WORKFLOW", "STATUS", "STEPS", "CREATED", "TOOK", "NOTE")
_HISTORY_HEADS: Final = ("ID", "WORKFLOW", "VERSION", "STATUS", "CREATED", "TOOK", "BY", "ERROR")


def _list_row(summary: ExecutionSummary, session: Session) -> Sequence[Cell | str]:
    return (
        summary.id,
        summary.workflow,
        session.out.word(summary.status),
        progress(summary.steps_completed, summary.steps_total),
        ago(summary.created_at, now=session.now()),
        duration(summary.duration_ms),
        waits_in(summary),
    )


def waits_in(summary: ExecutionSummary) -> str:
    """Why an execution has not begun."""
    if summary.queue is not None:
        return f"waits for a slot of {summary.queue}"
    return "waits for a process with room" if summary.state is State.IDLE else ""


def _history_row(summary: ExecutionSummary, session: Session) -> Sequence[Cell | str]:
    error = summary.error
    return (
        summary.id,
        summary.workflow,
        summary.workflow_version or "–",
        session.out.word(summary.status),
        ago(summary.created_at, now=session.now()),
        duration(summary.duration_ms),
        summary.triggered_by or "–",
        Cell(f"{error.step or ''} {error.type}: {error.message}".strip(), "red") if error else "",
    )
