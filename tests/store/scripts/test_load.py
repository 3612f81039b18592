"""Taking an execution up: everything of one moment."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest

from perdure.store import SQLiteStore
from perdure.store.scripts import reads
from perdure.store.sqlite.connection import run_at_one_moment
from perdure.store.states import State
from perdure.store.writes import Changed

pytestmark = pytest.mark.anyio


async def test_a_commit_in_the_midst_of_loading_does_not_show(path: str, book_of: Any, at_once: Any):
    """The row of one version beside the steps of the next would be a state that never was."""
    store = SQLiteStore(path, inline=True)
    await store.open()
    book = book_of(store)
    change = book.change(await book.start(), State.COMPLETED, attempts=(book.outcome(0),))
    reader = sqlite3.connect(path, isolation_level=None)

    def intrude(statement: str) -> None:
        if "FROM workflow_step_executions" in statement:
            reader.set_trace_callback(None)
            [answer] = at_once(store.commit([change]))
            assert isinstance(answer, Changed)

    reader.set_trace_callback(intrude)
    loaded = run_at_one_moment(reader, reads.load("e1"))
    reader.close()
    assert loaded is not None
    assert (loaded.execution.version, loaded.attempts) == (1, ())
    after = await store.load("e1")
    assert after is not None
    assert (after.execution.version, len(after.attempts)) == (2, 1)
    await store.close()
