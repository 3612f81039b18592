"""A batch is one transaction, and each of its writes stands alone in it."""

from __future__ import annotations

import pytest

from perdure.store.errors import PerdureError
from perdure.store.states import State
from perdure.store.writes import Changed, DeleteExecution, Started, Statement

pytestmark = pytest.mark.anyio

HUGE = 2**70  # no integer of SQLite's
BAD = (
    "stale",
    "illegal",
    "missing",
    "naughty",
    "constraint",
    "too large an integer",
    "no text",
    "no value",
    "lone surrogate",
    "unknown column",
    "bad SQL",
    "two statements",
    "not allowed",
    "ends the transaction",
)


def bad_writes(book, execution) -> dict[str, object]:
    """One write for each way in which one may be refused."""
    return {
        "stale": book.change(execution, version=9),
        "illegal": book.change(execution, State.RESTORING_CHECKPOINT),
        "missing": DeleteExecution(execution_id="nobody"),
        "naughty": book.starting("no id"),
        "constraint": book.starting("e9", workflow_no=99),
        "too large an integer": book.change(execution, fields={"remaining_ms": HUGE}),
        "no text": book.change(execution, fields={"context": b"\xff"}),
        "no value": book.change(execution, fields={"paused_by": object()}),
        "lone surrogate": book.change(execution, fields={"paused_by": "\ud800"}),
        "unknown column": book.change(execution, fields={"state": "paused"}),
        "bad SQL": book.change(execution, statements=(Statement("no SQL"),)),
        "two statements": book.change(execution, statements=(Statement("SELECT 1; SELECT 2"),)),
        "not allowed": book.change(execution, statements=(Statement("DELETE FROM workflows"),)),
        "ends the transaction": book.change(
            execution, statements=(Statement("INSERT OR ROLLBACK INTO mine VALUES (1)"),)
        ),
    }


def test_every_bad_write_is_tried(book_of):
    """The list of names and the writes are one."""
    book = book_of(None)
    execution = type("Execution", (), {"no": 1, "id": "e1", "version": 1, "epoch": 0, "state": State.IDLE})()
    assert tuple(bad_writes(book, execution)) == BAD


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_write_in_the_middle_touches_none_of_its_neighbours(book, name: str):
    """Before it and after it everything is done, and the answers are in order."""
    await book.raw("CREATE TABLE mine (x INTEGER UNIQUE)")
    await book.raw("INSERT INTO mine VALUES (1)")
    execution = await book.start("e1")
    other = await book.start("e2")
    bad = bad_writes(book, execution)[name]
    first = book.change(other, fields={"paused_by": "first"})
    last = book.starting("e3")
    answers = await book.store.commit([first, bad, last])
    assert isinstance(answers[0], Changed)
    assert isinstance(answers[1], PerdureError)
    assert isinstance(answers[2], Started)
    assert (await book.execution("e2")).paused_by == "first"
    assert (await book.execution("e1")) == execution
    assert await book.store.find("e") == ["e3", "e2", "e1"]
    assert await book.store.verify() == []


async def test_a_later_write_of_a_batch_sees_the_earlier_ones(book):
    """Two changes of one execution, in the order in which they were asked for."""
    execution = await book.start()
    moves = [
        book.change(execution, State.PAUSING),
        book.change(execution, State.PAUSED, version=2, before=State.PAUSING),
    ]
    assert [answer.version for answer in await book.store.commit(moves)] == [2, 3]
    assert (await book.execution()).state is State.PAUSED


async def test_an_empty_batch_is_nothing(book):
    """It is answered with nothing."""
    assert await book.store.commit([]) == []
