"""Makes a store that looks as if it had been used for years: real executions, copied row by row in SQL.

    python -m benchmarks.years build/years.db --executions 1000000
    python -m benchmarks.years postgresql://…?schema=years

Some executions are really run: most complete, one fails, one is cancelled. Their rows are then copied
with other numbers, ids and times, a batch in a transaction, so that a million takes minutes. What is
made is a store in every respect: `perdure doctor` finds nothing wrong with it.
"""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, Final

from perdure.runtime import Runtime, Workflow
from perdure.runtime.upkeep import TALLY_MS
from perdure.store.location import store_at
from perdure.store.scripts.search import Index
from perdure.store.scripts.tallies import Tally
from perdure.store.sqlite.files import size_of

MODELS: Final = 10  # executions that are really run
COPIES: Final = 500  # of each model in one transaction
INDEXED: Final = 50_000  # events of one transaction: nobody waits for it here
SAID: Final = 50_000  # executions after which something is said
SPAN_DAYS: Final = 80  # over which they are spread: less than retention takes away
DAY_MS: Final = 86_400_000
TABLES: Final = (
    "workflow_executions",
    "workflow_contexts",
    "workflow_step_executions",
    "workflow_events",
    "workflow_checkpoints",
)
COLUMNS: Final = """
SELECT column_name FROM information_schema.columns
WHERE table_schema = current_schema() AND table_name = $1 AND is_generated = 'NEVER'
ORDER BY ordinal_position
"""
NEXT_NO: Final = """
SELECT setval(pg_get_serial_sequence('workflow_executions', 'no'), (SELECT max(no) FROM workflow_executions))
"""
SIZE: Final = """
SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class
WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r'
"""
WORDS: Final = ("lamp", "table", "chair", "sofa", "mirror", "carpet", "shelf", "clock", "vase", "brick")


def order() -> Workflow:
    """Three steps, of which the second fails for bricks."""
    workflow = Workflow("order", description="what a customer has bought")

    @workflow.step
    async def reserve(item: str) -> dict[str, Any]:
        return {"item": item, "warehouse": "north", "shelf": 17}

    @workflow.step(after="reserve")
    async def charge(item: str, customer: str) -> dict[str, Any]:
        if item == "brick":
            raise ValueError(f"the card of {customer} was refused")
        return {"cents": 4200, "customer": customer}

    @workflow.step(after="charge")
    async def ship(item: str) -> str:
        return f"{item} shipped"

    return workflow


async def run_models(location: str) -> None:
    """Run what is copied afterwards, one of which is cancelled."""
    async with Runtime(location, retention="off") as runtime:
        workflow = order()
        for number, word in enumerate(WORDS):
            context = {"item": word, "customer": f"customer-{number}@example.org"}
            execution = await runtime.start(workflow, context, id=f"order-{word}")
            if word == "vase":
                await execution.cancel("not wanted any more")
            await execution.result(check=False)


def copies(
    columns: Mapping[str, Sequence[str]], *, events: int, executions: int
) -> Iterator[tuple[list[str], int]]:
    """The statements of each transaction, the same on both databases, and how many there are after it.

    `columns` are those of each table; `events` is how many lines of the log the models have written.
    """
    apart_ms = SPAN_DAYS * DAY_MS * MODELS // max(executions, MODELS)
    last = executions // MODELS - 1
    for first in range(1, last + 1, COPIES):
        end = min(first + COPIES - 1, last)
        yield (
            [
                _copy(table, names, first=first, last=end, events=events, apart_ms=apart_ms)
                for table, names in columns.items()
            ],
            (end + 1) * MODELS,
        )


def _copy(table: str, columns: Sequence[str], *, first: int, last: int, events: int, apart_ms: int) -> str:
    """The statement that copies the models' rows of one table; `k` counts the copies."""
    changed = {
        "no": f"m.no + n.k * {MODELS}",
        "execution_no": f"m.execution_no + n.k * {MODELS}",
        "id": f"m.id + n.k * {events}" if table == "workflow_events" else "m.id || '-' || n.k",
        **{name: f"m.{name} + n.k * {apart_ms}" for name in _times(columns)},
    }
    key = "no" if table == "workflow_executions" else "execution_no"
    values = ", ".join(changed.get(name, f"m.{name}") for name in columns)
    return (
        f"WITH RECURSIVE n(k) AS (SELECT CAST({first} AS bigint) "
        f"UNION ALL SELECT k + 1 FROM n WHERE k < {last}) "
        f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values} "
        f"FROM n CROSS JOIN {table} m WHERE m.{key} <= {MODELS}"
    )


