"""Copies of the database: `perdure backup` takes one, `perdure restore-db` puts one back."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from perdure.runtime.cli.doctor import check_is_file, lives_on
from perdure.runtime.cli.exit_codes import Exit
from perdure.runtime.cli.options import Flag, Reading, UsageError
from perdure.runtime.cli.render import ago, counted, size
from perdure.runtime.cli.session import Session, open_session
from perdure.runtime.cli.text import clean
from perdure.store.errors import StoreLocked
from perdure.store.records import Runner
from perdure.store.sqlite.backup import Backup, back_up
from perdure.store.sqlite.health import runners_of
from perdure.store.sqlite.restore import inspect, restore

READING = Reading()


def backup(file: str, /, *, overwrite: Flag = False, options: Reading = READING) -> int:
    """Copy the database to FILE as it is at this moment, while it is in use.

    The copy is one file, checked, on disk, and readable by its owner alone. Executions in it belong
    to no process.

    Args:
        file: Where to; its folder must be there.
        overwrite: Replace a file that is there, once the copy is complete.
    """
    session = open_session(options)
    check_is_file(session)
    taken = back_up(session.settings.db, file, overwrite=overwrite)
    if session.out.format == "table":
        _say_done(session, f"{taken.path}  {_about(taken, session)}")
    else:
        session.out.json(taken)
    return Exit.DONE


def restore_db(file: str, /, *, yes: Flag = False, options: Reading = READING) -> int:
    """Put the backup FILE in the database's place. What was there is kept as DATABASE.before-restore-N.

    No process may be using the database. The backup is checked first, and stays as it is.

    Args:
        file: The backup.
        yes: Do not ask.
    """
    session = open_session(options)
    db = session.settings.db
    if "://" in db:
        check_is_file(session)
    inspect(file)
    _refuse_while_in_use(db)
    if not yes and Path(db).exists() and not _is_agreed(session, file):
        session.note("nothing was changed")
        return Exit.NOT_ALLOWED
    done = restore(file, db)
    if session.out.format != "table":
        session.out.json(done)
        return Exit.DONE
    _say_done(session, f"{done.path}  {_about(done.backup, session)}")
    if done.kept is not None:
        session.note(f"what was there is now {done.kept}")
    session.note(f"look at it: {session.command('doctor')}; go on with it: {session.command('worker')}")
    return Exit.DONE


def _is_agreed(session: Session, file: str) -> bool:
    """Ask on the terminal. Raises UsageError where there is none."""
    if not sys.stdin.isatty():
        raise UsageError(f"{session.settings.db} would be replaced by {file} (and kept): say --yes")
    sys.stderr.write(clean(f"Replace {session.settings.db} by {file}? What is there is kept. [y/N] "))
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _refuse_while_in_use(db: str) -> None:
    """Say which process has the database; who is not on the list is found out by SQLite's own lock.

    Locks are looked for in the folder, too: the list of a damaged file cannot be read. Raises StoreLocked.
    """
    if not Path(db).exists():
        return
    lives = lives_on(db)
    for runner in runners_of(db):
        if lives(runner):
            raise StoreLocked(db, pid=runner.pid)
    folder = Path(f"{db}.runners")
    if folder.is_dir() and any(lives(_holder(path)) for path in folder.glob("*.lock")):
        raise StoreLocked(db)


def _holder(lock: Path) -> Runner:
    """Whoever holds that lock."""
    from perdure.store.scripts.rows import EPOCH

    return Runner(
        no=0,
        id=lock.stem,
        pid=os.getpid(),
        host="",
        kind="",
        lock_path=str(lock),
        doorbell=None,
        started_at=EPOCH,
        heartbeat_at=EPOCH,
    )


def _about(taken: Backup, session: Session) -> str:
    last = (
        ""
        if taken.last_event_at is None
        else f", the last event {ago(taken.last_event_at, now=session.now())}"
    )
    return f"{size(taken.size_bytes)}, {counted(taken.executions, 'execution')}{last}"


def _say_done(session: Session, text: str) -> None:
    out = session.out
    out.write(f"{out.done()}  {clean(text)}\n")
