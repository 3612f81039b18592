"""Executions move by compare-and-swap: what is stale, foreign or unlawful changes nothing."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.store.circuits import CircuitBreakerState
from perdure.store.errors import (
    Conflict,
    IllegalTransition,
    InvalidId,
    LeaseLost,
    NotFound,
    PayloadTooLarge,
    StoreError,
)
from perdure.store.records import PAYLOAD_BYTES_MAX, Error
from perdure.store.states import State, StepState, can_become
from perdure.store.usage import Limits, Usage
from perdure.store.writes import (
    CHANGEABLE,
    Changed,
    Delta,
    EventWrite,
    Release,
    Started,
    Statement,
    TimerWrite,
    UpdateExecution,
)

pytestmark = pytest.mark.anyio

NAUGHTY_IDS = [
    "",
    " ",
    "a b",
    ".hidden",
    "-x",
    "a/b",
    "../up",
    ".",
    "..",
    "\t",
    "\x07",
    "a\nb",
    "é",
    "a" * 129,
    "a\x00b",
    "%",
    "\uff20",
]


async def test_a_start_is_version_one(book):
    """With its context, its first event and nobody who owns it."""
    execution = await book.start("e1", context=b'{"item":"lamp"}', priority=3, triggered_by="me")
    assert (execution.version, execution.epoch, execution.runner) == (1, 0, None)
    assert (execution.context, execution.priority, execution.triggered_by) == ({"item": "lamp"}, 3, "me")
    [event] = await book.store.events(execution_id="e1")
    assert (event.type, event.version, event.trace_id) == ("workflow_started", 1, "trace-e1")


async def test_a_start_with_an_owner_is_epoch_one(book):
    """Nobody has to claim what he started."""
    runner_no = await book.register("runner-7")
    execution = await book.start("e1", runner_no=runner_no)
    assert (execution.epoch, execution.runner) == (1, "runner-7")


async def test_starting_the_same_id_twice_joins(book):
    """The second start writes nothing and says which execution it is."""
    first = await book.start("e1", context=b'{"n":1}')
    before = await book.facts()
    answer = await book.answer_to(book.starting("e1", context=b'{"n":2}'))
    assert answer == Started(first.no, joined=True, first_event_id=0)
    assert await book.facts() == before


@pytest.mark.parametrize("id_", NAUGHTY_IDS)
async def test_a_naughty_id_is_refused(book, id_: str):
    """Ids end up in paths, addresses and logs."""
    await book.publish()
    assert isinstance(await book.refusal_of(book.starting(id_)), InvalidId)


@pytest.mark.parametrize("id_", NAUGHTY_IDS)
async def test_the_schema_refuses_a_naughty_id_by_itself(book, id_: str):
    """Whoever writes past the store meets the same rule (but for a NUL, which ends a text in SQL)."""
    await book.start("e1")
    if "\x00" in id_:
        return
    with pytest.raises(book.broken, match=r"(?i)check constraint"):
        await book.raw("UPDATE workflow_executions SET id = ?", id_)


@pytest.mark.parametrize("id_", ["a", "9", "A.b_c-d", "x" * 128])
async def test_an_ordinary_id_is_taken(book, id_: str):
    """Letters, digits and what is harmless in a path."""
    assert (await book.start(id_)).id == id_


async def test_an_execution_cannot_begin_in_a_state_that_idle_does_not_lead_to(book):
    """Nor with a step in a state that no pending step comes to."""
    await book.publish()
    illegal = await book.refusal_of(book.starting("e1", state=State.RESTORING_CHECKPOINT))
    assert isinstance(illegal, IllegalTransition)
    compensated = Delta(attempts=(book.attempt(0, StepState.COMPENSATED),))
    assert isinstance(await book.refusal_of(book.starting("e1", delta=compensated)), IllegalTransition)


async def test_an_execution_of_no_workflow_is_refused(book):
    """Foreign keys are on."""
    await book.publish()
    assert isinstance(await book.refusal_of(book.starting("e1", workflow_no=99)), StoreError)


async def test_a_change_moves_the_execution_one_version_on(book):
    """The answer says the version and the first event."""
    execution = await book.start()
    answer = await book.answer_to(book.change(execution, State.PAUSING))
    moved = await book.execution()
    assert isinstance(answer, Changed)
    assert (moved.state, moved.version, answer.version) == (State.PAUSING, 2, 2)
    [event] = [event for event in await book.store.events() if event.id == answer.first_event_id]
    assert (event.type, event.version) == ("noted", 2)


async def test_a_stale_version_conflicts_and_tells_the_current_one(book):
    """Somebody was faster."""
    execution = await book.start()
    await book.move(execution)
    conflict = await book.refusal_of(book.change(execution, State.PAUSING))
    assert isinstance(conflict, Conflict)
    assert (conflict.expected, conflict.current) == (1, 2)


async def test_a_version_from_the_future_conflicts_too(book):
    """It can only be a mistake."""
    execution = await book.start()
    assert isinstance(await book.refusal_of(book.change(execution, version=7)), Conflict)


async def test_a_runner_that_lost_its_lease_cannot_write(book):
    """The epoch tells, even where the version is still right."""
    execution = await book.start()
    await book.write(book.claim(execution, await book.register()))
    lost = await book.refusal_of(book.change(execution, State.PAUSING))
    assert isinstance(lost, LeaseLost)
    assert (lost.held_epoch, lost.current_epoch) == (0, 1)


async def test_a_move_that_is_not_in_the_table_is_refused(book):
    """And the refusal says where the execution is."""
    execution = await book.start()
    illegal = await book.refusal_of(book.change(execution, State.RESTORING_CHECKPOINT))
    assert isinstance(illegal, IllegalTransition)
    assert (illegal.state, illegal.version) == (State.EXECUTING, 1)


async def test_a_move_from_a_state_the_execution_is_not_in_is_refused(book):
    """Right version, right epoch, lawful move: and yet not this execution's."""
    execution = await book.start()
    wrong = book.change(execution, State.PAUSED, before=State.PAUSING)
    assert isinstance(await book.refusal_of(wrong), IllegalTransition)


