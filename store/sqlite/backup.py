"""Copies a database while others write to it: one moment of it, checked, in one file.

The copy is SQLite's own, page by page, inside one read transaction: without that every commit of
somebody else would make it begin again, and under load it would never end. Meanwhile the log cannot
be reset, so it grows by what is written during the copy.

A copy belongs to nobody. The list of runners stays behind, or whoever opens the copy would take the
processes at work on the original for its own, and ring them. And it is a store of its own, with an
identity of its own that says what it was copied from.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final

from perdure.store.errors import StoreCorrupt, StoreError
from perdure.store.records import Record
from perdure.store.scripts.rows import moment
from perdure.store.sqlite import migrate
from perdure.store.sqlite.files import (
    free_name,
    has_unfinished,
    partial,
    reading,
    size_of,
    sync,
    sync_folder_of,
)
from perdure.store.sqlite.identity import RENEW, identity_of
from perdure.store.sqlite.translate import translated

PAGES_AT_ONCE: Final = 256  # a mebibyte: between two of them a copy that nobody wants any more ends
DISOWN: Final = (
    "UPDATE workflow_executions SET runner_no = NULL WHERE runner_no IS NOT NULL",
    "DELETE FROM runners",
)


class TargetExists(StoreError):
    """There is a file where the copy was to be."""

    def __init__(self, path: str) -> None:
        """`path` is where it is."""
        super().__init__(f"{path} is there already and was left alone: choose another name, or say overwrite")
        self.path = path


class Abandoned(StoreError):
    """Nobody waits for the copy any more; nothing of it is left."""


class Backup(Record, frozen=True, kw_only=True):
    """A copy, and how far the work had come when it was taken."""

    path: str
    size_bytes: int
    schema_version: int
    executions: int
    last_event_at: datetime | None


def back_up(path: str, target: str, *, overwrite: bool = False) -> Backup:
    """Copy the database at `path` to the file `target`, whatever is being written meanwhile.

    When this returns the copy is complete, sound, on disk, and readable by its owner alone; when it
    raises there is nothing new. A file that is there stays unless `overwrite` says otherwise.
    Raises TargetExists, StoreCorrupt, StoreLocked, MigrationError, StoreError.
    """
    with reading(path) as source:
        return back_up_from(source, path, target, overwrite=overwrite)


def back_up_from(
    source: sqlite3.Connection,
    path: str,
    target: str,
    *,
    overwrite: bool = False,
    is_abandoned: Callable[[], bool] = lambda: False,
) -> Backup:
    """The same over a connection of the caller's, which is in no transaction. Raises Abandoned, too."""
    _refuse(path, target, overwrite=overwrite)
    if not migrate.version_of(source):
        raise StoreError(f"{path} is no perdure database: there is nothing to back up")
    migrate.missing(source, path)
    with partial(target) as name:
        copy(source, name, is_abandoned=is_abandoned)
        taken = settle(name, path=target)
        _put(name, target, overwrite=overwrite)
    return taken


def keep_before(path: str, version: int) -> str:
    """Keep the database as it is before the migration to `version`; the name of the copy."""
    kept = free_name(f"{path}.before-{version}", first=0)
    return back_up(path, kept).path


def copy(source: sqlite3.Connection, name: str, *, is_abandoned: Callable[[], bool] = lambda: False) -> None:
    """Copy what `source` sees at this moment over the file `name`. Raises StoreError, Abandoned."""

    def look_up(_status: int, _remaining: int, _total: int) -> None:
        if is_abandoned():
            raise Abandoned(f"the copy to {name} was called off")

    try:
        connection = sqlite3.connect(name, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode = OFF")  # a copy that fails is thrown away
            connection.execute("PRAGMA synchronous = OFF")  # and one that is complete is synced at the end
            source.execute("BEGIN")
            try:
                source.execute("SELECT count(*) FROM sqlite_master").fetchone()  # here the moment is fixed
                source.backup(connection, pages=PAGES_AT_ONCE, progress=look_up)
            finally:
                if source.in_transaction:  # which a failing disk has ended itself
                    source.execute("ROLLBACK")
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise translated(error, name) from error


def settle(name: str, *, path: str) -> Backup:
    """Check a copy, take it from its owners, make one file of it and bring it to the disk.

    `path` is where it is going to be. Raises StoreCorrupt, StoreError.
    """
    try:
        connection = sqlite3.connect(name, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode = DELETE")  # no companions: the file is all there is
            broken = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
            if broken != "ok":
                raise StoreCorrupt(
                    f"{path}: the copy is damaged ({broken}) and was thrown away: "
                    "look at the original with `perdure doctor`"
                )
            connection.execute("PRAGMA foreign_keys = ON")  # with a runner go the slots that it holds
            connection.execute("BEGIN IMMEDIATE")
            for statement in DISOWN:
                connection.execute(statement)
            if identity_of(connection) is not None:
                connection.execute(RENEW)
            connection.execute("COMMIT")
            version = migrate.version_of(connection)
            [executions] = connection.execute("SELECT count(*) FROM workflow_executions").fetchone()
            last = connection.execute("SELECT at FROM workflow_events ORDER BY id DESC LIMIT 1").fetchone()
        finally:
            connection.close()
        sync(name)
    except sqlite3.Error as error:
        raise translated(error, path) from error
    except OSError as error:
        raise StoreError(f"{path}: the copy cannot be brought to the disk: {error.strerror}") from error
    return Backup(
        path=path,
        size_bytes=size_of(name),
        schema_version=version,
        executions=executions,
        last_event_at=None if last is None else moment(last[0]),
    )


def _refuse(path: str, target: str, *, overwrite: bool) -> None:
    """Refuse what would harm a file that is there."""
    there = Path(target)
    if not there.parent.is_dir():
        raise StoreError(f"{target}: there is no folder {there.parent}: make it, or choose another place")
    if there.is_dir():
        raise StoreError(f"{target} is a folder: name the file in it")
    if not there.exists():
        return
    if Path(path).exists() and there.samefile(path):
        raise StoreError(f"{target} is the database itself: choose another name")
    if not overwrite:
        raise TargetExists(target)
    if has_unfinished(target):
        raise StoreError(f"{target} is a database somebody has open ({target}-wal): choose another name")


def _put(name: str, target: str, *, overwrite: bool) -> None:
    """Give the finished copy its name, all at once."""
    try:
        if overwrite or not _is_linked(name, target):
            Path(name).replace(target)
        sync_folder_of(target)
    except FileExistsError:
        raise TargetExists(target) from None
    except OSError as error:
        raise StoreError(f"{target} cannot be written: {error.strerror}") from error


def _is_linked(name: str, target: str) -> bool:
    """Whether a link could be made; unlike a rename it cannot replace a file that has just appeared."""
    try:
        os.link(name, target)
    except OSError as error:
        if error.errno == errno.EEXIST:
            raise
        return False  # a file system without links
    return True
