"""`perdure migrate`: brings the database's schema up to date, or says what that would do."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from perdure.runtime.cli.exit_codes import Exit
from perdure.runtime.cli.options import Flag, Reading, UsageError
from perdure.runtime.cli.session import Session, open_session, run_async
from perdure.runtime.cli.text import Cell, clean
from perdure.store.migrate import Migrated
from perdure.store.upgrade import Standing, standing, upgrade

READING = Reading()


def migrate(
    *,
    to: int | None = None,
    dry_run: Flag = False,
    print_: Annotated[bool, Parameter(name="--print", negative="")] = False,
    options: Reading = READING,
) -> int:
    """Bring the database's schema up to date. What opens it to write does the same by itself.

    All of it is one transaction, and a file is copied to DATABASE.before-VERSION first. The way back is
    that copy: install the older release, then `perdure restore-db DATABASE.before-VERSION`.

    Args:
        to: Only up to that version.
        dry_run: Do it, see that it fits, and undo it.
        print_: Print the SQL that would be run; nothing is done.
    """
    session = open_session(options)
    session.check_database()
    db = session.settings.db
    if print_ and dry_run:
        raise UsageError("--print and --dry-run: choose one of them")

    async def main() -> int:
        before = await standing(db)
        if print_:
            _print(session, before, to=to)
            return Exit.DONE
        done = await upgrade(db, to=to, rehearse=dry_run)
        _report(session, before, done, is_rehearsal=dry_run)
        return Exit.DONE

    return run_async(main)


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
    word = out.paint(Cell("+ done" if out.is_plain else "✔ done", "green"))
    if not names:
        out.write(f"{word}  the schema is at version {version}, this release has {before.known}\n")
        return
    what = "fits, and was undone" if is_rehearsal else f"the schema is at version {version}"
    out.write(f"{word}  {clean(', '.join(names))}: {what}\n")
    if done.kept is not None:
        session.note(f"what was there is kept as {done.kept}")
