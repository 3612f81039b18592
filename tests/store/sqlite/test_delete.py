"""Whatever refers to an execution in the schema of SQLite is on the list of what goes with it."""

from __future__ import annotations

import pytest

from perdure.store.scripts.apply import ROWS_OF_AN_EXECUTION

pytestmark = pytest.mark.anyio


async def test_every_table_that_hangs_on_an_execution_is_emptied(book):
    """Whoever adds a table to the schema must add it to the deletion."""
    tables = await book.raw(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND sql LIKE '%execution_no%' "
        "AND name <> 'workflow_compaction_reach'"  # a position, and no row of any execution
    )
    assert {name for (name,) in tables} == set(ROWS_OF_AN_EXECUTION)
