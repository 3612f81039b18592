"""`perdure migrate`: brings the database's schema up to date, or says what that would do."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from perdure.runtime.cli.exit_codes import Exit
from perdure.runtime.cli.options import Flag, Reading, UsageError
from perdure.runtime.cli.session import Session, open_session, run_async
from perdure.runtime.cli.text import clean
from perdure.runtime.cli.versions import migrate_all, migrate_execution
from perdure.store.migration import Migrated
from perdure.store.upgrade import Standing, standing, upgrade

READING = Reading()


def migrate(
    id: str | None = None,
    /,
    *,
    where: str | None = None,
    to: str | None = None,
    by: str | None = None,
    dry_run: Flag = False,
    print_: Annotated[bool, Parameter(name="--print", negative="")] = False,
    options: Reading = READING,
) -> int:
    """Bring the database's schema up to date. What opens it to write does the same by itself.

    All of it is one transaction, and a file is copied to DATABASE.before-VERSION first. The way back is
    that copy: install the older release, then `perdure restore-db DATABASE.before-VERSION`.

    With an ID, an execution at rest goes on as one of another version of its workflow: what it has
    completed has to be there, unchanged. `perdure migrate ID --to 2 --dry-run` says what would differ.

    perdure migrate --where 'workflow=review state=failed' --to 2 --dry-run

    Args:
        id: Execution that is to move: its id, a unique beginning of it, @last or NAME@last.
        where: Instead of an ID: a filter such as 'workflow=x state=failed'; each moves that can.
        to: The schema's version, to go only so far; with an ID or --where that of the workflow.
        by: Who asks; kept in the execution's log.
        dry_run: Say what it would do; a schema is tried and undone.
        print_: Print the SQL that would be run; nothing is done.
    """
    session = open_session(options)
    session.check_database()
    if id is not None or where is not None:
        if to is None or print_ or (id is not None and where is not None):
            raise UsageError(
                "migrate: give an ID or --where, and the version of the workflow with --to; "
                "--print is for schemas"
            )
        if where is not None:
            return migrate_all(session, where, to, is_rehearsal=dry_run, by=by)
        return migrate_execution(session, id or "", to, is_rehearsal=dry_run, by=by)
    db, target = session.settings.db, _schema_version(to)
    if print_ and dry_run:
        raise UsageError("--print and --dry-run: choose one of them")

    async def main() -> int:
        before = await standing(db)
        if print_:
            _print(session, before, to=target)
            return Exit.DONE
        done = await upgrade(db, to=target, rehearse=dry_run)
        _report(session, before, done, is_rehearsal=dry_run)
        return Exit.DONE

    return run_async(main)


def _schema_version(text: str | None) -> int | None:
    """The number of a schema's version. Raises UsageError."""
    if text is None or text.isdecimal():
        return None if text is None else int(text)
    raise UsageError(f"--to {text}: a schema's version is a number; for an execution's give its ID, too")


def _print(session: Session, before: Standing, *, to: int | None) -> None:
    for migration in before.missing:
        if to is None or migration.version <= to:
            session.out.write(f"-- {migration.name}\n{migration.sql}\n")


def _report(session: Session, before: Standing, done: Migrated, *, is_rehearsal: bool) -> None:
    version = done.applied[-1].version if done.applied else before.version
    names = [migration.name for migration in done.applied]
    if session.out.format != "table":
        session.out.json(
            {
                "from": before.version,
                "to": version,
                "known": before.known,
                "applied": names,
                "kept": done.kept,
                "undone": is_rehearsal,
            }
        )
        return
    out = session.out
    word = out.done()
    if not names:
        out.write(f"{word}  the schema is at version {version}, this release has {before.known}\n")
        return
    what = "fits, and was undone" if is_rehearsal else f"the schema is at version {version}"
    out.write(f"{word}  {clean(', '.join(names))}: {what}\n")
    if done.kept is not None:
        session.note(f"what was there is kept as {done.kept}")
