"""Makes a store that looks as if it had been used for years: real executions, copied row by row in SQL.

    python -m benchmarks.years build/years.db --executions 1000000

Some executions are really run: most complete, one fails, one is cancelled. Their rows are then copied
with other numbers, ids and times, a batch in a transaction, so that a million takes minutes. What is
made is a store in every respect: `perdure doctor` finds nothing wrong with it.
"""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from perdure.runtime import Runtime, Workflow
from perdure.runtime.upkeep import TALLY_MS
from perdure.store import SQLiteStore
from perdure.store.scripts.search import Index
from perdure.store.scripts.tallies import Tally

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


async def run_models(path: str) -> None:
    """Run what is copied afterwards, one of which is cancelled."""
    async with Runtime(path, retention="off") as runtime:
        workflow = order()
        for number, word in enumerate(WORDS):
            context = {"item": word, "customer": f"customer-{number}@example.org"}
            execution = await runtime.start(workflow, context, id=f"order-{word}")
            if word == "vase":
                await execution.cancel("not wanted any more")
            await execution.result(check=False)


def grow(path: str, executions: int) -> Iterator[int]:
    """Copy the models until there are so many; yields how many there are, after each transaction."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA cache_size = -200000")
        _age(connection, SPAN_DAYS * DAY_MS)
        events = connection.execute("SELECT count(*) FROM workflow_events").fetchone()[0]
        apart_ms = SPAN_DAYS * DAY_MS * MODELS // max(executions, MODELS)
        copies = [_copy(connection, table, events=events, apart_ms=apart_ms) for table in TABLES]
        last = executions // MODELS - 1
        for first in range(1, last + 1, COPIES):
            connection.execute("BEGIN")
            for copy in copies:
                connection.execute(copy, {"first": first, "last": min(first + COPIES - 1, last)})
            connection.execute("COMMIT")
            yield (min(first + COPIES - 1, last) + 1) * MODELS
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _copy(connection: sqlite3.Connection, table: str, *, events: int, apart_ms: int) -> str:
    """The statement that copies the models' rows of one table; `k` counts the copies."""
    columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    changed = {
        "no": f"m.no + n.k * {MODELS}",
        "execution_no": f"m.execution_no + n.k * {MODELS}",
        "id": f"m.id + n.k * {events}" if table == "workflow_events" else "m.id || '-' || n.k",
        **{name: f"m.{name} + n.k * {apart_ms}" for name in _times(connection, table)},
    }
    key = "no" if table == "workflow_executions" else "execution_no"
    values = ", ".join(changed.get(name, f"m.{name}") for name in columns)
    return (
        "WITH RECURSIVE n(k) AS (SELECT :first UNION ALL SELECT k + 1 FROM n WHERE k < :last) "
        f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values} "
        f"FROM n CROSS JOIN {table} m WHERE m.{key} <= {MODELS}"
    )


def _age(connection: sqlite3.Connection, ms: int) -> None:
    """Let the models have run so long ago, so that the last of their copies has run now."""
    name = "workflow_events_never_change"
    [guard] = connection.execute("SELECT sql FROM sqlite_master WHERE name = ?", (name,)).fetchone()
    connection.execute("BEGIN")
    connection.execute(f"DROP TRIGGER {name}")
    for table in TABLES:
        if times := _times(connection, table):
            connection.execute(f"UPDATE {table} SET {', '.join(f'{each} = {each} - {ms}' for each in times)}")
    connection.execute(guard)
    connection.execute("COMMIT")


def _times(connection: sqlite3.Connection, table: str) -> list[str]:
    """The columns of a table that are moments."""
    columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    return [name for name in columns if name == "at" or name.endswith("_at")]


async def keep(path: str) -> None:
    """Let all of them be found by their words, and be tallied, as a runtime would have done by and by."""
    store = SQLiteStore(path)
    await store.open()
    while await store.is_search_behind():
        await store.commit([Index(events=INDEXED)])
    for block in await store.tallies_due(before=time.time_ns() // 1_000_000 - TALLY_MS):
        await store.commit([Tally(block=block)])
    await store.close()


def make(path: str, executions: int, *, say: Callable[[str], object] = print) -> None:
    """Make the store, saying how far it is."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    asyncio.run(run_models(path))
    began = time.monotonic()
    for count in grow(path, executions):
        if count % SAID < COPIES * MODELS:
            say(f"{count:,} executions, {time.monotonic() - began:.0f} s")
    asyncio.run(keep(path))
    say(f"{path}: {Path(path).stat().st_size / 1e6:,.0f} MB, {time.monotonic() - began:.0f} s")


def main() -> None:
    """Make the store that was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.years", description=__doc__)
    parser.add_argument("file")
    parser.add_argument("--executions", type=int, default=1_000_000)
    given = parser.parse_args()
    make(given.file, given.executions)


if __name__ == "__main__":
    main()
