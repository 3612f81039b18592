"""Statements of the user's own on SQLite, and random moves against its schema."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.store import SQLiteStore
from perdure.store.errors import (
    PerdureError,
    StatementFailed,
)
from perdure.store.records import Execution
from perdure.store.states import TERMINAL, State, can_become
from perdure.store.writes import (
    Changed,
    Statement,
)

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM workflow_events",
        "UPDATE workflow_executions SET state = 'completed'",
        "INSERT INTO runners (id) VALUES ('x')",
        "DROP TABLE workflows",
        "ALTER TABLE workflow_timers ADD COLUMN x",
        "DROP TRIGGER workflow_events_never_change",
        "DROP INDEX workflows_active",
        "CREATE TRIGGER t AFTER INSERT ON workflow_events BEGIN SELECT 1; END",
        "CREATE TEMP TRIGGER t AFTER INSERT ON workflow_events BEGIN SELECT 1; END",
        "CREATE TEMP TABLE workflow_events (x)",
        "CREATE TABLE workflow_mine (x)",
        "CREATE UNIQUE INDEX mine ON workflow_events (type)",
        "UPDATE sqlite_sequence SET seq = 0",
        "DELETE FROM perdure_migrations",
        "COMMIT",
        "ROLLBACK",
        "SAVEPOINT mine",
        "RELEASE write",
        "PRAGMA synchronous = OFF",
        "ATTACH ':memory:' AS other",
        "SELECT 1; SELECT 2",
        "no SQL at all",
        "INSERT INTO ledger VALUES (?, ?)",
    ],
)
async def test_a_statement_that_reaches_too_far_is_refused_with_its_change(book, sql: str):
    """It may neither end the transaction nor write what is the store's."""
    await book.raw("CREATE TABLE ledger (entry TEXT UNIQUE)")
    execution = await book.start()
    answer = await book.refusal_of(book.change(execution, statements=(Statement(sql),)))
    assert isinstance(answer, StatementFailed)
    assert await book.move(execution)


async def test_a_statement_may_make_tables_of_its_own(book):
    """With keys that count up, indexes and triggers."""
    execution = await book.start()
    for sql in (
        "CREATE TABLE ledger (no INTEGER PRIMARY KEY AUTOINCREMENT, entry TEXT)",
        "CREATE INDEX ledger_entry ON ledger (entry)",
        "INSERT INTO ledger (entry) SELECT id FROM workflow_executions",
    ):
        execution = await book.move(execution, statements=(Statement(sql),))
    assert await book.raw("SELECT entry FROM ledger") == [("e1",)]


@given(
    moves=st.lists(
        st.tuples(st.sampled_from(State), st.sampled_from(State), st.integers(-1, 1), st.integers(-1, 1)),
        max_size=12,
    )
)
def test_only_a_fresh_and_lawful_change_ever_moves_an_execution(book_of, at_once, moves):
    """Random walks with stale versions, stale epochs and wrong states: a refusal changes nothing."""
    store = SQLiteStore(":memory:", inline=True)
    at_once(store.open())
    book = book_of(store)
    execution: Execution = at_once(book.start())
    for before, after, version, epoch in moves:
        guess = before if version else execution.state
        change = book.change(
            execution,
            after,
            before=guess,
            version=execution.version + version,
            epoch=execution.epoch + epoch,
        )
        facts = at_once(book.facts())
        answer = at_once(book.answer_to(change))
        lawful = can_become(guess, after) and guess is execution.state
        assert isinstance(answer, Changed) is (lawful and version == epoch == 0)
        if isinstance(answer, PerdureError):
            assert at_once(book.facts()) == facts
        execution = at_once(book.execution())
        if execution.state in TERMINAL:
            break
    at_once(store.close())
