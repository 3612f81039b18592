"""Puts a copy in a database's place, and keeps what was there.

The order is what makes it safe to be killed in the middle. The copy is made and checked beside the
target while nothing is touched. Then the target is taken for this process alone, and its log is
written back into it, so that it is one file. It gets its second name, and only then the copy takes
the first name, in one step. So at every moment there is a whole database under the target's name:
until the last step the old one, after it the new one.

A target too damaged to be opened cannot be taken like this; it is set aside with its log as it is.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from perdure.store.errors import StoreCorrupt, StoreError, StoreLocked
from perdure.store.records import Record
from perdure.store.sqlite import migrate
from perdure.store.sqlite.backup import Backup, copy, settle
from perdure.store.sqlite.files import (
    COMPANIONS,
    UNFINISHED,
    free_name,
    partial,
    reading,
    sync_folder_of,
    uri,
)
from perdure.store.sqlite.translate import DAMAGED, translated

IN_USE_WAIT_S: Final = 1.0  # how long to wait for somebody who is just closing the target


class Restored(Record, frozen=True, kw_only=True):
    """What a restore has done; `kept` is where the database that was there is now, if there was one."""

    path: str
    kept: str | None
    backup: Backup


def restore(backup: str, path: str) -> Restored:
    """Make the database at `path` what `backup` holds; what was there is kept as PATH.before-restore-N.

    The backup stays as it is. Nothing is replaced unless the backup is sound and this release knows
    its schema, nor while anybody has the target open. Raises StoreLocked, StoreCorrupt,
    MigrationError, StoreError; then all is as it was.
    """
    if Path(path).exists() and Path(backup).exists() and Path(backup).samefile(path):
        raise StoreError(f"{backup} is the database itself: name a backup of it")
    place = os.path.realpath(path)
    with partial(place) as name:
        taken = _checked_copy(backup, name)
        kept = _replace(place, name)
    return Restored(path=path, kept=kept, backup=taken)


def inspect(backup: str) -> int:
    """The schema version of a backup this release can restore. Raises StoreError, MigrationError."""
    with reading(backup) as source:
        version = migrate.version_of(source)
        if not version:
            raise StoreError(f"{backup} is no perdure database: it cannot be restored")
        migrate.missing(source, backup)
    return version


def _checked_copy(backup: str, name: str) -> Backup:
    inspect(backup)
    with reading(backup) as source:
        copy(source, name)
    try:
        return settle(name, path=backup)
    except StoreCorrupt as error:
        raise StoreCorrupt(
            f"{backup} is damaged and was not restored: try an older backup; nothing was changed"
        ) from error


def _replace(place: str, name: str) -> str | None:
    """Put the file `name` at `place`; the name that what was there has now, if there was anything.

    Its log gets the second name before SQLite sees it: of a damaged file SQLite may throw it away.
    """
    if not any(Path(place + suffix).exists() for suffix in ("", *UNFINISHED)):
        _rename(name, place)
        sync_folder_of(place)
        return None
    kept = free_name(f"{place}.before-restore", first=1)
    is_settled = False
    try:
        _link(place, kept, UNFINISHED)
        with _taken(place) as is_one_file:
            if is_one_file:
                _unlink(kept, UNFINISHED)
            _link(place, kept, ("",))
            if not is_one_file:
                is_settled = True  # what is removed now is only under its second name
                _unlink(place, COMPANIONS)
            _rename(name, place)
            is_settled = True
            sync_folder_of(place)
    finally:
        if not is_settled:
            _unlink(kept, ("", *UNFINISHED))
    return kept


@contextmanager
def _taken(place: str) -> Iterator[bool]:
    """The target for this process alone, made one file; False where it is too damaged, or not there.

    Raises StoreLocked, StoreError.
    """
    if not Path(place).exists():
        yield False
        return
    with closing(_connect(place)) as connection:
        try:
            _take(connection, place)
            is_taken = True
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF not in DAMAGED:
                raise translated(error, place) from error
            connection.close()
            is_taken = False
        yield is_taken


def _connect(place: str) -> sqlite3.Connection:
    try:
        return sqlite3.connect(uri(place, "mode=rw"), uri=True, isolation_level=None, timeout=IN_USE_WAIT_S)
    except sqlite3.Error as error:
        raise translated(error, place) from error


def _take(connection: sqlite3.Connection, place: str) -> None:
    """Write the log back and lock the file; SQLite does so only when nobody else has it open."""
    connection.execute("PRAGMA journal_mode = DELETE").fetchone()
    connection.execute("BEGIN EXCLUSIVE")
    [mode] = connection.execute("PRAGMA journal_mode").fetchone()
    if mode != "delete":
        raise StoreLocked(place)  # somebody opened it between the two


def _link(place: str, kept: str, suffixes: Sequence[str]) -> None:
    """Give those files that are there a second name, for good."""
    try:
        for suffix in suffixes:
            if Path(place + suffix).exists():
                os.link(place + suffix, kept + suffix)
        sync_folder_of(place)
    except OSError as error:
        raise StoreError(
            f"{place} cannot be kept as {kept}: {error.strerror}; nothing was replaced"
        ) from error


def _unlink(path: str, suffixes: Sequence[str]) -> None:
    for suffix in suffixes:
        Path(path + suffix).unlink(missing_ok=True)


def _rename(name: str, place: str) -> None:
    try:
        Path(name).replace(place)
    except OSError as error:
        raise StoreError(f"{place} cannot be replaced: {error.strerror}") from error
