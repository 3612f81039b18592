"""The history of a schema: numbered SQL files, which of them a place lacks, and what cannot be brought along.

What was applied is recorded with its checksum. A file that was changed after it had been applied, or
a schema newer than this release, is refused before anything is touched.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Final

import msgspec

from perdure.store.errors import MigrationError

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


def migrations_of(package: str) -> list[Migration]:
    """Every migration this release knows for the kind of store that the package is, oldest first."""
    (place,) = import_module(package).__path__
    found = [
        Migration(int(file.name.split("_", 1)[0]), file.name.removesuffix(".sql"), file.read_text("utf-8"))
        for file in (Path(place) / "migrations").iterdir()
        if file.name.endswith(".sql")
    ]
    return sorted(found, key=lambda migration: migration.version)


class Migrated(msgspec.Struct, frozen=True, kw_only=True):
    """What a migration has done: which steps, and where the file as it was before is kept."""

    applied: tuple[Migration, ...]
    kept: str | None = None


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


def unfit(migration: Migration, error: Exception, place: str, *, stands: int) -> MigrationError:
    """What to say of a migration that does not fit what is there, which is undone up to where it `stands`."""
    said = str(error).splitlines()[0]
    hint = next((hint for sign, hint in HINTS.items() if sign in said), REPORT)
    where = f"; nothing was changed, the schema is at version {stands}" if stands else ""
    return MigrationError(f"{place} cannot take migration {migration.name} ({said}): {hint}{where}")
