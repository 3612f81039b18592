"""Says where a store's schema stands, and brings it up to date on demand, whichever kind of store it is.

Opening a store does the same by itself; this is for whoever wants to see it first, or to choose when.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from perdure.store.errors import StoreError
from perdure.store.migration import Migrated, Migration
from perdure.store.records import Record
from perdure.store.sqlite import migrate
from perdure.store.sqlite.backup import keep_before
from perdure.store.sqlite.files import LOCK_WAIT_S, reading, uri
from perdure.store.sqlite.translate import translated

if TYPE_CHECKING:
    from types import ModuleType


class Standing(Record, frozen=True, kw_only=True):
    """Where a schema stands; `missing` is what this release would do to it, oldest first."""

    version: int
    known: int
    missing: tuple[Migration, ...]


async def standing(location: str) -> Standing:
    """Where the schema there stands; looking changes nothing. Raises MigrationError, StoreError."""
    if "://" in location:
        version, missing = await _server().standing(location)
    else:
        with reading(location) as connection:
            version = migrate.version_of(connection)
            missing = migrate.missing(connection, location)
    if not version:
        raise StoreError(f"{location} holds no perdure store: `perdure run FILE` makes one")
    return Standing(version=version, known=migrate.migrations()[-1].version, missing=tuple(missing))


async def upgrade(location: str, *, to: int | None = None, rehearse: bool = False) -> Migrated:
    """Bring the schema to version `to`, or up to date; a rehearsal does it and undoes it.

    All in one transaction; a file that has a history is copied first. Raises MigrationError, StoreError.
    """
    if "://" in location:
        migrated: Migrated = await _server().upgrade(location, to=to, rehearse=rehearse)
        return migrated
    try:
        address = uri(location, "mode=rw")
        with closing(
            sqlite3.connect(address, uri=True, isolation_level=None, timeout=LOCK_WAIT_S)
        ) as connection:
            return migrate.migrate(connection, location, keep=keep_before, to=to, rehearse=rehearse)
    except sqlite3.Error as error:
        raise translated(error, location) from error


def _server() -> ModuleType:
    """What needs the server's driver, imported only when it is asked for."""
    from perdure.store.postgres import upgrade as server  # noqa: PLC0415

    return server
