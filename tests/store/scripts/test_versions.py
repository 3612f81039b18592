"""Whatever belongs to a step moves with it to another version."""

from __future__ import annotations

import pytest

from perdure.store import SQLiteStore
from perdure.store.scripts.versions import NUMBERED

pytestmark = pytest.mark.anyio

STEPS = frozenset({"step_no", "taken_by"})
LOGS = frozenset({"workflow_events"})  # the log keeps the numbers of its time


async def test_every_table_with_rows_of_steps_is_numbered_anew():
    """One that is forgotten would leave its rows with another step."""
    store = SQLiteStore(":memory:", inline=True)
    await store.open()

    def columns(link):
        tables = link.connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        return {
            (table, row[1])
            for (table,) in tables
            for row in link.connection.execute(f"PRAGMA table_info('{table}')").fetchall()
        }

    found = await store._writer.run(columns)
    await store.close()
    of_executions = {table for table, column in found if column == "execution_no"} - LOGS
    assert {pair for pair in found if pair[0] in of_executions and pair[1] in STEPS} == set(NUMBERED)
