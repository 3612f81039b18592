"""The outbox: written with the change it tells of, claimed by one, settled once."""

from __future__ import annotations

import pytest

from perdure.store.errors import Conflict, NotFound
from perdure.store.scripts.deliveries import ClaimDelivery, RepeatDelivery, SettleDelivery
from perdure.store.states import State
from perdure.store.writes import DeleteExecution, DeliveryWrite

pytestmark = pytest.mark.anyio

TOLD = DeliveryWrite("e1", "paused", "http://there", "KEY", b'{"a":1}')


async def written(book):
    """The one delivery of a pause."""
    await book.move(await book.start(), State.PAUSED, deliveries=(TOLD,))
    [delivery] = await book.store.deliveries()
    return delivery


def settled(book, **fields):
    """The end of the first attempt."""
    usual = {"attempts": 1, "state": "delivered", "status": 200, "reason": None, "due_at": None}
    return SettleDelivery(id="e1:2:0", at=book.tick(), **(usual | fields))


async def test_a_delivery_is_part_of_the_change_it_tells_of(book):
    """One that is refused tells nothing."""
    delivery = await written(book)
    assert (delivery.id, delivery.execution_id, delivery.event) == ("e1:2:0", "e1", "paused")
    assert (delivery.url, delivery.secret, delivery.payload) == ("http://there", "KEY", b'{"a":1}')
    assert (delivery.state, delivery.attempts) == ("pending", 0)
    execution = await book.execution()
    stale = book.change(execution, State.CANCELLED, version=1, deliveries=(TOLD,))
    assert isinstance(await book.answer_to(stale), Conflict)
    assert await book.store.deliveries() == [delivery]


async def test_of_two_who_claim_a_delivery_one_gets_it(book):
    """It is due again when the claim has run out."""
    delivery = await written(book)
    due_at = await book.store.next_delivery_due()
    assert await book.store.deliveries_due(before=due_at - 1, limit=9) == []
    assert await book.store.deliveries_due(before=due_at, limit=9) == [delivery]
    claim = ClaimDelivery(id=delivery.id, attempts=0, until=due_at + 50)
    assert [await book.write(claim), await book.write(claim)] == [1, 0]
    assert await book.store.deliveries_due(before=due_at, limit=9) == []
    assert await book.store.next_delivery_due() == due_at + 50


async def test_what_became_of_an_attempt_is_written_once(book):
    """One that comes too late, after another has begun, says nothing."""
    delivery = await written(book)
    await book.write(ClaimDelivery(id=delivery.id, attempts=0, until=5))
    assert await book.write(settled(book, state="pending", status=500, reason="x", due_at=7)) == 1
    await book.write(ClaimDelivery(id=delivery.id, attempts=1, until=9))
    assert await book.write(settled(book)) == 0
    assert await book.write(settled(book, attempts=2)) == 1
    assert await book.write(settled(book, attempts=2, state="dead")) == 0
    [after] = await book.store.deliveries(state="delivered")
    assert (after.attempts, after.status, after.reason, after.due_at) == (2, 200, None, None)
    assert await book.store.deliveries(state="dead") == []
    assert await book.store.deliveries(execution_id="e1", state="delivered") == [after]
    assert await book.store.deliveries(execution_id="e2") == []
    assert await book.store.next_delivery_due() is None


async def test_a_delivery_can_be_made_once_more(book):
    """From the beginning; one that is not there cannot."""
    delivery = await written(book)
    await book.write(ClaimDelivery(id=delivery.id, attempts=0, until=5))
    await book.write(settled(book, state="dead", status=None, reason="x"))
    now = book.tick()
    await book.write(RepeatDelivery(id=delivery.id, at=now))
    [again] = await book.store.deliveries_due(before=now, limit=9)
    assert (again.id, again.state, again.attempts) == (delivery.id, "pending", 0)
    assert isinstance(await book.answer_to(RepeatDelivery(id="nobody", at=now)), NotFound)


async def test_deliveries_go_with_their_execution(book):
    """There is nothing left to tell."""
    await written(book)
    await book.move(await book.execution(), State.CANCELLED)
    await book.write(DeleteExecution(execution_id="e1"))
    assert await book.store.deliveries() == []
