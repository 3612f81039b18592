"""`perdure import`: takes over what earlier systems have left in their own databases, and takes it back."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Final

from cyclopts import Parameter

from perdure.runtime.cli.exit_codes import Exit
from perdure.runtime.cli.options import Flag, Reading, UsageError
from perdure.runtime.cli.render import counted
from perdure.runtime.cli.session import Session, open_session, run_async
from perdure.runtime.cli.text import clean
from perdure.runtime.importing.statuses import CHOICES, spelling
from perdure.runtime.importing.taking_over import Report, files_in, import_file, roll_back, source_of
from perdure.runtime.language.names import NAME_RULE, is_name
from perdure.store.sqlite.backup import back_up
from perdure.store.sqlite.migrate import has_schema
from perdure.store.states import State

READING = Reading()
BATCH: Final = "%Y%m%d-%H%M%S"
REASONS_SHOWN: Final = 20  # of one file; --format json has all of them
FILES: Final = ("file", "shape", "runs", "imported", "known", "refused")
STATUSES: Final = ("its status", "becomes", "runs")

Words = Annotated[tuple[str, ...], Parameter(name="--map", negative="")]


def import_(
    path: str | None = None,
    /,
    *,
    dry_run: Flag = False,
    rollback: str | None = None,
    batch: str | None = None,
    source: str | None = None,
    map_: Words = (),
    options: Reading = READING,
) -> int:
    """Import the history that an earlier system has left: a database FILE, or every one in a FOLDER.

    Known are workflow_runs/workflow_steps/workflow_outputs and executions with their steps. The files
    are only read. What is imported has ended: what was running then failed, what had not begun or was
    at rest was cancelled, and each says so. Original rows are kept whole in the log. Repeated, it
    imports what is new. Code 1 when something was refused.

    Args:
        path: A database file, or a folder with some.
        dry_run: Say what would become of each run; nothing is written.
        rollback: Take that batch back: delete what it has brought.
        batch: What this import is called, by default the time of day.
        source: What runs of this one file are told by, by default the name of the file.
        map_: A status of your own, as WORD=completed, WORD=failed or WORD=cancelled.
    """
    session = open_session(options)
    if (path is None) == (rollback is None):
        raise UsageError("import: name a file or folder, or a batch with --rollback")
    if rollback is not None and dry_run:
        raise UsageError("--dry-run: is for importing; what a batch has brought `perdure list` shows")
    if path is None:
        return run_async(lambda: _roll_back(session, str(rollback)))
    files = files_in(path)
    if source is not None and len(files) != 1:
        raise UsageError(f"--source {source}: is for one file, and {path} has {len(files)}")
    sources = {file: source or source_of(file, path) for file in files}
    name = batch or session.now().strftime(BATCH)
    if not is_name(name):
        raise UsageError(f"--batch {name}: must be {NAME_RULE}: a copy of the database is called after it")
    own = _own_words(map_)
    return run_async(lambda: _import(session, sources, batch=name, own=own, is_rehearsal=dry_run))


def _own_words(pairs: tuple[str, ...]) -> dict[str, State]:
    """What `--map` says. Raises UsageError."""
    own: dict[str, State] = {}
    for pair in pairs:
        word, _, meaning = pair.partition("=")
        if not word or meaning not in CHOICES:
            raise UsageError(f"--map {pair}: must be WORD=completed, WORD=failed or WORD=cancelled")
        own[spelling(word)] = CHOICES[meaning]
    return own


async def _import(
    session: Session, sources: dict[str, str], *, batch: str, own: dict[str, State], is_rehearsal: bool
) -> int:
    db = session.settings.db
    is_there = "://" in db or _is_database(db)
    kept = _keep(session, batch) if is_there and not is_rehearsal else None
    at = round(session.now().timestamp() * 1_000)
    store = session.store() if is_there or not is_rehearsal else None
    if store is not None:
        await store.open()
    try:
        reports = [
            await import_file(
                store, file, source=source, batch=batch, own=own, at=at, is_rehearsal=is_rehearsal
            )
            for file, source in sources.items()
        ]
    finally:
        if store is not None:
            await store.close()
    _show(session, reports, batch=batch, kept=kept, is_rehearsal=is_rehearsal)
    return Exit.ATTENTION if any(one.refused or one.why for one in reports) else Exit.DONE


def _is_database(path: str) -> bool:
    return Path(path).exists() and has_schema(path)


def _keep(session: Session, batch: str) -> str | None:
    """Copy the database first; a server is copied by its own tools."""
    db = session.settings.db
    if "://" in db:
        session.note("a server is not copied first: pg_dump does that (`perdure backup` shows the command)")
        return None
    return back_up(db, f"{db}.before-import-{batch}", overwrite=True).path


async def _roll_back(session: Session, batch: str) -> int:
    session.check_database()
    store = session.store(must_exist=True)
    await store.open()
    try:
        deleted = await roll_back(store, batch)
    finally:
        await store.close()
    if session.out.format != "table":
        session.out.json({"batch": batch, "deleted": deleted})
        return Exit.DONE
    session.out.write(
        f"{session.out.done()}  {counted(deleted, 'execution')} of batch {clean(batch)} deleted\n"
    )
    return Exit.DONE


def _show(
    session: Session, reports: list[Report], *, batch: str, kept: str | None, is_rehearsal: bool
) -> None:
    statuses: Counter[tuple[str, str]] = Counter()
    for report in reports:
        statuses.update(report.statuses)
    if session.out.format != "table":
        session.out.json(_told(reports, statuses, batch=batch, kept=kept, is_rehearsal=is_rehearsal))
        return
    out = session.out
    if statuses:
        rows = [(was, is_, str(count)) for (was, is_), count in sorted(statuses.items())]
        out.table(STATUSES, rows)
        out.write("\n")
    out.table(FILES, [_row(report) for report in reports])
    for report in reports:
        _show_reasons(session, report)
    imported = sum(report.imported for report in reports)
    would = "would be imported: nothing was written" if is_rehearsal else f"imported in batch {clean(batch)}"
    out.write(f"{out.done()}  {counted(imported, 'execution')} {would}\n")
    if kept is not None:
        undo = f"; to undo: {session.command('import', '--rollback', batch)}" if imported else ""
        session.note(f"what was there is kept as {kept}{undo}")


def _row(report: Report) -> tuple[str, ...]:
    counts = (report.runs, report.imported, report.known, len(report.refused))
    return (report.path, report.shape or "–", *map(str, counts))


def _show_reasons(session: Session, report: Report) -> None:
    if report.why:
        session.note(f"{report.path}: {report.why.removeprefix(report.path).strip()}")
    for which, why in report.refused[:REASONS_SHOWN]:
        session.note(f"{report.path}: {which}: {why}")
    if (more := len(report.refused) - REASONS_SHOWN) > 0:
        session.note(f"{report.path}: and {more:,} more; --format json has all of them")
    for old, new in report.renamed.items():
        session.note(f"{report.path}: {old!r} is called {new!r} here")


def _told(
    reports: list[Report],
    statuses: Counter[tuple[str, str]],
    *,
    batch: str,
    kept: str | None,
    is_rehearsal: bool,
) -> dict[str, Any]:
    return {
        "batch": batch,
        "dry_run": is_rehearsal,
        "kept": kept,
        "statuses": [
            {"was": was, "is": is_, "runs": count} for (was, is_), count in sorted(statuses.items())
        ],
        "files": [
            {
                "path": report.path,
                "shape": report.shape,
                "why": report.why,
                "rows": report.rows,
                "runs": report.runs,
                "imported": report.imported,
                "known": report.known,
                "refused": [{"row": which, "why": why} for which, why in report.refused],
                "renamed": report.renamed,
            }
            for report in reports
        ],
    }
