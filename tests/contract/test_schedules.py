"""A schedule moves by compare-and-swap, and one moment of it is decided once."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.store.errors import Conflict, NotFound
from perdure.store.writes import DeleteSchedule, FiringWrite, MoveSchedule, PutSchedule

pytestmark = pytest.mark.anyio


def put(book: Any, id: str = "nightly", *, next_at: int | None = 100, workflow: str = "order") -> PutSchedule:
    """A schedule with something to decide at that time."""
    return PutSchedule(
        id=id, workflow=workflow, rule=b'{"every":1}', is_declared=False, next_at=next_at, at=book.tick()
    )


def move(book: Any, *, version: int, id: str = "nightly", **fields: Any) -> MoveSchedule:
    """The decision that its moment at 100 has started an execution."""
    usual: dict[str, Any] = {
        "considered_at": 100,
        "next_at": 200,
        "is_paused": False,
        "pending": (),
        "last_execution": "e1",
        "firings": (FiringWrite(100, "started", execution_id="e1"),),
    }
    return MoveSchedule(id=id, version=version, at=book.tick(), **(usual | fields))


async def test_a_schedule_comes_back_as_it_was_put(book: Any):
    """And is found when it is due."""
    no = await book.write(put(book))
    assert await book.write(put(book)) == no
    schedule = await book.store.schedule("nightly")
    assert (schedule.id, schedule.workflow, schedule.is_paused) == ("nightly", "order", False)
    assert await book.store.schedules() == await book.store.schedules(workflow="order") == [schedule]
    assert await book.store.schedules(workflow="other") == []
    assert await book.store.next_schedule_due() == 100
    assert await book.store.schedules_due(before=99, limit=10) == []
    assert [due.id for due in await book.store.schedules_due(before=100, limit=10)] == ["nightly"]


async def test_of_two_that_decide_one_moment_one_is_told_that_it_was_late(book: Any):
    """Nothing of its decision stays."""
    await book.write(put(book))
    before = (await book.store.schedule("nightly")).version
    version = await book.write(move(book, version=before))
    late = await book.answer_to(
        move(book, version=before, firings=(FiringWrite(100, "skipped"), FiringWrite(150, "missed")))
    )
    assert isinstance(late, Conflict)
    assert late.current == version == before + 1
    [firing] = await book.store.firings("nightly")
    assert (firing.decision, firing.execution_id) == ("started", "e1")
    assert await book.store.next_schedule_due() == 200


async def test_a_paused_schedule_is_never_due(book: Any):
    """It keeps what it had to decide."""
    await book.write(put(book))
    version = (await book.store.schedule("nightly")).version
    await book.write(move(book, version=version, is_paused=True, firings=(), pending=(7, 8)))
    assert await book.store.schedules_due(before=1_000, limit=10) == []
    assert await book.store.next_schedule_due() is None


async def test_a_deleted_schedule_leaves_nothing_behind(book: Any):
    """And cannot be moved or deleted again."""
    await book.write(put(book))
    version = (await book.store.schedule("nightly")).version
    await book.write(move(book, version=version))
    await book.write(DeleteSchedule(id="nightly"))
    assert await book.store.schedule("nightly") is None
    assert await book.store.firings("nightly") == []
    assert isinstance(await book.answer_to(DeleteSchedule(id="nightly")), NotFound)
    assert isinstance(await book.answer_to(move(book, version=version + 1)), NotFound)
