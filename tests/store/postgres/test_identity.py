"""A schema that was made anew under a running process is not taken for the one it has opened."""

from __future__ import annotations

import asyncpg
import pytest

from perdure.store.errors import StoreReplaced
from perdure.store.postgres import PostgresStore
from perdure.store.postgres.address import Address

pytestmark = pytest.mark.anyio


async def drop(url: str) -> None:
    """Drop the store's schema past the store."""
    address = Address.parse(url)
    connection = await asyncpg.connect(address.dsn)
    await connection.execute("SET client_min_messages TO error")
    await connection.execute(f"DROP SCHEMA {address.schema} CASCADE")
    await connection.close()


async def test_another_store_in_the_schema_is_noticed_when_a_session_is_made(postgres_url: str):
    """Nothing is written to it; none at all is told as well."""
    store = PostgresStore(postgres_url)
    await store.open()
    first = store._writer.identity
    await drop(postgres_url)
    store._writer.drop()
    with pytest.raises(StoreReplaced):
        await store._writer.open()
    other = PostgresStore(postgres_url)
    await other.open()
    with pytest.raises(StoreReplaced, match=f"which was the store {first}.*now it is the store"):
        await store._writer.open()
    assert not store._writer.is_open
    await other.close()
    await store.close()
    await store.open()  # whoever opens it means what is there now
    await store.close()
