"""What a release has left behind on a server is taken up by this one, also when it is cut off on the way."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from perdure.store.errors import MigrationError, StoreUnavailable
from perdure.store.migration import migrations_of
from perdure.store.postgres import PostgresStore, migrate
from perdure.store.postgres.address import Address
from perdure.store.upgrade import standing, upgrade

pytestmark = pytest.mark.anyio

KEPT = sorted((Path(__file__).parents[2] / "data").glob("postgres-*.sql.gz"))
TABLES = ("workflow_executions", "workflow_step_executions", "workflow_events", "workflow_signals")


@pytest.fixture(params=KEPT, ids=lambda path: path.name.split(".")[0])
async def kept(request: pytest.FixtureRequest, postgres_url: str) -> str:
    """The URL of a schema that a release has written."""
    address = Address.parse(postgres_url)
    sql = gzip.decompress(request.param.read_bytes()).decode()
    connection = await asyncpg.connect(address.dsn)
    await connection.execute(
        sql.replace("kept.", f"{address.schema}.").replace(" kept;", f" {address.schema};")
    )
    await connection.close()
    return postgres_url


async def facts(url: str, columns: dict[str, list[str]] | None = None) -> dict[str, Any]:
    """The rows of the tables that matter most, in those columns."""
    address = Address.parse(url)
    connection = await asyncpg.connect(address.dsn)
    found = {}
    for table in TABLES:
        rows = await connection.fetch(f"SELECT * FROM {address.schema}.{table} ORDER BY 1, 2, 3")
        found[table] = [
            {name: row[name] for name in (columns[table] if columns else row.keys())} for row in rows
        ]
    await connection.close()
    return found


async def test_every_row_survives_the_migration_as_it_was(kept: str):
    """A rehearsal leaves no trace of itself; the migration itself is as good as the rehearsal."""
    before = await facts(kept)
    missing = (await standing(kept)).missing
    rehearsed = await upgrade(kept, rehearse=True)
    assert rehearsed.applied == missing == (await standing(kept)).missing
    store = PostgresStore(kept)
    await store.open()
    assert (await standing(kept)).missing == ()
    assert {one.id for one in await store.executions()} == {
        f"{word}-1" for word in ("done", "failed", "cancelled", "paused", "waiting")
    }
    assert await store.verify() == []
    await store.close()
    columns = {table: list(rows[0]) for table, rows in before.items()}
    assert await facts(kept, columns) == before


async def test_a_session_that_is_cut_off_in_the_middle_leaves_the_schema_as_it_was(
    kept: str, monkeypatch: pytest.MonkeyPatch
):
    """After any of the migrations: they are one transaction."""
    missing = (await standing(kept)).missing
    for number in range(1, len(missing) + 1):
        known = list(migrations_of(migrate.PACKAGE))
        place = known.index(missing[number - 1]) + 1
        cut = type(known[0])(1_000 + number, "cut", "SELECT pg_terminate_backend(pg_backend_pid())")
        monkeypatch.setattr(migrate, "migrations_of", lambda _package: [*known[:place], cut])  # noqa: B023
        with pytest.raises(StoreUnavailable):
            await upgrade(kept)
        monkeypatch.undo()
        assert (await standing(kept)).missing == missing
    with pytest.raises(MigrationError, match="your dump of it"):
        await upgrade(kept, to=1)