async def test_a_change_of_nothing_is_not_found(book):
    """The execution was deleted, or never was."""
    execution = await book.start()
    change = book.change(execution)
    change = type(change)(
        **{name: getattr(change, name) for name in change.__struct_fields__} | {"execution_no": 99}
    )
    assert isinstance(await book.refusal_of(change), NotFound)


async def test_an_illegal_move_of_a_lost_execution_says_that_it_is_lost(book):
    """What the runner must know first is that it has no business here."""
    execution = await book.start()
    await book.write(book.claim(execution, await book.register()))
    assert isinstance(await book.refusal_of(book.change(execution, State.RESTORING_CHECKPOINT)), LeaseLost)


@pytest.mark.parametrize("before", list(State))
async def test_the_database_takes_exactly_the_moves_of_the_table(book, before: State):
    """From every state to every other, on real rows."""
    execution = await book.start()
    await book.raw("UPDATE workflow_executions SET state = ?", before)
    for after in State:
        current = await book.execution()
        answer = await book.answer_to(book.change(current, after))
        assert isinstance(answer, Changed) is can_become(before, after), (before, after)
        await book.raw("UPDATE workflow_executions SET state = ?", before)
    assert execution.state is State.EXECUTING


async def test_coming_to_an_end_clears_every_timer(book):
    """What has ended is woken by nothing."""
    execution = await book.start(deadline_at=book.now + 60_000)
    execution = await book.move(execution, timers=(TimerWrite("retry", 0, 5), TimerWrite("deadline", -1, 9)))
    other = await book.move(await book.start("e2"), timers=(TimerWrite("retry", 0, 7),))
    await book.move(execution, State.FAILED)
    assert await book.raw("SELECT execution_no FROM workflow_timers") == [(other.no,)]


