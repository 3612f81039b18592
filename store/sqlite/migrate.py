"""Brings a database's schema up to date, one numbered SQL file after the other.

Before a file with a history is changed it is copied to `PATH.before-VERSION`. That is the way back:
install the release that made the file, and `perdure restore-db PATH.before-VERSION`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final

from perdure.store.migration import Migrated, Migration, lacking, migrations_of, unfit, wanted
from perdure.store.sqlite.files import reading

PACKAGE: Final = "perdure.store.sqlite"
TABLE: Final = """
CREATE TABLE IF NOT EXISTS perdure_migrations (
    version    INTEGER PRIMARY KEY,
    name       TEXT NOT NULL,
    checksum   TEXT NOT NULL,
    applied_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ'))
)
"""


def migrations() -> list[Migration]:
    """Every migration of a file that this release knows, oldest first."""
    return migrations_of(PACKAGE)


def migrate(
    connection: sqlite3.Connection,
    path: str,
    *,
    keep: Callable[[str, int], str] | None = None,
    to: int | None = None,
    rehearse: bool = False,
) -> Migrated:
    """Apply what is missing (up to version `to`), all of it in one transaction.

    `keep(path, version)` copies a file that has a history before the migration to that version, and
    names the copy; nobody else can write meanwhile. A migration that fails takes its copy away. A
    rehearsal does everything but the copy and the commit. Raises MigrationError, sqlite3.Error.
    """
    if not wanted(missing(connection, path), path, to=to, version=version_of(connection)):
        return Migrated(applied=())
    connection.execute("BEGIN IMMEDIATE")
    kept: str | None = None
    is_applied = False
    try:
        connection.execute(TABLE)
        stands = version_of(connection)
        todo = wanted(missing(connection, path), path, to=to, version=stands)
        if keep is not None and todo and stands and not rehearse:
            kept = keep(path, todo[0].version)
        for migration in todo:
            try:
                _apply(connection, migration)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_ERROR:
                    raise
                raise unfit(migration, error, path, stands=stands) from error
        is_applied = not rehearse
        connection.execute("ROLLBACK" if rehearse else "COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        if kept is not None and not is_applied:
            # The file is as it was; a start that fails again and again must not fill the disk. A
            # commit that fails may have happened all the same: then the copy stays.
            Path(kept).unlink(missing_ok=True)
        raise
    return Migrated(applied=tuple(todo), kept=kept)


def version_of(connection: sqlite3.Connection) -> int:
    """The schema's version; 0 where perdure has made none."""
    if not _has_history(connection):
        return 0
    return max(_applied(connection), default=0)


def missing(connection: sqlite3.Connection, path: str) -> list[Migration]:
    """What the file lacks, oldest first. Raises MigrationError when its history is not ours."""
    return lacking(_applied(connection) if _has_history(connection) else {}, path, known=migrations())


def _has_history(connection: sqlite3.Connection) -> bool:
    found = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'perdure_migrations'")
    return found.fetchone() is not None


def _applied(connection: sqlite3.Connection) -> dict[int, str]:
    return dict(connection.execute("SELECT version, checksum FROM perdure_migrations ORDER BY version"))


def _apply(connection: sqlite3.Connection, migration: Migration) -> None:
    """Run one migration. Raises sqlite3.Error."""
    for statement in _statements(migration.sql):
        connection.execute(statement)
    connection.execute(
        "INSERT INTO perdure_migrations (version, name, checksum) VALUES (?, ?, ?)",
        (migration.version, migration.name, migration.checksum),
    )


def _statements(sql: str) -> list[str]:
    """Cut a script into statements; `executescript` would commit behind our back."""
    statements: list[str] = []
    pending = ""
    for line in sql.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            statements.append(pending)
            pending = ""
    return statements if not pending.strip() else [*statements, pending]


def has_schema(path: str) -> bool:
    """Whether the file is a database of ours, of whatever version; looking changes nothing.

    Raises StoreCorrupt when it is no database at all, StoreLocked, StoreError.
    """
    with reading(path) as connection:
        return _has_history(connection)
