"""`verify` tells damage that somebody has planted, in words, and nothing where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from perdure.store.errors import StoreCorrupt
from perdure.store.states import State
from perdure.store.writes import CheckpointWrite, EventWrite, MessageWrite, TimerWrite

pytestmark = pytest.mark.anyio

NO_TRIGGERS = "DROP TRIGGER workflow_events_never_{}"
SECOND_OUTCOME = (
    "INSERT INTO workflow_step_executions (execution_no, step_no, generation, attempt, lineage, state, "
    "is_outcome, opened_version, settled_version) VALUES (1, 0, 0, 2, 0, 'failed', 1, 2, 2)"
)


async def ordinary(book, id_: str = "e1") -> None:
    """An execution with a row in every table; version 3 is a silent one."""
    execution = await book.start(id_)
    no = await book.write(book.post(id_))
    execution = await book.move(
        execution,
        attempts=(book.outcome(0), book.attempt(1)),
        timers=(TimerWrite("retry", 1, 5),),
        messages=(MessageWrite(no, b"1"),),
        checkpoint=CheckpointWrite(
            "x", None, automatic=False, steps_completed=1, steps_total=3, size_bytes=1
        ),
        events=(EventWrite("step_completed", step_no=0, data=b'{"a":1}'),),
    )
    execution = await book.move(execution, events=(), fields={"context": b'{"n":2}'})
    await book.move(execution, State.PAUSING)


async def test_an_ordinary_store_has_nothing_to_tell(book):
    """A version without events (an execution given up, a message applied) is no gap."""
    assert await book.store.verify() == []
    await ordinary(book)
    assert await book.store.verify() == []
    assert await book.store.verify("e1") == []
    assert await book.store.verify("nobody") == []


PLANTED = {
    "execution e1 is in the state 'dancing', which does not exist": [
        "UPDATE workflow_executions SET state = 'dancing' WHERE id = 'e1'"
    ],
    "step 0 of execution e1 is in the state 'dancing', which does not exist": [
        "UPDATE workflow_step_executions SET state = 'dancing' WHERE execution_no = 1 AND step_no = 0"
    ],
    "execution e1 has no context: nobody can take it up": [
        "DELETE FROM workflow_contexts WHERE execution_no = 1"
    ],
    "the context of execution e1 is not readable JSON": [
        "UPDATE workflow_contexts SET patched_context = '{' WHERE execution_no = 1"
    ],
    "the output or error of step 0 of execution e1 is not readable JSON": [
        "UPDATE workflow_step_executions SET output = 'oops' WHERE execution_no = 1 AND step_no = 0"
    ],
    "event 2 of execution e1 is not readable JSON": [
        NO_TRIGGERS.format("change"),
        "UPDATE workflow_events SET data = 'oops' WHERE id = 2",
    ],
    "the error of execution e1 is not readable JSON": [
        "UPDATE workflow_executions SET error = 'oops' WHERE id = 'e1'"
    ],
    "event 3 of execution e1 is of version 4, but the execution only came to 3: a change was lost": [
        "UPDATE workflow_executions SET version = 3 WHERE id = 'e1'"
    ],
    "message 1 of execution e1 is of version 7, but the execution only came to 4: a change was lost": [
        "UPDATE workflow_messages SET applied_version = 7 WHERE no = 1"
    ],
    "event 3 of execution e1 is of version 1 and comes after one of 2: the log is not in order": [
        NO_TRIGGERS.format("change"),
        "UPDATE workflow_events SET version = 1 WHERE id = 3",
    ],
    "a step or checkpoint of execution e1 moved in version 2, which has no event: its log has a gap": [
        NO_TRIGGERS.format("vanish"),
        "DELETE FROM workflow_events WHERE id = 2",
    ],
    "step 0 of execution e1 has 2 outcomes in generation 0": [
        "DROP INDEX workflow_step_executions_outcome",
        SECOND_OUTCOME,
    ],
    "execution e1 has an attempt of step 7, and its workflow no such step": [
        "UPDATE workflow_step_executions SET step_no = 7 WHERE execution_no = 1 AND step_no = 0"
    ],
    "step 1 of execution e1 is running although the execution is paused": [
        "UPDATE workflow_executions SET state = 'paused' WHERE id = 'e1'"
    ],
    "execution e1 is failed and still has a timer (retry)": [
        "UPDATE workflow_step_executions SET state = 'waiting' WHERE execution_no = 1 AND step_no = 1",
        "UPDATE workflow_executions SET state = 'failed' WHERE id = 'e1'",
    ],
    "execution e1 is failed and still holds or wants a slot of orders": [
        "UPDATE workflow_executions SET state = 'failed', slot = 'orders' WHERE id = 'e1'"
    ],
    "execution e1 is cancelled and still holds a slot of 'press'": [
        "UPDATE workflow_executions SET state = 'cancelled' WHERE id = 'e1'",
        "INSERT INTO workflow_slots (scope, holder, runner_no, taken_at) VALUES ('press', 'e1:0:0:1', 1, 0)",
    ],
}


@pytest.mark.parametrize(("sentence", "statements"), PLANTED.items(), ids=range(len(PLANTED)))
async def test_planted_damage_is_told_in_a_sentence(book, sentence: str, statements: list[str]):
    """Of the execution that has it, and of no other."""
    await ordinary(book, "e1")
    await ordinary(book, "e2")
    await book.damage(*statements)
    assert sentence in await book.store.verify()
    assert sentence in await book.store.verify("e1")
    assert not [told for told in await book.store.verify("e2") if "e1" in told]
    assert not [told for told in await book.store.verify() if " e2" in told]


async def test_a_slot_of_nobody_is_told(book):
    """Its execution was deleted; one of an execution that goes on is as it should be."""
    await ordinary(book)
    slot = "INSERT INTO workflow_slots (scope, holder, runner_no, taken_at) VALUES ('press', '{}', 1, 0)"
    await book.damage(slot.format("e1:0:0:1"), slot.format("gone:0:0:1"))
    told = [each for each in await book.store.verify() if "slot of 'press'" in each]
    assert told == ["execution gone is not there and still holds a slot of 'press'"]


async def test_rows_that_hang_in_the_air_are_told(book):
    """What they refer to is not there."""
    await ordinary(book)
    await book.damage("UPDATE workflow_executions SET runner_no = 99, workflow_no = 99")
    told = await book.store.verify()
    assert "a row of workflow_executions refers to a row of runners that is not there" in told
    assert "a row of workflow_executions refers to a row of workflows that is not there" in told


@pytest.mark.parametrize("state", [State.EXECUTING, State.PAUSING, State.CANCELLING])
async def test_what_a_dead_runner_left_running_is_no_damage(book, state: State):
    """Its attempts are running until somebody takes the execution up."""
    await book.move(await book.start(), attempts=(book.attempt(0),))
    await book.raw("UPDATE workflow_executions SET state = ?, runner_no = NULL", state)
    assert await book.store.verify() == []


def overwrite_the_end(path: Path) -> None:
    """Two pages of nonsense, as a failing disk leaves them, among those that were written last."""
    content = bytearray(path.read_bytes())
    content[-8192:] = b"\xa5" * 8192
    path.write_bytes(content)


async def test_a_damaged_file_is_told_and_not_raised(path, open_store, book_of):
    """Pages were overwritten: whatever can still be said is said."""
    store = await open_store(inline=True)
    book = book_of(store)
    for number in range(50):
        await ordinary(book, f"e{number}")
    await store.close()
    overwrite_the_end(Path(path))
    await store.open()
    told = await store.verify()
    assert any(sentence.startswith("the file is damaged") for sentence in told)
    await store.close()


async def test_an_execution_that_cannot_be_read_back_says_so(book):
    """It is never taken for another one; the error says what to do."""
    await book.start()
    await book.damage("UPDATE workflow_contexts SET context = '{'")
    with pytest.raises(StoreCorrupt, match=r"the context of execution e1 .* run verify"):
        await book.store.load("e1")
    await book.damage(
        "UPDATE workflow_contexts SET context = '{}'", "UPDATE workflow_executions SET error = '[]'"
    )
    with pytest.raises(StoreCorrupt, match="run verify"):
        await book.store.execution("e1")


async def test_verify_leaves_no_transaction_open(book):
    """The connection can write, and be asked, afterwards."""
    await ordinary(book)
    await book.store.verify()
    await book.damage("DROP TABLE workflow_timers")
    with pytest.raises(Exception, match="no such table"):
        await book.store.verify()
    await book.start("e2")
    assert (await book.store.find("e2")) == ["e2"]