def _aged(columns: Mapping[str, Sequence[str]]) -> list[str]:
    """Let the models have run so long ago that the last of their copies has run now."""
    ms = SPAN_DAYS * DAY_MS
    return [
        f"UPDATE {table} SET {', '.join(f'{each} = {each} - {ms}' for each in _times(names))}"
        for table, names in columns.items()
        if _times(names)
    ]


def _times(columns: Sequence[str]) -> list[str]:
    """The columns that are moments."""
    return [name for name in columns if name == "at" or name.endswith("_at")]


def grow_file(path: str, executions: int) -> Iterator[int]:
    """Copy the models in a file; yields how many executions there are, after each transaction."""
    guard = "workflow_events_never_change"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        execute = connection.execute
        execute("PRAGMA synchronous = OFF")
        execute("PRAGMA cache_size = -200000")
        columns = {table: [row[1] for row in execute(f"PRAGMA table_info({table})")] for table in TABLES}
        [made] = execute("SELECT sql FROM sqlite_master WHERE name = ?", (guard,)).fetchone()
        _all(execute, ["BEGIN", f"DROP TRIGGER {guard}", *_aged(columns), made, "COMMIT"])
        [events] = execute("SELECT count(*) FROM workflow_events").fetchone()
        for statements, count in copies(columns, events=events, executions=executions):
            _all(execute, ["BEGIN", *statements, "COMMIT"])
            yield count
        execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _all(execute: Callable[[str], object], statements: Iterable[str]) -> None:
    for statement in statements:
        execute(statement)


async def grow_schema(url: str, executions: int) -> AsyncIterator[int]:
    """Copy the models on a server; yields how many executions there are, after each transaction."""
    async with _connected(url) as connection:
        columns = {table: [row[0] for row in await connection.fetch(COLUMNS, table)] for table in TABLES}
        await connection.execute("ALTER TABLE workflow_events DISABLE TRIGGER USER")
        for statement in _aged(columns):
            await connection.execute(statement)
        await connection.execute("ALTER TABLE workflow_events ENABLE TRIGGER USER")
        events = await connection.fetchval("SELECT count(*) FROM workflow_events")
        for statements, count in copies(columns, events=events, executions=executions):
            async with connection.transaction():
                for statement in statements:
                    await connection.execute(statement)
            yield count
        await connection.execute("UPDATE workflow_log SET last = (SELECT max(id) FROM workflow_events)")
        await connection.execute(NEXT_NO)
        await connection.execute("VACUUM ANALYZE")  # which the server does by itself, sooner or later


async def bytes_of(location: str) -> int:
    """What the store takes, its indexes included."""
    if "://" not in location:
        return size_of(location)
    async with _connected(location) as connection:
        size: int = await connection.fetchval(SIZE)
        return size


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[Any]:
    """In the schema of the URL; what is copied is not synced at once."""
    import asyncpg  # noqa: PLC0415 - only for a server

    from perdure.store.postgres.address import Address  # noqa: PLC0415

    address = Address.parse(url)
    settings = {"search_path": address.schema, "synchronous_commit": "off"}
    connection = await asyncpg.connect(address.dsn, server_settings=settings)
    try:
        yield connection
    finally:
        await connection.close()


async def keep(location: str) -> None:
    """Let all of them be found by their words, and be tallied, as a runtime would have done by and by."""
    store = store_at(location)
    await store.open()
    while await store.is_search_behind():
        await store.commit([Index(events=INDEXED)])
    for block in await store.tallies_due(before=time.time_ns() // 1_000_000 - TALLY_MS):
        await store.commit([Tally(block=block)])
    await store.close()


async def make(location: str, executions: int, *, say: Callable[[str], object] = print) -> None:
    """Make the store, in a file or on a server, saying how far it is."""
    began = time.monotonic()

    def tell(count: int) -> None:
        if count % SAID < COPIES * MODELS:
            say(f"{count:,} executions, {time.monotonic() - began:.0f} s")

    if "://" in location:
        await run_models(location)
        async for count in grow_schema(location, executions):
            tell(count)
    else:
        Path(location).parent.mkdir(parents=True, exist_ok=True)
        await run_models(location)
        for count in grow_file(location, executions):
            tell(count)
    await keep(location)
    say(f"{location}: {time.monotonic() - began:.0f} s")


def main() -> None:
    """Make the store that was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.years", description=__doc__)
    parser.add_argument("location", help="a file, or postgresql://…?schema=NAME")
    parser.add_argument("--executions", type=int, default=1_000_000)
    given = parser.parse_args()
    asyncio.run(make(given.location, given.executions))


if __name__ == "__main__":
    main()
