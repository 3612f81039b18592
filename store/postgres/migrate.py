"""Brings the schema in PostgreSQL up to date, one numbered SQL file after the other, in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import asyncpg

from perdure.store.errors import MigrationError
from perdure.store.migration import Migrated, Migration, lacking, migrations_of, unfit, wanted
from perdure.store.postgres.address import Address
from perdure.store.postgres.dialect import quoted
from perdure.store.postgres.translate import REFUSED

PACKAGE: Final = "perdure.store.postgres"
LOCK: Final = 7_357_013_370  # any number that others do not take: of two that migrate at once one waits
MAJOR_MIN: Final = 14  # the first release whose functions bind the tables they name when they are made

TABLES: Final = (
    "SELECT relname FROM pg_class WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = $1) "
    "AND relkind IN ('r', 'v', 'm', 'p')"
)

TABLE: Final = """
CREATE TABLE perdure_migrations (
    version    integer PRIMARY KEY,
    name       text NOT NULL,
    checksum   text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""


async def migrate(
    connection: asyncpg.Connection[Any],
    address: Address,
    *,
    to: int | None = None,
    rehearse: bool = False,
    must_exist: bool = False,
) -> Migrated:
    """Apply what is missing (up to version `to`), all of it in one transaction; a rehearsal undoes it.

    Raises MigrationError, also where there is nothing and it `must_exist`, and asyncpg's errors.
    """
    if connection.get_server_version().major < MAJOR_MIN:
        found = connection.get_server_version().major
        raise MigrationError(f"{address.shown} is PostgreSQL {found}: perdure needs {MAJOR_MIN} or newer")
    known = migrations_of(PACKAGE)

    def todo(applied: Mapping[int, str]) -> Sequence[Migration]:
        lacks = lacking(applied, address.shown, known=known)
        return wanted(lacks, address.shown, to=to, version=max(applied, default=0))

    there = await applied_to(connection, address)
    if must_exist and not there:
        raise _nothing_there(address)
    if not todo(there):
        return Migrated(applied=())
    transaction = connection.transaction()
    await transaction.start()
    try:
        await connection.execute(f"SELECT pg_advisory_xact_lock({LOCK})")
        applied = await applied_to(connection, address)
        missing = todo(applied)
        if not applied:
            await _make_schema(connection, address)
        await connection.execute(f"SET LOCAL search_path TO {quoted(address.schema)}")
        for migration in missing:
            try:
                await _apply(connection, migration)
            except asyncpg.InsufficientPrivilegeError:
                raise  # it is the role that does not fit
            except REFUSED as error:
                stands = max(applied, default=0)
                raise unfit(migration, error, address.shown, stands=stands) from error
    except BaseException:
        await transaction.rollback()
        raise
    await (transaction.rollback() if rehearse else transaction.commit())
    return Migrated(applied=tuple(missing))


async def check(connection: asyncpg.Connection[Any], address: Address) -> None:
    """Raise MigrationError unless the schema is there and this release's: who only looks makes none."""
    applied = await applied_to(connection, address)
    if not applied:
        raise _nothing_there(address)
    if lacks := lacking(applied, address.shown, known=migrations_of(PACKAGE)):
        raise MigrationError(
            f"{address.shown} has schema version {max(applied)}, this release needs {lacks[-1].version}, and "
            "looking changes nothing: `perdure worker`, or any command that changes something, brings it up "
            "to date"
        )


def _nothing_there(address: Address) -> MigrationError:
    return MigrationError(
        f"no database in the schema {address.schema} of {address.shown}: `perdure run FILE` makes one; "
        "name another with ?schema="
    )


async def _apply(connection: asyncpg.Connection[Any], migration: Migration) -> None:
    """Run one migration. Raises asyncpg's errors."""
    await connection.execute(migration.sql)
    await connection.execute(
        "INSERT INTO perdure_migrations (version, name, checksum) VALUES ($1, $2, $3)",
        migration.version,
        migration.name,
        migration.checksum,
    )


async def _make_schema(connection: asyncpg.Connection[Any], address: Address) -> None:
    """A place of our own. Raises MigrationError when somebody else's tables are in it."""
    if found := await connection.fetchval(f"{TABLES} LIMIT 1", address.schema):
        raise MigrationError(
            f"the schema {address.schema} of {address.shown} has tables that perdure did not make ({found}): "
            "name another with ?schema="
        )
    schema = quoted(address.schema)
    if not await connection.fetchval("SELECT 1 FROM pg_namespace WHERE nspname = $1", address.schema):
        await connection.execute(f"CREATE SCHEMA {schema}")
    await connection.execute(f"SET LOCAL search_path TO {schema}")
    await connection.execute(TABLE)


async def applied_to(connection: asyncpg.Connection[Any], address: Address) -> dict[int, str]:
    """Version and checksum of what was applied; empty where perdure has made nothing.

    The catalogue is asked as any table is; `to_regclass` would answer from what this session once knew.
    """
    table = f"{quoted(address.schema)}.perdure_migrations"
    async with connection.transaction():  # or a pooler may part what belongs together
        if not await connection.fetchval(f"{TABLES} AND relname = 'perdure_migrations'", address.schema):
            return {}
        rows = await connection.fetch(f"SELECT version, checksum FROM {table} ORDER BY version")
    return {row[0]: row[1] for row in rows}
