"""Examines a server and a schema of ours in it without changing anything; decides nothing."""

from __future__ import annotations

from typing import Any, Final

import asyncpg

from perdure.store.errors import StoreError
from perdure.store.migration import migrations_of
from perdure.store.postgres.address import Address
from perdure.store.postgres.dialect import dialect, quoted
from perdure.store.postgres.link import Link, identity_of
from perdure.store.postgres.migrate import PACKAGE, applied_to
from perdure.store.postgres.translate import FAILURES, translated
from perdure.store.records import Record, Runner
from perdure.store.script import Script
from perdure.store.scripts import rows
from perdure.store.scripts.resting import Bounds, Work, work
from perdure.store.scripts.verify import faults_of_executions

WATCHED: Final = ("autovacuum", "fsync", "full_page_writes", "max_connections", "synchronous_commit")
SIZES: Final = """
SELECT c.relname, pg_total_relation_size(c.oid), coalesce(s.n_live_tup, 0), coalesce(s.n_dead_tup, 0)
FROM pg_class c LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid
WHERE c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = $1) AND c.relkind = 'r'
ORDER BY 2 DESC, 1
"""
OLDEST: Final = (
    "SELECT extract(epoch FROM now() - min(xact_start))::float8 FROM pg_stat_activity WHERE pid <> $1"
)


class Table(Record, frozen=True, kw_only=True):
    """One of ours, as the server counts it: `dead` rows wait to be vacuumed."""

    name: str
    size_bytes: int
    live: int
    dead: int


class ServerHealth(Record, frozen=True, kw_only=True):
    """What an examination found. Without `work` the schema is not this release's."""

    location: str
    version: str
    is_standby: bool
    is_pooled: bool
    settings: dict[str, str]
    connections: int
    oldest_transaction_s: float
    schema: str
    schema_version: int
    schema_known: int
    identity: str | None
    keys: tuple[str, ...]
    tables: tuple[Table, ...]
    damage: tuple[str, ...]
    runners: tuple[Runner, ...]
    work: Work | None

    @property
    def size_bytes(self) -> int:
        """All of the schema."""
        return sum(table.size_bytes for table in self.tables)

    def named(self, table: Table) -> str:
        """The table as SQL names it."""
        return f"{quoted(self.schema)}.{table.name}"


async def examine(url: str, bounds: Bounds) -> ServerHealth:
    """Look at everything as of one moment. Raises StoreError where there is none of ours."""
    address = Address.parse(url)
    link = Link(address, dialect(address.schema), default_transaction_read_only="on")
    try:
        connection = await link.open()
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            return await _examined(link, connection, address, bounds)
    except FAILURES as error:
        raise translated(error, address.shown) from error
    finally:
        await link.close()


async def _examined(
    link: Link, connection: asyncpg.Connection[Any], address: Address, bounds: Bounds
) -> ServerHealth:
    applied = await applied_to(connection, address)
    known = migrations_of(PACKAGE)[-1].version
    version = max(applied, default=0)
    if not version:
        raise StoreError(
            f"{address.shown} has no schema {address.schema} of perdure's: name one with ?schema="
        )
    is_current = version == known
    return ServerHealth(
        location=address.shown,
        version=await connection.fetchval("SHOW server_version"),
        is_standby=await connection.fetchval("SELECT pg_is_in_recovery()"),
        is_pooled=bool(link.is_pooled),
        settings={name: await connection.fetchval(f"SHOW {name}") for name in WATCHED},
        connections=await connection.fetchval("SELECT count(*) FROM pg_stat_activity"),
        oldest_transaction_s=await connection.fetchval(OLDEST, link.pid or 0) or 0.0,
        schema=address.schema,
        schema_version=version,
        schema_known=known,
        identity=await identity_of(connection, address) if is_current else None,
        keys=await _keys(connection, address) if is_current else (),
        tables=tuple(
            Table(name=row[0], size_bytes=row[1], live=row[2], dead=row[3])
            for row in await connection.fetch(SIZES, address.schema)
        ),
        damage=tuple(await link.run(faults_of_executions(None))) if is_current else (),
        runners=tuple(await link.run(_runners())),
        work=await link.run(work(bounds)) if is_current else None,
    )


async def _keys(connection: asyncpg.Connection[Any], address: Address) -> tuple[str, ...]:
    found = await connection.fetch(f"SELECT id FROM {quoted(address.schema)}.workflow_keys ORDER BY id")
    return tuple(row[0] for row in found)


def _runners() -> Script[list[Runner]]:
    return list(map(rows.runner, (yield rows.RUNNER, ())))
