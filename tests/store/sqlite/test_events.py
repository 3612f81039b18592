"""The log on SQLite is append-only whoever writes, even past the store."""

from __future__ import annotations

import sqlite3

import pytest

from perdure.store.states import State
from perdure.store.writes import EventWrite

pytestmark = pytest.mark.anyio

COLUMNS = "(id, execution_no, version, at, type, command_id)"


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE workflow_events SET type = 'x'",
        "UPDATE workflow_events SET id = id + 100",
        "DELETE FROM workflow_events",
        "DELETE FROM workflow_events WHERE id = 1",
        f"INSERT OR REPLACE INTO workflow_events {COLUMNS} VALUES (1, 1, 1, 1, 'x', NULL)",
        f"REPLACE INTO workflow_events {COLUMNS} VALUES (NULL, 1, 1, 1, 'x', 'c1')",
        f"INSERT INTO workflow_events {COLUMNS} VALUES (1, 1, 1, 1, '', '') ON CONFLICT DO UPDATE SET at = 2",
        f"INSERT INTO workflow_events {COLUMNS} VALUES (-1, 1, 1, 1, 'x', NULL)",
        "INSERT INTO workflow_deletions VALUES (1)",
        "DELETE FROM workflow_executions",
    ],
)
async def test_not_even_raw_sql_changes_the_log(book, sql: str):
    """Of an execution that has not ended, nothing goes and nothing is written over."""
    execution = await book.start()
    await book.move(execution, events=(EventWrite("noted", command_id="c1"),))
    facts = await book.facts()
    with pytest.raises(sqlite3.IntegrityError):
        await book.raw(sql)
    assert await book.facts() == facts


async def test_the_log_of_an_ended_execution_is_not_thinned_out_either(book):
    """It goes as a whole, with its execution, or not at all."""
    await book.move(await book.start(), State.FAILED)
    with pytest.raises(sqlite3.IntegrityError, match="only with their terminal execution"):
        await book.raw("DELETE FROM workflow_events WHERE id = 1")
