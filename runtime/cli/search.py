"""`perdure search`: workflows and ended executions by their words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from perdure.runtime.cli.exit_codes import Exit
from perdure.runtime.cli.options import Limit, Reading, UsageError
from perdure.runtime.cli.render import ago, progress
from perdure.runtime.cli.session import Session, open_session, run_async
from perdure.runtime.cli.text import Cell
from perdure.store.errors import StoreError
from perdure.store.records import ExecutionSummary, Workflow
from perdure.store.scripts.search import SearchResult

READING = Reading()
LIMIT: Final = 20  # what fits on a screen
EXECUTION_HEADS: Final = ("ID", "WORKFLOW", "STATUS", "STEPS", "CREATED", "ERROR")
WORKFLOW_HEADS: Final = ("WORKFLOW", "VERSION", "REVISION", "PUBLISHED", "DESCRIPTION")


def search(*words: str, limit: Limit = LIMIT, options: Reading = READING) -> int:
    """Find workflows and ended executions that have all these words, newest first.

    Words of ids, names, inputs, errors and definitions, in whatever case; 'lam*' finds lamp, too.

    perdure search brick refused

    Args:
        words: What to look for.
        limit: How many executions at most.
    """
    session = open_session(options)
    if not words:
        raise UsageError("search: say at least one word")

    session.check_database()

    async def main() -> int:
        found = await _found(session, " ".join(words), limit)
        if session.out.format != "table":
            session.out.json(found)
            return Exit.DONE
        _show(session, found)
        return Exit.DONE

    return run_async(main)


async def _found(session: Session, words: str, limit: int) -> SearchResult:
    """Search, after bringing the index up to date where that is needed and can be done."""
    async with session.looking() as store:
        found = await store.search(words, limit=limit)
    if not found.is_behind:
        return found
    try:
        async with session.runtime("client") as runtime:
            found = await runtime.search(words, limit=limit)
    except* StoreError as errors:
        session.note(f"what ended just now may be missing: {errors.exceptions[0]}")
    return found


def _show(session: Session, found: SearchResult) -> None:
    out = session.out
    if found.workflows:
        out.table(WORKFLOW_HEADS, [_workflow_row(each, session) for each in found.workflows])
    if found.workflows and found.executions:
        out.write("\n")
    if found.executions:
        out.table(EXECUTION_HEADS, [_execution_row(each, session) for each in found.executions])
    if not found.workflows and not found.executions:
        session.note("nothing was found; what has not ended is not searched (`perdure list`)")


def _workflow_row(each: Workflow, session: Session) -> Sequence[Cell | str]:
    version = each.version or "–"
    published = ago(each.created_at, now=session.now())
    return each.name, version, each.revision[:12], published, each.description or ""


def _execution_row(each: ExecutionSummary, session: Session) -> Sequence[Cell | str]:
    error = each.error
    return (
        each.id,
        each.workflow,
        session.out.word(each.status),
        progress(each.steps_completed, each.steps_total),
        ago(each.created_at, now=session.now()),
        Cell(f"{error.step or ''} {error.type}: {error.message}".strip(), "red") if error else "",
    )
