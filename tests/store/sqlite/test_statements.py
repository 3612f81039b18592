"""How far statements of the user's own may reach on SQLite."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.store.errors import StatementFailed
from perdure.store.writes import Started, Statement

pytestmark = pytest.mark.anyio

ENDLESS = "WITH RECURSIVE a(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM a)"
ORPHAN = Statement("INSERT INTO children (parent) VALUES (?)", (7,))


@pytest.fixture
async def family(book: Any) -> Any:
    """A book whose store also holds two tables of the user's."""
    await book.add_family()
    await book.publish()
    return book


@pytest.mark.parametrize(
    "sql",
    [
        "COMMIT",
        "ROLLBACK",
        "SAVEPOINT mine",
        "PRAGMA foreign_keys = OFF",
        "ATTACH ':memory:' AS other",
        "UPDATE workflow_executions SET state = 'completed'",
        "DELETE FROM workflow_events",
        "INSERT INTO workflow_deletions VALUES (1)",
        "DROP TABLE workflow_timers",
        "UPDATE sqlite_sequence SET seq = 0",
        "CREATE TEMP TABLE workflows (no INTEGER)",
        "CREATE TRIGGER mine AFTER INSERT ON workflow_events BEGIN SELECT 1; END",
        "INSERT INTO children VALUES (1); COMMIT",
        "not SQL at all",
    ],
)
async def test_a_statement_may_not_touch_the_transaction_or_the_tables_of_the_store(family: Any, sql: str):
    """Refused with its write; the store goes on as if it had never come."""
    before = await family.facts()
    assert isinstance(await family.answer_to(family.starting_with("e1", Statement(sql))), StatementFailed)
    assert await family.facts() == before
    assert isinstance(await family.answer_to(family.starting_with("e1")), Started)


@pytest.mark.parametrize(
    "sql",
    [
        f"{ENDLESS} SELECT count(*) FROM a",
        f"INSERT INTO children {ENDLESS} SELECT x FROM a",
    ],
)
async def test_a_statement_without_an_end_is_interrupted_and_takes_only_its_own_write(family: Any, sql: str):
    """SQLite gives the whole transaction up when it interrupts a write: the others begin again."""
    answers = await family.store.commit(
        [family.starting_with("e1"), family.starting_with("e2", Statement(sql)), family.starting_with("e3")]
    )
    assert [type(answer) for answer in answers] == [Started, StatementFailed, Started]
    assert "busy for more than" in str(answers[1])
    assert await family.raw("SELECT count(*) FROM children") == [(0,)]


async def test_a_statement_cannot_take_a_gigabyte(family: Any):
    """Nor is the limit left behind for others."""
    huge = Statement("INSERT INTO children VALUES (zeroblob(1000000000))")
    assert isinstance(await family.answer_to(family.starting_with("e1", huge)), StatementFailed)
    assert isinstance(await family.answer_to(family.starting_with("e1")), Started)


async def test_a_failing_statement_is_named(family: Any):
    """Which of them, what it says, and why it was refused."""
    fine, wrong = Statement("INSERT INTO parents VALUES (1)"), Statement("INSERT INTO  nowhere VALUES (1)")
    failed = await family.answer_to(family.starting_with("e1", fine, wrong))
    assert (failed.position, failed.sql) == (2, wrong.sql)
    assert str(failed) == (
        "statement 2 of the transaction failed: no such table: nowhere (INSERT INTO nowhere VALUES (1))"
    )
    assert await family.raw("SELECT count(*) FROM parents") == [(0,)]


@pytest.mark.parametrize(
    ("sql", "changed"),
    [
        ("UPDATE parents SET id = id + 10 WHERE id < 3", 2),
        ("UPDATE parents SET id = id + 10 WHERE id < 3 RETURNING id", 2),
        ("DELETE FROM parents WHERE id = 7", 0),
        ("INSERT INTO parents VALUES (5)", 1),
    ],
)
async def test_a_statement_may_say_how_many_rows_it_must_change(family: Any, sql: str, changed: int):
    """So that an update that finds nothing to update can be the step's failure."""
    await family.raw("INSERT INTO parents (id) VALUES (1), (2), (3)")
    failed = await family.answer_to(family.starting_with("e1", Statement(sql, rows=changed + 1)))
    assert isinstance(failed, StatementFailed)
    assert failed.why == f"it changed {changed} rows, not {changed + 1}"
    assert isinstance(
        await family.answer_to(family.starting_with("e1", Statement(sql, rows=changed))), Started
    )


async def test_a_statement_that_rolls_everything_back_takes_only_its_own_write(family: Any):
    """`OR ROLLBACK` ends the transaction: the others begin again without it."""
    await family.raw("INSERT INTO parents (id) VALUES (1)")
    twice = Statement("INSERT OR ROLLBACK INTO parents (id) VALUES (1)")
    answers = await family.store.commit(
        [family.starting_with("e1"), family.starting_with("e2", twice), family.starting_with("e3")]
    )
    assert [type(answer) for answer in answers] == [Started, StatementFailed, Started]
