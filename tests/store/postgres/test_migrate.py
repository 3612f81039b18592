"""The schema in PostgreSQL is made once, by whoever is first, and never on top of somebody else's tables."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from perdure.store.errors import MigrationError, StoreUnavailable
from perdure.store.postgres import PostgresStore, migrate
from perdure.store.postgres.address import Address

pytestmark = pytest.mark.anyio


async def opened(url: str) -> None:
    """Open a store there and close it."""
    store = PostgresStore(url)
    try:
        await store.open()
    finally:
        await store.close()


async def executed(url: str, sql: str) -> None:
    """Run a statement past the store."""
    connection = await asyncpg.connect(Address.parse(url).dsn)
    await connection.execute(sql)
    await connection.close()


async def test_of_many_that_open_an_empty_schema_one_makes_it(postgres_url: str):
    """The others wait and find it made."""
    await asyncio.gather(*(opened(postgres_url) for _ in range(8)))
    schema = Address.parse(postgres_url).schema
    connection = await asyncpg.connect(Address.parse(postgres_url).dsn)
    assert await connection.fetchval(f"SELECT count(*) FROM {schema}.perdure_migrations") == 1
    await connection.close()


async def test_a_schema_with_tables_that_are_not_ours_is_refused(postgres_url: str):
    """And left as it was."""
    schema = Address.parse(postgres_url).schema
    await executed(postgres_url, f"CREATE SCHEMA {schema}; CREATE TABLE {schema}.workflows (x int)")
    with pytest.raises(MigrationError, match=r"has tables that perdure did not make \(workflows\)"):
        await opened(postgres_url)


async def test_a_newer_schema_is_refused(postgres_url: str):
    """This release could not keep its promises."""
    await opened(postgres_url)
    schema = Address.parse(postgres_url).schema
    await executed(
        postgres_url,
        f"INSERT INTO {schema}.perdure_migrations (version, name, checksum) VALUES (99, 'x', 'y')",
    )
    with pytest.raises(MigrationError, match="has schema version 99"):
        await opened(postgres_url)


async def test_an_old_server_is_refused_by_its_number(postgres_url: str, monkeypatch):
    """Not by a syntax error."""
    monkeypatch.setattr(migrate, "MAJOR_MIN", 99)
    with pytest.raises(MigrationError, match="perdure needs 99 or newer"):
        await opened(postgres_url)


async def test_a_server_that_is_not_there_is_told():
    """With where it was looked for, and without the password."""
    with pytest.raises(StoreUnavailable, match="cannot be reached") as raised:
        await opened("postgresql://anna:secret@127.0.0.1:9/orders")
    assert "secret" not in str(raised.value)
