"""Queues: who waits is nobody's to claim, who is admitted holds a slot until the change that ends it."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.store.scripts.queueing import AGE_MS, Admit
from perdure.store.states import State
from perdure.store.writes import Place, UpdateExecution

pytestmark = pytest.mark.anyio


async def wait(book: Any, id: str, *, queue: str = "q", most: int = 1, priority: int = 0) -> None:
    """An execution that begins to wait."""
    await book.start(id, state=State.IDLE, place=Place(queue, most), priority=priority)


async def admit(book: Any, queue: str = "q", id: str | None = None) -> str | None:
    """Who is admitted next."""
    answer: str | None = await book.write(Admit(queue=queue, execution_id=id, at=book.tick()))
    return answer


async def test_what_waits_in_a_queue_is_not_claimable_until_it_is_admitted(book):
    """Then it is like any other that has not begun."""
    await book.start("free", state=State.IDLE)
    await wait(book, "a")
    assert [execution.id for execution in await book.store.claimable(limit=9)] == ["free"]
    assert await admit(book) == "a"
    assert [execution.id for execution in await book.store.claimable(limit=9)] == ["free", "a"]
    execution = await book.execution("a")
    assert (execution.queue, execution.slot, execution.version) == (None, "q", 1)


async def test_no_more_are_admitted_than_there_are_slots(book):
    """A slot is there again with the change that ends who had it."""
    for id_ in "abc":
        await wait(book, id_, most=2)
    assert [await admit(book) for _ in range(3)] == ["a", "b", None]
    await book.move(await book.execution("a"), State.CANCELLED, fields={"slot": None})
    assert [await admit(book) for _ in range(2)] == ["c", None]


async def test_many_who_admit_in_one_batch_see_each_other(book):
    """One transaction is no way around a limit."""
    for no in range(5):
        await wait(book, f"e{no}", most=2)
    answers = await book.store.commit([Admit(queue="q", at=1) for _ in range(5)])
    assert answers == ["e0", "e1", None, None, None]


async def test_a_step_of_priority_is_worth_so_much_waiting(book):
    """The order can be changed while they wait."""
    await wait(book, "patient")
    book.now += AGE_MS - 5_000
    await wait(book, "urgent", priority=1)
    book.now += 10_000
    await wait(book, "late", priority=1)
    await wait(book, "promoted")
    await book.write(UpdateExecution(execution_id="promoted", priority=2, at=book.tick()))
    order = []
    while (admitted := await admit(book)) is not None:
        order.append(admitted)
        await book.move(await book.execution(admitted), State.CANCELLED, fields={"slot": None})
    assert order == ["promoted", "urgent", "patient", "late"]


async def test_one_that_is_named_is_admitted_out_of_turn_but_not_beyond_the_limit(book):
    """For a process that performs nothing else."""
    await wait(book, "a")
    await wait(book, "b")
    assert await admit(book, id="b") == "b"
    assert await admit(book, id="a") is None
    assert await admit(book, id="nobody") is None


async def test_queues_with_room_are_told_in_order(book):
    """Those that are full are not, nor those before the name that is given."""
    for queue in ("q3", "q1", "q2"):
        await wait(book, f"{queue}-a", queue=queue)
        await wait(book, f"{queue}-b", queue=queue)
    await admit(book, "q2")
    assert [queue.name for queue in await book.store.queues(after="")] == ["q1", "q3"]
    assert [queue.name for queue in await book.store.queues(after="q1")] == ["q3"]
    assert await book.store.is_anybody_queued()


async def test_nobody_waits_where_nothing_is_limited(book):
    """And a summary names no queue."""
    await book.start("free", state=State.IDLE)
    assert await book.store.queues(after="") == []
    assert not await book.store.is_anybody_queued()
    assert (await book.store.summary("free")).queue is None


async def test_a_queue_leaves_nothing_behind_that_stays(book):
    """Its name may come of a key, a customer's or an order's: there is no end of those."""
    await wait(book, "a", queue="w/order-1")
    assert await admit(book, "w/order-1") == "a"
    assert await admit(book, "w/order-1") is None
    assert await book.store.guards() == []
