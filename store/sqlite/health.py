"""Examines a database without changing it: the file, its schema, and what rests in it for long.

It decides nothing: what counts as long, who is alive and what to do about it is for others to say.
A file that is damaged is a finding here, not an error.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path

import msgspec

from perdure.store.errors import StoreCorrupt, StoreError
from perdure.store.records import Record, Runner
from perdure.store.scripts import rows
from perdure.store.scripts.resting import Bounds, Work, work
from perdure.store.sqlite import migrate
from perdure.store.sqlite.connection import run
from perdure.store.sqlite.files import LOCK_WAIT_S, reading, size_of
from perdure.store.sqlite.identity import Identity, identity_of
from perdure.store.sqlite.locks import writer_of
from perdure.store.sqlite.verify import FAULTS_MAX, verify


class Health(Record, frozen=True, kw_only=True):
    """What an examination found. Without `work` the schema is not this release's, or the file is damaged."""

    path: str
    size_bytes: int
    wal_bytes: int
    free_bytes: int
    sqlite_version: str
    journal_mode: str | None
    schema_version: int | None
    schema_known: int
    names: int
    is_private: bool
    damage: tuple[str, ...]
    runners: tuple[Runner, ...]
    work: Work | None
    is_locked: bool = False  # for as long as a write would wait
    locked_by: int | None = None  # the process, where it can be seen
    identity: Identity | None = None
    keys: tuple[str, ...] = ()  # ids of those that payloads are encrypted with


def examine(path: str, bounds: Bounds, *, lock_wait_s: float = LOCK_WAIT_S) -> Health:
    """Look at everything there is to see, the write lock too. Raises MigrationError, StoreError."""
    found = Path(path).stat() if Path(path).is_file() else None
    health = Health(
        path=path,
        size_bytes=size_of(path),
        wal_bytes=size_of(f"{os.path.realpath(path)}-wal"),
        free_bytes=0,
        sqlite_version=sqlite3.sqlite_version,
        journal_mode=None,
        schema_version=None,
        schema_known=migrate.migrations()[-1].version,
        names=1 if found is None else found.st_nlink,
        is_private=found is None or not stat.S_IMODE(found.st_mode) & (stat.S_IRWXG | stat.S_IRWXO),
        damage=(),
        runners=(),
        work=None,
    )
    try:
        with reading(path, lock_wait_s=lock_wait_s) as connection:
            return _examined(connection, health, bounds)
    except StoreCorrupt as error:
        return msgspec.structs.replace(health, damage=(str(error),))


def runners_of(path: str) -> list[Runner]:
    """The processes on the list; none where the file is damaged. Raises StoreError."""
    try:
        with reading(path) as connection:
            return list(map(rows.runner, connection.execute(rows.RUNNER)))
    except StoreCorrupt:
        return []


def _examined(connection: sqlite3.Connection, health: Health, bounds: Bounds) -> Health:
    """What only SQLite can tell."""
    version = migrate.version_of(connection)
    if not version:
        raise StoreError(f"{health.path} is no perdure database: name another with --db or PERDURE_DB")
    is_current = not migrate.missing(connection, health.path)
    [mode] = connection.execute("PRAGMA journal_mode").fetchone()
    [page_bytes] = connection.execute("PRAGMA page_size").fetchone()
    [pages_free] = connection.execute("PRAGMA freelist_count").fetchone()
    health = msgspec.structs.replace(
        health,
        schema_version=version,
        journal_mode=mode,
        free_bytes=page_bytes * pages_free,
        identity=identity_of(connection),
    )
    damage = verify(connection, None) if is_current else _broken(connection)
    health = msgspec.structs.replace(health, damage=tuple(damage))
    health = _tried_lock(connection, health)
    if damage or not is_current:
        return health
    connection.execute("BEGIN")  # one moment for all questions
    runners = tuple(map(rows.runner, connection.execute(rows.RUNNER)))
    keys = tuple(row[0] for row in connection.execute("SELECT id FROM workflow_keys ORDER BY id"))
    return msgspec.structs.replace(health, runners=runners, work=run(connection, work(bounds)), keys=keys)


def _tried_lock(connection: sqlite3.Connection, health: Health) -> Health:
    """Whether a write could begin, which is then left; a file that may only be read has no writers."""
    connection.execute("PRAGMA query_only = OFF")  # or SQLite would not even try
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
            return health
        return msgspec.structs.replace(health, is_locked=True, locked_by=writer_of(health.path))
    else:
        connection.execute("ROLLBACK")
        return health
    finally:
        connection.execute("PRAGMA query_only = ON")


def _broken(connection: sqlite3.Connection) -> list[str]:
    """Damage of the file itself; more cannot be said of a schema of another release."""
    found = connection.execute(f"PRAGMA integrity_check({FAULTS_MAX})")
    return [f"the file is damaged: {text}" for (text,) in found if text != "ok"]
