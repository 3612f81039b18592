"""Schedules: each moves by compare-and-swap, and each of its moments is decided once."""

from __future__ import annotations

from typing import Any

import pytest
from book import Book

from perdure.store.errors import Conflict, NotFound
from perdure.store.schedule_writes import DeleteSchedule, FiringWrite
from perdure.store.scripts.rows import milliseconds

pytestmark = pytest.mark.anyio

put, move = Book.put_schedule, Book.move_schedule


async def write(store: Any, *writes: Any) -> list[Any]:
    """One batch; its answers, refusals among them."""
    return list(await store.commit(list(writes)))


async def test_a_schedule_comes_back_as_it_was_put(store: Any):
    """Considered up to the moment it was made."""
    await write(store, put(), put("other", workflow="report", is_declared=True, next_at=None))
    found = await store.schedule("nightly")
    assert (found.id, found.workflow, found.rule) == ("nightly", "order", {"everyMs": 1000})
    assert (found.is_declared, found.is_paused, found.version) == (False, False, 1)
    assert (milliseconds(found.considered_at), milliseconds(found.next_at)) == (1_500, 2_000)
    assert (found.pending, found.last_execution) == ((), None)
    other = await store.schedule("other")
    assert (other.is_declared, other.next_at) == (True, None)
    assert await store.schedule("none") is None


async def test_schedules_are_listed_by_id_or_by_workflow(store: Any):
    """All, or those of one."""
    await write(store, put("b"), put("a", workflow="report"), put("c"))
    assert [one.id for one in await store.schedules()] == ["a", "b", "c"]
    assert [one.id for one in await store.schedules(workflow="order")] == ["b", "c"]


async def test_the_same_rule_again_changes_nothing_and_another_begins_anew(store: Any):
    """Moments that nobody has decided yet stay to be decided, unless the rule changes."""
    await write(store, put())
    before = await store.schedule("nightly")
    await write(store, put(at=9_000, next_at=10_000))
    assert await store.schedule("nightly") == before
    await write(store, put(rule=b'{"everyMs":5000}', at=9_000, next_at=10_000))
    after = await store.schedule("nightly")
    assert (after.no, after.version, milliseconds(after.next_at)) == (before.no, 2, 10_000)
    assert milliseconds(after.considered_at) == 9_000


async def test_only_what_is_due_and_not_paused_is_found_the_longest_due_first(store: Any):
    """And the next that will be."""
    assert await store.next_schedule_due() is None
    await write(store, put("late"), put("soon", next_at=1_800), put("rests"), put("never", next_at=None))
    await write(store, move(id="rests", is_paused=True, next_at=1_600))
    assert [one.id for one in await store.schedules_due(before=2_000, limit=10)] == ["soon", "late"]
    assert [one.id for one in await store.schedules_due(before=2_000, limit=1)] == ["soon"]
    assert await store.schedules_due(before=1_799, limit=10) == []
    assert await store.next_schedule_due() == 1_800


async def test_a_move_writes_what_was_decided(store: Any):
    """The newest first, each with what it has started or why not."""
    await write(store, put())
    answer = await write(
        store,
        move(
            FiringWrite(1_600, "missed", None, 4),
            FiringWrite(2_000, "started", "nightly.x"),
            FiringWrite(2_500, "refused", reason="an input is missing"),
            last_execution="nightly.x",
            pending=(2_600, 2_700),
        ),
    )
    assert answer == [2]
    found = await store.schedule("nightly")
    assert (found.version, found.pending, found.last_execution) == (2, (2_600, 2_700), "nightly.x")
    firings = await store.firings("nightly", limit=10)
    told = [(milliseconds(f.due_at), f.decision, f.count, f.execution_id, f.reason) for f in firings]
    assert told == [
        (2_500, "refused", 1, None, "an input is missing"),
        (2_000, "started", 1, "nightly.x", None),
        (1_600, "missed", 4, None, None),
    ]
    assert len(await store.firings("nightly", limit=1)) == 1


async def test_of_two_who_move_a_schedule_one_does(store: Any):
    """The other is told the version it has now, and nothing of its decision is written."""
    await write(store, put())
    first, second = await write(
        store,
        move(FiringWrite(2_000, "started", "one")),
        move(FiringWrite(2_000, "skipped"), FiringWrite(2_100, "skipped")),
    )
    assert first == 2
    assert isinstance(second, Conflict)
    assert second.current == 2
    assert [one.execution_id for one in await store.firings("nightly", limit=10)] == ["one"]


async def test_what_was_decided_stays_but_what_was_queued_begins(store: Any):
    """A moment has one line, whoever decides it again."""
    await write(store, put())
    await write(store, move(FiringWrite(2_000, "queued"), FiringWrite(2_100, "skipped")))
    await write(
        store, move(FiringWrite(2_000, "started", "x"), FiringWrite(2_100, "started", "y"), version=2)
    )
    told = [(one.decision, one.execution_id) for one in await store.firings("nightly", limit=10)]
    assert told == [("skipped", None), ("started", "x")]


async def test_the_last_execution_stays_while_nothing_is_started(store: Any):
    """A moment that is skipped does not make it forgotten."""
    await write(store, put())
    await write(store, move(last_execution="x"))
    await write(store, move(FiringWrite(3_000, "skipped"), version=2))
    assert (await store.schedule("nightly")).last_execution == "x"


async def test_a_deleted_schedule_is_gone_with_its_history(store: Any):
    """One of the same name later begins with none."""
    await write(store, put())
    await write(store, move(FiringWrite(2_000, "started", "x")))
    await write(store, DeleteSchedule(id="nightly"))
    assert await store.schedule("nightly") is None
    await write(store, put())
    assert await store.firings("nightly", limit=10) == []


async def test_what_is_not_there_cannot_be_moved_or_deleted(store: Any):
    """And what came in the same batch is written all the same."""
    moved, deleted, no = await write(store, move(id="x"), DeleteSchedule(id="x"), put())
    assert isinstance(moved, NotFound)
    assert isinstance(deleted, NotFound)
    assert isinstance(no, int)
    assert await store.schedule("nightly") is not None
