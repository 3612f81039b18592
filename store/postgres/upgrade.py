"""Says where a schema in PostgreSQL stands, and brings it up to date on demand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from perdure.store.migration import Migrated, Migration, lacking, migrations_of
from perdure.store.postgres import migrate
from perdure.store.postgres.address import Address
from perdure.store.postgres.link import CONNECT_S
from perdure.store.postgres.translate import FAILURES, translated


async def standing(url: str) -> tuple[int, list[Migration]]:
    """The schema's version, 0 where there is none, and what it lacks. Raises MigrationError, StoreError."""
    address = Address.parse(url)
    async with _connected(address) as connection:
        applied = await migrate.applied_to(connection, address)
    missing = lacking(applied, address.shown, known=migrations_of(migrate.PACKAGE))
    return max(applied, default=0), missing


async def upgrade(url: str, *, to: int | None = None, rehearse: bool = False) -> Migrated:
    """Bring it to version `to`, or up to date; a rehearsal undoes it. Raises MigrationError, StoreError."""
    address = Address.parse(url)
    async with _connected(address) as connection:
        return await migrate.migrate(connection, address, to=to, rehearse=rehearse)


@asynccontextmanager
async def _connected(address: Address) -> AsyncIterator[asyncpg.Connection[Any]]:
    """A session for this alone, the driver's errors translated."""
    try:
        connection = await asyncpg.connect(address.dsn, timeout=CONNECT_S, statement_cache_size=0)
        try:
            yield connection
        finally:
            await connection.close()
    except (*FAILURES, ValueError) as error:
        raise translated(error, address.shown) from error
