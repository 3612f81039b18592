"""An execution may begin with the past of another one, in one transaction with a word in that one's log."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.store.errors import NotFound
from perdure.store.states import State
from perdure.store.writes import DeleteExecution, Delta, EventWrite, ForkWrite, Start

pytestmark = pytest.mark.anyio


def fork(book: Any, id_: str = "fork", *, source: str = "e1") -> Start:
    """The start of an execution that shares one outcome."""
    delta = Delta(attempts=(book.outcome(0, b'"out"', attempt=2),), events=(EventWrite("forked_from"),))
    origin = ForkWrite(source_id=source, source_version=1, by="ada")
    return book.starting(id_, state=State.IDLE, delta=delta, fork=origin)


async def test_a_fork_has_the_outcomes_it_shares_and_its_source_tells_of_it(book):
    """The source does not move by that: its version and its row are as they were."""
    source = await book.start()
    await book.write(fork(book))
    [shared] = await book.store.attempts("fork")
    assert (shared.step, shared.attempt, shared.is_outcome, bytes(shared.output)) == ("a", 2, True, b'"out"')
    assert await book.execution() == source
    *_, last = await book.store.events(execution_id="e1")
    assert (last.type, last.by, last.version) == ("forked_to", "ada", source.version)
    assert last.data == {"execution": "fork", "version": 1}
    assert await book.raw("SELECT source_id, source_version FROM workflow_forks") == [("e1", 1)]


async def test_the_same_fork_twice_is_told_once(book):
    """The second one joins."""
    await book.start()
    await book.write(fork(book))
    facts = await book.facts()
    assert (await book.write(fork(book))).joined
    assert await book.facts() == facts


async def test_a_fork_of_nothing_is_refused_and_leaves_nothing(book):
    """The source was deleted meanwhile."""
    await book.publish()
    facts = await book.facts()
    assert isinstance(await book.answer_to(fork(book, source="nobody")), NotFound)
    assert await book.facts() == facts


async def test_forks_are_written_beside_other_starts(book):
    """In a batch that is written as one, and after their source has begun in the same batch."""
    await book.publish()
    others = [book.starting(f"o{number}") for number in range(6)]
    answers = await book.store.commit([book.starting("e1"), *others[:3], fork(book), *others[3:]])
    assert [answer.joined for answer in answers] == [False] * 8
    assert [event.type for event in await book.store.events(execution_id="e1")] == [
        "workflow_started",
        "forked_to",
    ]


async def test_a_source_may_be_deleted_and_its_forks_after_it(book):
    """Nothing of either is left."""
    source = await book.start()
    await book.write(fork(book))
    await book.move(source, State.CANCELLED)
    await book.write(DeleteExecution(execution_id="e1"))
    await book.move(await book.execution("fork"), State.CANCELLED)
    await book.write(DeleteExecution(execution_id="fork"))
    assert await book.raw("SELECT * FROM workflow_forks") == []
