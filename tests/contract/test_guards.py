"""Guards: slots that are rows of their holders, rates that let the next one through, circuits by swap."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.store.errors import Conflict, NotFound
from perdure.store.scripts.guards import Entered, LeaveGuard, MoveCircuit, PassGuard, Rate
from perdure.store.writes import Deregister

pytestmark = pytest.mark.anyio


async def come(book: Any, holder: str, *, runner: int, **limits: Any) -> Any:
    """Somebody comes to the guard of agent a, a second after whoever came before."""
    usual = {"slots": None, "rate": None, "at": book.tick()} | limits
    return await book.write(PassGuard(scope="a", holder=holder, runner_no=runner, **usual))


async def test_no_more_hold_a_slot_than_there_are(book):
    """The same holder twice holds one; one that was given back is there for the next."""
    runner = await book.register()
    assert await come(book, "x", runner=runner, slots=2) == Entered()
    assert await come(book, "x", runner=runner, slots=2) == Entered()
    assert await come(book, "y", runner=runner, slots=2) == Entered()
    assert await come(book, "z", runner=runner, slots=2) == Entered("concurrency")
    await book.write(LeaveGuard(scope="a", holder="x", runner_no=runner))
    await book.write(LeaveGuard(scope="a", holder="x", runner_no=runner))
    assert await come(book, "z", runner=runner, slots=2) == Entered()
    assert (await book.store.guard("a")).slots_taken == 2


async def test_a_slot_that_another_runner_holds_by_now_is_not_given_back(book):
    """One that was thought dead comes back, and leaves what is no longer its own."""
    one, two = await book.register("one"), await book.register("two")
    await come(book, "x", runner=one, slots=1)
    await come(book, "x", runner=two, slots=1)
    await book.write(LeaveGuard(scope="a", holder="x", runner_no=one))
    assert await come(book, "z", runner=two, slots=1) == Entered("concurrency")
    await book.write(LeaveGuard(scope="a", holder="x", runner_no=two))
    assert await come(book, "z", runner=two, slots=1) == Entered()


async def test_many_who_come_in_one_batch_see_each_other(book):
    """One transaction is no way around a limit."""
    runner = await book.register()
    wishes = [
        PassGuard(scope="a", holder=f"h{no}", runner_no=runner, slots=3, rate=None, at=1) for no in range(10)
    ]
    answers = await book.store.commit(wishes)
    assert [answer.held_by for answer in answers] == [None] * 3 + ["concurrency"] * 7


@pytest.mark.parametrize("died", [True, False])
async def test_slots_go_with_the_runner_that_holds_them(book, *, died: bool):
    """However it has left."""
    one, two = await book.register("one"), await book.register("two")
    await come(book, "x", runner=one, slots=2)
    await come(book, "y", runner=two, slots=2)
    await book.write(Deregister(runner_no=one, died=died))
    assert await come(book, "z", runner=two, slots=2) == Entered()
    assert await come(book, "q", runner=two, slots=2) == Entered("concurrency")


async def test_a_runner_that_is_not_on_the_list_gets_no_slot(book):
    """Nobody would ever give it back."""
    refused = await book.answer_to(
        PassGuard(scope="a", holder="x", runner_no=99, slots=1, rate=None, at=book.tick())
    )
    assert isinstance(refused, NotFound)
    assert refused.kind == "runner"


async def test_a_rate_lets_a_burst_through_and_then_one_at_a_time(book):
    """Whoever is refused is told when to come again, exactly."""
    runner = await book.register()
    rate = Rate(count=3, period_ms=1_000)
    at = book.tick()
    answers = [await come(book, "x", runner=runner, rate=rate, at=at) for _ in range(4)]
    assert answers == [Entered(), Entered(), Entered(), Entered("rate", at + 334)]
    assert await come(book, "x", runner=runner, rate=rate, at=at + 333) == Entered("rate", at + 334)
    assert await come(book, "x", runner=runner, rate=rate, at=at + 334) == Entered()
    assert (await come(book, "x", runner=runner, rate=rate, at=at + 334)).held_by == "rate"
    later = [await come(book, "x", runner=runner, rate=rate, at=at + 10_000) for _ in range(4)]
    assert [answer.held_by for answer in later] == [None, None, None, "rate"]


async def test_a_rate_finer_than_a_millisecond_is_kept(book):
    """Ten thousand in a second are one every hundred microseconds."""
    runner = await book.register()
    rate = Rate(count=10_000, period_ms=1_000)
    at = book.tick()
    await come(book, "x", runner=runner, rate=rate, at=at)
    assert (await book.store.guard("a")).ready_at_us == at * 1_000 + 100


async def test_one_who_gets_no_slot_does_not_use_up_the_rate(book):
    """Both or neither."""
    runner = await book.register()
    rate = Rate(count=1, period_ms=10_000)
    await come(book, "x", runner=runner, slots=1)
    assert (await come(book, "y", runner=runner, slots=1, rate=rate)).held_by == "concurrency"
    await book.write(LeaveGuard(scope="a", holder="x", runner_no=runner))
    assert await come(book, "y", runner=runner, slots=1, rate=rate) == Entered()


async def test_a_circuit_moves_by_compare_and_swap(book):
    """Of two who saw the same one, one is told that somebody was faster."""
    move = MoveCircuit(scope="a", version=0, circuit=b'{"state":"open"}', at=book.tick())
    assert await book.write(move) == 1
    refused = await book.answer_to(move)
    assert isinstance(refused, Conflict)
    assert refused.current == 1
    guard = await book.store.guard("a")
    assert (guard.circuit, guard.circuit_version) == ({"state": "open"}, 1)
    assert [each.scope for each in await book.store.guards()] == ["a"]
    assert await book.store.guard("b") is None
