"""Which revision of a workflow is active, and how an execution at rest moves to another one."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.store.errors import Conflict, DuplicateCommand, IllegalTransition, NotFound
from perdure.store.records import Execution
from perdure.store.scripts.versions import ActivateWorkflow, DeactivateWorkflow, MigrateExecution
from perdure.store.states import State, StepState
from perdure.store.writes import DeleteExecution, DeleteWorkflow, EventWrite, PublishStep, TimerWrite

pytestmark = pytest.mark.anyio

TURNED = (
    PublishStep(no=0, key="new", level=0, agent="one", needs=()),
    PublishStep(no=1, key="b", level=0, agent="two", needs=()),
    PublishStep(no=2, key="a", level=1, agent="three", needs=(0,)),
)


def migration(book: Any, execution: Execution, **fields: Any) -> MigrateExecution:
    """Move from `a, b, c` to `new, b, a`; `c` is gone."""
    usual = {
        "version": execution.version,
        "workflow_no": book.workflow_no,
        "numbers": ((0, 2), (1, 1), (2, None)),
        "by": "ada",
        "command_id": "m",
        "data": b'{"to":"r2"}',
        "at": book.tick(),
    }
    return MigrateExecution(**({"execution_id": execution.id} | usual | fields))


async def resting(book: Any) -> Execution:
    """A paused execution of r1 in which `a` completed, `b` waits and `c` failed; r2 is active."""
    execution = await book.start()
    attempts = (
        book.outcome(0, b'"a"'),
        book.attempt(1, StepState.WAITING, due_at=5),
        book.attempt(2, StepState.FAILED, is_outcome=True),
    )
    events = tuple(EventWrite("told", step_no=number) for number in range(3))
    timers = (TimerWrite("retry", 1, 5), TimerWrite("retry", 0, 7))
    execution = await book.move(execution, State.PAUSED, attempts=attempts, events=events, timers=timers)
    await book.publish(revision="r2", steps=TURNED)
    return execution


async def test_versions_tell_the_active_one_and_how_many_executions_are_of_each(book):
    """Newest first; a name nobody has used has none."""
    await book.start()
    await book.move(await book.start("done"), State.CANCELLED)
    await book.publish(revision="r2", version="2")
    new, old = await book.store.versions("order")
    assert (new.revision, new.version, new.is_active, new.executions, new.unfinished) == (
        "r2",
        "2",
        True,
        0,
        0,
    )
    assert (old.revision, old.is_active, old.executions, old.unfinished) == ("r1", False, 2, 1)
    assert await book.store.versions("nobody") == []


async def test_activating_a_revision_exchanges_it_for_the_one_that_was(book):
    """And to take all of them out of use leaves none."""
    await book.publish()
    await book.publish(revision="r2")
    await book.write(ActivateWorkflow(name="order", revision="r1"))
    assert (await book.store.workflow("order")).revision == "r1"
    assert [one.is_active for one in await book.store.versions("order")] == [False, True]
    assert await book.write(DeactivateWorkflow(name="order")) == 1
    assert await book.store.workflow("order") is None
    assert await book.write(DeactivateWorkflow(name="order")) == 0
    for write in (ActivateWorkflow(name="order", revision="r9"), DeactivateWorkflow(name="nobody")):
        assert isinstance(await book.answer_to(write), NotFound)


async def test_an_execution_moves_with_its_rows_to_the_steps_of_the_same_key(book):
    """The rows of a step that is gone go; the log keeps the names of its own time."""
    execution = await resting(book)
    assert await book.write(migration(book, execution)) == execution.version + 1
    moved = await book.execution()
    assert (moved.revision, moved.version, moved.epoch) == ("r2", execution.version + 1, execution.epoch + 1)
    attempts = [(one.step, one.step_no, one.state) for one in await book.store.attempts("e1")]
    assert attempts == [("b", 1, StepState.WAITING), ("a", 2, StepState.COMPLETED)]
    loaded = await book.store.load("e1")
    assert {(timer.kind, timer.step_no) for timer in loaded.timers} == {("retry", 1), ("retry", 2)}
    events = await book.store.events(execution_id="e1")
    assert [event.step for event in events if event.type == "told"] == ["a", "b", "c"]
    assert (events[-1].type, events[-1].by, events[-1].data) == ("workflow_migrated", "ada", {"to": "r2"})
    later = await book.move(moved, events=(EventWrite("told", step_no=2),))
    assert [e.step for e in await book.store.events(execution_id=later.id) if e.type == "told"][-1] == "a"
    assert await book.store.verify() == []


async def test_the_audit_feed_names_the_steps_as_they_were_called_then(book):
    """And the revision that they were of; what comes later is of the new one."""
    await book.write(migration(book, await resting(book)))
    await book.move(await book.execution(), events=(EventWrite("told", step_no=2),))
    fed = "SELECT step, agent FROM workflow_audit_feed WHERE event = 'told' ORDER BY id"
    assert await book.raw(fed) == [("a", "one"), ("b", "two"), ("c", "three"), ("a", "three")]


async def test_a_move_is_refused_where_it_would_cross_something(book):
    """Another version, an owner, steps in flight, the same command again; nothing is written."""
    execution = await resting(book)
    facts = await book.facts()
    assert isinstance(await book.answer_to(migration(book, execution, version=1)), Conflict)
    assert isinstance(await book.answer_to(migration(book, execution, execution_id="e9")), NotFound)
    assert await book.facts() == facts
    await book.write(migration(book, execution))
    assert isinstance(await book.answer_to(migration(book, await book.execution())), DuplicateCommand)
    running = await book.start("running")
    assert "pause it" in str(await book.answer_to(migration(book, running)))
    await book.write(book.claim(await book.execution(), await book.register()))
    refusal = await book.answer_to(migration(book, await book.execution(), command_id="n"))
    assert isinstance(refusal, IllegalTransition)
    assert "holds it" in str(refusal)


async def test_a_revision_that_an_execution_once_had_stays_as_long_as_that(book):
    """Its log has the names of its steps."""
    await book.write(migration(book, await resting(book)))
    delete = DeleteWorkflow(name="order", revision="r1")
    assert isinstance(await book.answer_to(delete), IllegalTransition)
    await book.move(await book.execution(), State.CANCELLED)
    await book.write(DeleteExecution(execution_id="e1"))
    await book.write(delete)
