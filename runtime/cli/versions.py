"""Versions of a workflow from the command line, and executions that move between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.runtime.cli.exit_codes import Exit
from perdure.runtime.cli.many import to_all
from perdure.runtime.cli.options import Reading
from perdure.runtime.cli.render import ago, value
from perdure.runtime.cli.session import Session, open_session, run_async
from perdure.runtime.cli.text import Cell

if TYPE_CHECKING:
    from perdure.runtime.changes import Change
    from perdure.runtime.language.migrating import Verdict
    from perdure.store.records import WorkflowVersion

DEFAULTS = Reading()
REVISION_SHOWN = 12  # characters of a revision; as many as tell a few thousand apart


def versions(name: str, /, *, options: Reading = DEFAULTS) -> int:
    """List the versions of a workflow, newest first, with the executions of each.

    Args:
        name: The workflow.
    """
    session = open_session(options)

    async def main() -> int:
        async with session.runtime("client") as runtime:
            found = await runtime.versions.list(name)
        _show_versions(session, found)
        return Exit.DONE

    return run_async(main)


def activate(name: str, version: str, /, *, options: Reading = DEFAULTS) -> int:
    """Let a workflow's name stand for one of its versions from now on; executions stay on theirs.

    Args:
        name: The workflow.
        version: Its label, or the beginning of its revision.
    """
    session = open_session(options)

    async def main() -> int:
        async with session.runtime("client") as runtime:
            _show_versions(session, [await runtime.versions.activate(name, version)])
        return Exit.DONE

    return run_async(main)


def deactivate(name: str, /, *, options: Reading = DEFAULTS) -> int:
    """Let nothing start by a workflow's name until a version of it is made active; executions go on.

    Args:
        name: The workflow.
    """
    session = open_session(options)

    async def main() -> int:
        async with session.runtime("client") as runtime:
            await runtime.versions.deactivate(name)
            found = await runtime.versions.list(name)
        _show_versions(session, found)
        return Exit.DONE

    return run_async(main)


def diff(name: str, before: str, after: str, /, *, options: Reading = DEFAULTS) -> int:
    """Show what differs between two versions of a workflow.

    Args:
        name: The workflow.
        before: The version to begin with: its label, or the beginning of its revision.
        after: The one to compare it with.
    """
    session = open_session(options)

    async def main() -> int:
        async with session.runtime("client") as runtime:
            found = await runtime.versions.diff(name, before, after)
        if session.out.format == "table":
            _show_changes(session, found, heads=(before, after))
        else:
            session.out.records(found)
        return Exit.DONE

    return run_async(main)


def migrate_execution(
    session: Session, prefix: str, version: str, *, is_rehearsal: bool, by: str | None
) -> int:
    """Let an execution go on as one of another version, or say what that would mean."""

    async def main() -> int:
        async with session.runtime("client") as runtime:
            id_ = await runtime.find(prefix)
            verdict = await runtime.versions.migrate(id_, version, dry_run=is_rehearsal, by=by)
        _show_verdict(session, id_, version, verdict, is_rehearsal=is_rehearsal)
        return Exit.DONE if verdict.may_move else Exit.NOT_ALLOWED

    return run_async(main)


def migrate_all(session: Session, where: str, version: str, *, is_rehearsal: bool, by: str | None) -> int:
    """Let all that a filter means go on as one of another version, or say which could."""
    return to_all(
        session, lambda runtime: runtime.versions.migrate_all(where, version, dry_run=is_rehearsal, by=by)
    )


def _show_verdict(session: Session, id_: str, version: str, verdict: Verdict, *, is_rehearsal: bool) -> None:
    out = session.out
    if out.format != "table":
        out.json({"execution": id_, "to": version, "moved": not is_rehearsal, "verdict": verdict})
        return
    for blocker in verdict.blockers:
        out.write(out.paint(Cell(f"no: {blocker}", "red")) + "\n")
    if verdict.may_move:
        word = "may move" if is_rehearsal else "moved"
        out.write(f"{out.paint(Cell(word, 'green'))} to {version}  {id_}\n")
    _show_changes(
        session, list(verdict.changes), heads=("now", "then") if is_rehearsal else ("before", "now")
    )


def _show_changes(session: Session, changes: list[Change], *, heads: tuple[str, str]) -> None:
    if changes:
        rows = [(change.path, value(change.before), value(change.after)) for change in changes]
        session.out.table(("WHAT", *heads), rows)


def _show_versions(session: Session, found: list[WorkflowVersion]) -> None:
    if session.out.format != "table":
        session.out.records(found)
        return
    session.out.table(
        ("VERSION", "REVISION", "ACTIVE", "EXECUTIONS", "UNFINISHED", "PUBLISHED", "BY"),
        [
            (
                one.version or "–",
                one.revision[:REVISION_SHOWN],
                Cell("active", "green") if one.is_active else "–",
                str(one.executions),
                str(one.unfinished),
                ago(one.created_at, now=session.now()),
                one.author or "–",
            )
            for one in found
        ],
    )
