"""What may be deleted goes without a trace; everything else stays."""

from __future__ import annotations

import pytest

from perdure.store.errors import IllegalTransition, NotFound
from perdure.store.states import TERMINAL, State
from perdure.store.writes import (
    CheckpointWrite,
    DeleteExecution,
    DeleteWorkflow,
    EventWrite,
    MessageWrite,
    TimerWrite,
)

pytestmark = pytest.mark.anyio


async def full_life(book, id_: str) -> None:
    """An execution that leaves a row in every table, and has failed."""
    execution = await book.start(id_)
    no = await book.write(book.post(id_))
    execution = await book.move(
        execution,
        attempts=(book.outcome(0),),
        timers=(TimerWrite("retry", 1, 5),),
        messages=(MessageWrite(no, b"1"),),
        checkpoint=CheckpointWrite(
            None, None, automatic=True, steps_completed=1, steps_total=3, size_bytes=1
        ),
        events=(EventWrite("noted", command_id="c1"),),
        fields={"context": b"{}"},
    )
    await book.move(execution, State.FAILED)


async def test_a_deleted_execution_leaves_nothing_behind(book):
    """In any table; its neighbour keeps everything."""
    await full_life(book, "e1")
    rest = await book.facts()
    await full_life(book, "e2")
    await book.write(DeleteExecution(execution_id="e2"))
    assert await book.facts() == rest
    assert await book.store.verify() == []


@pytest.mark.parametrize("state", sorted(set(State) - TERMINAL))
async def test_an_execution_that_has_not_ended_cannot_be_deleted(book, state: State):
    """The refusal says what to do first."""
    await book.start()
    await book.raw("UPDATE workflow_executions SET state = ?", state)
    facts = await book.facts()
    refusal = await book.answer_to(DeleteExecution(execution_id="e1"))
    assert isinstance(refusal, IllegalTransition)
    assert "cancel it first" in str(refusal)
    assert await book.facts() == facts


async def test_deleting_nothing_is_not_found(book):
    """An execution or a revision that is not there."""
    assert isinstance(await book.answer_to(DeleteExecution(execution_id="nobody")), NotFound)
    assert isinstance(await book.answer_to(DeleteWorkflow(name="none", revision="r1")), NotFound)


async def test_a_revision_is_deleted_when_no_execution_uses_it(book):
    """With its steps and the edges between them."""
    await book.publish("used")
    await full_life(book, "e1")
    await book.publish("unused")
    refusal = await book.answer_to(DeleteWorkflow(name="used", revision="r1"))
    assert isinstance(refusal, IllegalTransition)
    assert "used by 1 execution" in str(refusal)
    await book.write(DeleteWorkflow(name="unused", revision="r1"))
    await book.write(DeleteExecution(execution_id="e1"))
    await book.write(DeleteWorkflow(name="used", revision="r1"))
    assert not any(rows for table, rows in (await book.facts()).items() if table != "runners")