async def test_every_changeable_column_comes_back_as_it_was_set(book):
    """And a later change can clear it."""
    runner_no = await book.register()
    execution = await book.start()
    values: dict[str, Any] = {
        "context": b'{"n":2}',
        "error": b'{"type":"ValueError","message":"no"}',
        "deadline_at": book.now,
        "remaining_ms": 5,
        "started_at": book.now,
        "paused_at": book.now,
        "finished_at": book.now,
        "pause_mode": "drain",
        "paused_by": "anna",
        "pause_reason": "lunch",
        "rollback_reason": "rain",
        "resume_count": 2,
        "runner_no": runner_no,
        "agents": "module:agents",
        "cost_nanos": 250_000_000,
        "tokens": 7,
        "budget": '{"cost":1.5,"tokens":null}',
        "queue": "work/a",
        "slot": "work/b",
        "resume_plan": None,
        "circuit_breaker_state": '{"tripped_at":5,"reason":"why","reset_at":null}',
    }
    assert set(values) == CHANGEABLE
    moved = await book.move(execution, fields=values)
    assert moved.context == {"n": 2}
    assert moved.error == Error(type="ValueError", message="no")
    assert (moved.pause_mode, moved.paused_by, moved.pause_reason) == ("drain", "anna", "lunch")
    assert (moved.remaining_ms, moved.resume_count, moved.runner) == (5, 2, "runner-1")
    assert (moved.queue, moved.slot) == ("work/a", "work/b")
    assert moved.circuit_breaker_state == CircuitBreakerState(tripped_at=5, reason="why")
    assert (moved.usage, moved.budget) == (Usage(cost=0.25, tokens=7), Limits(cost=1.5))
    assert int(moved.deadline_at.timestamp() * 1000) == values["deadline_at"]
    cleared = await book.move(moved, fields=dict.fromkeys(set(values) - {"context", "resume_count"}))
    assert (cleared.error, cleared.paused_at, cleared.pause_reason, cleared.runner) == (None,) * 4


async def test_a_change_may_not_set_any_other_column(book):
    """Least of all the version or the state behind the back of the table."""
    execution = await book.start()
    for column in ("version", "state", "epoch", "id", "priority = 9 --"):
        assert isinstance(await book.refusal_of(book.change(execution, fields={column: 1})), StoreError)


async def test_a_context_patch_of_a_refused_change_is_undone(book):
    """It is written before the swap, in the same savepoint."""
    execution = await book.start(context=b'{"n":1}')
    await book.refusal_of(book.change(execution, version=9, fields={"context": b'{"n":2}'}))
    assert (await book.execution()).context == {"n": 1}


async def test_what_is_too_large_is_refused_before_it_is_kept(book):
    """A context, an output, an error, the data of an event."""
    execution = await book.start()
    large = b'"' + b"x" * PAYLOAD_BYTES_MAX + b'"'
    for change in (
        book.change(execution, fields={"context": large}),
        book.change(execution, fields={"error": large}),
        book.change(execution, attempts=(book.outcome(0, large),)),
        book.change(execution, events=(EventWrite("noted", data=large),)),
    ):
        assert isinstance(await book.refusal_of(change), PayloadTooLarge)


async def test_a_release_gives_up_only_what_is_still_held(book):
    """With an old epoch it does nothing, and says nothing."""
    runner_no = await book.register()
    execution = await book.start(runner_no=runner_no)
    await book.write(Release(execution_no=execution.no, epoch=0))
    assert (await book.execution()).runner == "runner-1"
    await book.write(Release(execution_no=execution.no, epoch=1))
    assert ((await book.execution()).runner, (await book.execution()).version) == (None, 1)


async def test_the_priority_may_be_changed_beside_the_owner(book):
    """The version stays: the owner's next change is no conflict."""
    execution = await book.start()
    await book.write(UpdateExecution(execution_id="e1", priority=5, at=book.tick()))
    assert (await book.move(execution)).priority == 5
    missing = UpdateExecution(execution_id="nobody", priority=5, at=book.tick())
    assert isinstance(await book.refusal_of(missing), NotFound)


async def test_a_statement_is_executed_with_the_change_exactly_once(book):
    """In the same transaction; refused with it, too."""
    await book.raw("CREATE TABLE ledger (entry TEXT UNIQUE)")
    execution = await book.start()
    pay = (Statement(book.sql("INSERT INTO ledger VALUES (?)"), ("paid",)),)
    await book.move(execution, statements=pay)
    assert isinstance(await book.answer_to(book.change(execution, statements=pay)), Conflict)
    assert await book.raw("SELECT entry FROM ledger") == [("paid",)]
