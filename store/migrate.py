"""Brings a database's schema up to date, one numbered SQL file after the other.

What was applied is recorded with its checksum. A file that was changed after it had been applied, or
a schema newer than this release, is refused before anything is touched.

Before a file with a history is changed it is copied to `PATH.before-VERSION`. That is the way back:
install the release that made the file, and `perdure restore-db PATH.before-VERSION`.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Final

import msgspec

from perdure.store.errors import MigrationError
from perdure.store.files import reading

TABLE: Final = """
CREATE TABLE IF NOT EXISTS perdure_migrations (
    version    INTEGER PRIMARY KEY,
    name       TEXT NOT NULL,
    checksum   TEXT NOT NULL,
    applied_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ'))
)
"""


HINTS: Final = {  # what SQLite says of a migration that does not fit, and what to do
    "already exists": "it has tables of that name that perdure did not make; use another file",
    "no such module": "the SQLite of this Python was built without it; use another Python",
}
REPORT: Final = "report it, and go on with the release before"


class Migration(msgspec.Struct, frozen=True):
    """One numbered step of the schema's history."""

    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """Of the SQL text."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def migrations(package: str = "perdure.store") -> list[Migration]:
    """Every migration this release knows for the kind of store that the package is, oldest first."""
    folder = resources.files(package) / "migrations"
    found = [
        Migration(int(file.name.split("_", 1)[0]), file.name.removesuffix(".sql"), file.read_text("utf-8"))
        for file in folder.iterdir()
        if file.name.endswith(".sql")
    ]
    return sorted(found, key=lambda migration: migration.version)


class Migrated(msgspec.Struct, frozen=True, kw_only=True):
    """What a migration has done: which steps, and where the file as it was before is kept."""

    applied: tuple[Migration, ...]
    kept: str | None = None


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


def wanted(missing: Sequence[Migration], place: str, *, to: int | None, version: int) -> Sequence[Migration]:
    """Those of the missing that lead to that version; all where none is named. Raises MigrationError."""
    if to is None or to == version:
        return missing if to is None else ()
    known = max([version, *(migration.version for migration in missing)])
    if to > known:
        raise MigrationError(f"{place} can be brought to version {known} by this release, not to {to}")
    if to < version:
        raise MigrationError(
            f"{place} is at version {version} and cannot be taken back to {to}: what was written since would "
            "be lost in silence. The way back: stop every process, install the release that made version "
            f"{to}, and put back the copy from before version {to + 1} "
            f"(`perdure restore-db {place}.before-{to + 1}`; on a server, your dump of it)"
        )
    return [migration for migration in missing if migration.version <= to]


def unfit(migration: Migration, error: Exception, place: str, *, stands: int) -> MigrationError:
    """What to say of a migration that does not fit what is there, which is undone up to where it `stands`."""
    said = str(error).splitlines()[0]
    hint = next((hint for sign, hint in HINTS.items() if sign in said), REPORT)
    where = f"; nothing was changed, the schema is at version {stands}" if stands else ""
    return MigrationError(f"{place} cannot take migration {migration.name} ({said}): {hint}{where}")


def version_of(connection: sqlite3.Connection) -> int:
    """The schema's version; 0 where perdure has made none."""
    if not _has_history(connection):
        return 0
    return max(_applied(connection), default=0)


def missing(connection: sqlite3.Connection, path: str) -> list[Migration]:
    """What the file lacks, oldest first. Raises MigrationError when its history is not ours."""
    return lacking(_applied(connection) if _has_history(connection) else {}, path, known=migrations())


def lacking(applied: Mapping[int, str], place: str, *, known: Sequence[Migration]) -> list[Migration]:
    """What a place lacks that has these versions, by checksum, oldest first. Raises MigrationError."""
    by_version = {migration.version: migration for migration in known}
    for version, checksum in applied.items():
        if version not in by_version:
            raise MigrationError(
                f"{place} has schema version {version}, this release knows {known[-1].version}: "
                "upgrade perdure, or use another database"
            )
        if by_version[version].checksum != checksum:
            raise MigrationError(
                f"{place} was made with another text of migration {by_version[version].name}: "
                "it comes from a development version; use another database"
            )
    return [migration for migration in known if migration.version not in applied]


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
