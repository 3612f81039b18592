"""The log: append-only whoever writes, consecutive inside a change, a command in it once."""

from __future__ import annotations

import pytest

from perdure.store.errors import DuplicateCommand
from perdure.store.states import State
from perdure.store.writes import DeleteExecution, Delta, EventWrite

pytestmark = pytest.mark.anyio


async def test_the_events_of_one_change_have_consecutive_ids(book):
    """Even in the middle of a batch, so that whoever committed it can tell them from the first."""
    first, second = await book.start("e1"), await book.start("e2")
    three = tuple(EventWrite(kind) for kind in ("x", "y", "z"))
    answers = await book.store.commit(
        [book.change(first, events=three), book.change(second, version=9), book.change(second, events=three)]
    )
    log = {event.id: event.type for event in await book.store.events()}
    for changed in (answers[0], answers[2]):
        assert [log[changed.first_event_id + offset] for offset in range(3)] == ["x", "y", "z"]


async def test_a_change_without_events_says_so(book):
    """The first id is 0 then."""
    execution = await book.start()
    assert (await book.answer_to(book.change(execution, events=()))).first_event_id == 0
    silent = await book.answer_to(book.starting("e2", delta=Delta()))
    assert (silent.joined, silent.first_event_id) == (False, 0)


async def test_an_event_comes_back_as_it_was_written(book):
    """With the step's key and the trace of its execution, which are kept once."""
    execution = await book.start()
    written = EventWrite("step_failed", step_no=1, attempt=2, by="anna", command_id="c9", data=b'{"a":[1]}')
    await book.move(execution, events=(written,))
    event = (await book.store.events(execution_id="e1"))[-1]
    assert (event.type, event.step, event.attempt, event.by) == ("step_failed", "b", 2, "anna")
    assert (event.command_id, event.data, event.trace_id, event.version) == (
        "c9",
        {"a": [1]},
        "trace-e1",
        2,
    )


async def test_the_log_is_read_on_from_any_event(book):
    """Of one execution or of all, oldest first, as many as were asked for."""
    first, second = await book.start("e1"), await book.start("e2")
    for _ in range(3):
        first, second = await book.move(first), await book.move(second)
    everything = await book.store.events()
    assert [event.id for event in everything] == sorted(event.id for event in everything)
    assert len(everything) == 8
    assert await book.store.events(after=everything[2].id, limit=2) == everything[3:5]
    mine = [event for event in everything if event.execution_id == "e1"]
    assert await book.store.events(execution_id="e1") == mine
    assert await book.store.events(execution_id="e1", after=mine[0].id) == mine[1:]
    assert await book.store.events(execution_id="nobody") == []
    moved = [event for event in mine if event.type == mine[-1].type]
    assert await book.store.events(execution_id="e1", type=mine[-1].type) == moved
    assert await book.store.events(execution_id="e1", type="nothing_such") == []


async def test_a_command_is_applied_once_to_an_execution(book):
    """The second time the whole change is refused; another execution may know the same command."""
    first, second = await book.start("e1"), await book.start("e2")
    paused = (EventWrite("pause_requested", command_id="c1"),)
    first = await book.move(first, State.PAUSING, events=paused)
    duplicate = await book.answer_to(book.change(first, State.PAUSED, events=(EventWrite("x"), *paused)))
    assert isinstance(duplicate, DuplicateCommand)
    assert duplicate.command_id == "c1"
    assert (await book.execution("e1")).state is State.PAUSING
    assert [event.type for event in await book.store.events(execution_id="e1")].count("x") == 0
    await book.move(second, State.PAUSING, events=paused)


async def test_the_store_knows_in_which_version_a_command_was_applied(book):
    """To each execution its own."""
    first, _ = await book.start("e1"), await book.start("e2")
    first = await book.move(first)
    await book.move(first, events=(EventWrite("signal_received", command_id="c1"),))
    assert await book.store.applied("e1", "c1") == 3
    assert await book.store.applied("e1", "c2") is None
    assert await book.store.applied("e2", "c1") is None
    assert await book.store.applied("nobody", "c1") is None


async def test_ids_of_deleted_events_are_not_given_again(book):
    """A reader that has seen an id must never meet another event under it."""
    await book.move(await book.start("e1"), State.FAILED)
    last = (await book.store.events())[-1].id
    await book.write(DeleteExecution(execution_id="e1"))
    await book.start("e2")
    [event] = await book.store.events()
    assert event.id > last
