"""The schema in PostgreSQL is made once, by whoever is first, and never on top of somebody else's tables."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing

import asyncpg
import pytest

from perdure.store.errors import MigrationError, StoreUnavailable
from perdure.store.migration import Migration, migrations_of
from perdure.store.postgres import PostgresStore, migrate
from perdure.store.postgres import upgrade as server_upgrade
from perdure.store.postgres.address import Address
from perdure.store.sqlite.migrate import migrate as migrate_file
from perdure.store.sqlite.migrate import migrations

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
    assert await connection.fetchval(f"SELECT count(*) FROM {schema}.perdure_migrations") == len(migrations())
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


async def test_a_migration_that_does_not_fit_is_named_and_all_is_undone(postgres_url: str, monkeypatch):
    """What came before it, too: the release before goes on with the schema as it was."""
    await opened(postgres_url)
    newest = len(migrations())
    more = [
        Migration(98, "0098_extra", "CREATE TABLE extra (x int)"),
        Migration(99, "0099_odd", "DROP VIEW extra;"),
    ]
    for place in (migrate, server_upgrade):
        monkeypatch.setattr(place, "migrations_of", lambda package: [*migrations_of(package), *more])
    with pytest.raises(MigrationError, match=f"0099_odd.*nothing was changed, .* is at version {newest}"):
        await opened(postgres_url)
    version, missing = await server_upgrade.standing(postgres_url)
    assert (version, [each.version for each in missing]) == (newest, [98, 99])
    await server_upgrade.upgrade(postgres_url, to=98)
    assert (await server_upgrade.standing(postgres_url))[0] == 98


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


async def test_both_kinds_of_store_have_the_same_tables_with_the_same_columns(postgres_url: str):
    """Whoever adds a migration to one adds it to the other."""
    assert [each.name for each in migrations_of(migrate.PACKAGE)] == [each.name for each in migrations()]
    await opened(postgres_url)
    connection = await asyncpg.connect(Address.parse(postgres_url).dsn)
    rows = await connection.fetch(
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = $1",
        Address.parse(postgres_url).schema,
    )
    await connection.close()
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as file:
        migrate_file(file, ":memory:")
        wanted = file.execute(
            "SELECT m.name, c.name FROM sqlite_master m JOIN pragma_table_xinfo(m.name) c "
            "WHERE m.type IN ('table', 'view') AND m.name <> 'sqlite_sequence' AND c.hidden <> 1 "
            "AND m.name NOT GLOB 'workflow_search_[cdi]*'"
        ).fetchall()
    assert {tuple(row) for row in rows} - set(wanted) == {
        ("workflow_log", "last"),
        ("workflow_search", "rowid"),  # which a table of SQLite's has anyhow
        ("workflow_search", "words"),
    }
    assert set(wanted) - {tuple(row) for row in rows} == set()
