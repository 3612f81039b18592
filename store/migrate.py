"""Brings a database's schema up to date, one numbered SQL file after the other.

What was applied is recorded with its checksum. A file that was changed after it had been applied, or
a schema newer than this release, is refused before anything is touched.
"""

from __future__ import annotations

import hashlib
import sqlite3
from importlib import resources
from typing import Final

import msgspec

from perdure.store.errors import MigrationError

TABLE: Final = """
CREATE TABLE IF NOT EXISTS perdure_migrations (
    version    INTEGER PRIMARY KEY,
    name       TEXT NOT NULL,
    checksum   TEXT NOT NULL,
    applied_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ'))
)
"""


class Migration(msgspec.Struct, frozen=True):
    """One numbered step of the schema's history."""

    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """Of the SQL text."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def migrations() -> list[Migration]:
    """Every migration this release knows, oldest first."""
    folder = resources.files("perdure.store") / "migrations"
    found = [
        Migration(int(file.name.split("_", 1)[0]), file.name.removesuffix(".sql"), file.read_text("utf-8"))
        for file in folder.iterdir()
        if file.name.endswith(".sql")
    ]
    return sorted(found, key=lambda migration: migration.version)


def migrate(connection: sqlite3.Connection, path: str) -> None:
    """Apply what is missing, all of it in one transaction. Raises MigrationError, sqlite3.Error."""
    known = migrations()
    if _is_current(connection, known, path):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute(TABLE)
        applied = _applied(connection)
        for migration in known:
            if migration.version not in applied:
                _apply(connection, migration, path)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _is_current(connection: sqlite3.Connection, known: list[Migration], path: str) -> bool:
    """Whether nothing is missing. Raises MigrationError when the history is not ours."""
    found = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'perdure_migrations'").fetchone()
    if found is None:
        return False
    applied = _applied(connection)
    by_version = {migration.version: migration for migration in known}
    for version, checksum in applied.items():
        if version not in by_version:
            raise MigrationError(
                f"{path} has schema version {version}, this release knows {known[-1].version}: "
                "upgrade perdure, or use another database"
            )
        if by_version[version].checksum != checksum:
            raise MigrationError(
                f"{path} was made with another text of migration {by_version[version].name}: "
                "it comes from a development version; use another database"
            )
    return len(applied) == len(known)


def _applied(connection: sqlite3.Connection) -> dict[int, str]:
    return dict(connection.execute("SELECT version, checksum FROM perdure_migrations ORDER BY version"))


def _apply(connection: sqlite3.Connection, migration: Migration, path: str) -> None:
    """Run one migration. Raises MigrationError when it does not fit what is in the file."""
    for statement in _statements(migration.sql):
        try:
            connection.execute(statement)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_ERROR:
                raise
            raise MigrationError(
                f"{path} cannot take migration {migration.name} ({error}): it has tables of that name "
                "that perdure did not make; use another file"
            ) from error
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
