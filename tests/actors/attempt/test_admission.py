"""Slots: how many bodies run at once, who is next, and what a cancelled wait gives back."""

from __future__ import annotations

import asyncio
import random

import pytest

from perdure.actors.attempt.admission import StepSlots
from perdure.actors.kernel.testing import run_virtual


async def settle() -> None:
    """Let everything that is ready go on."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_further_bodies_wait_their_turn_in_order():
    """First come, first served."""
    slots = StepSlots(2)
    got: list[int] = []

    async def body(n: int) -> None:
        await slots.acquire()
        got.append(n)

    async with asyncio.TaskGroup() as group:
        for n in range(4):
            group.create_task(body(n))
        await settle()
        assert got == [0, 1]
        slots.release()
        await settle()
        assert got == [0, 1, 2]
        slots.release()
    assert got == [0, 1, 2, 3]
    assert slots.taken == 2


async def test_nobody_overtakes_those_who_wait():
    """A slot that was just given away is not free for whoever comes next."""
    slots = StepSlots(1)
    await slots.acquire()
    first = asyncio.create_task(slots.acquire())
    await settle()
    slots.release()
    late = asyncio.create_task(slots.acquire())
    await settle()
    assert first.done()
    assert not late.done()
    slots.release()
    await late


async def test_a_wait_that_is_cancelled_takes_no_slot():
    """It is passed over."""
    slots = StepSlots(1)
    await slots.acquire()
    given_up = asyncio.create_task(slots.acquire())
    patient = asyncio.create_task(slots.acquire())
    await settle()
    given_up.cancel()
    await settle()
    slots.release()
    await patient
    slots.release()
    assert slots.taken == 0


async def test_a_slot_handed_to_somebody_cancelled_at_that_moment_goes_to_the_next():
    """The race every semaphore has to win."""
    slots = StepSlots(1)
    await slots.acquire()
    unlucky = asyncio.create_task(slots.acquire())
    next_one = asyncio.create_task(slots.acquire())
    await settle()
    slots.release()
    unlucky.cancel()
    await asyncio.wait_for(next_one, 1)
    slots.release()
    assert slots.taken == 0


async def test_the_first_body_after_a_rest_is_announced():
    """Whoever watches the loop begins to look then, and only then."""
    busy: list[int] = []
    slots = StepSlots(2, on_busy=lambda: busy.append(1))
    await slots.acquire()
    await slots.acquire()
    assert len(busy) == 1
    slots.release()
    slots.release()
    await slots.acquire()
    assert len(busy) == 2


@pytest.mark.parametrize("seed", range(20))
def test_no_slot_is_lost_or_given_twice_under_any_interleaving(seed: int):
    """Bodies come, go and are cancelled; in the end every slot is free."""
    chance = random.Random(seed)
    slots = StepSlots(3)
    most = 0
    running = 0

    async def body(seconds: float) -> None:
        nonlocal most, running
        await slots.acquire()
        try:
            running += 1
            most = max(most, running)
            await asyncio.wait_for(asyncio.Future(), seconds)
        except TimeoutError:
            pass
        finally:
            running -= 1
            slots.release()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        tasks = [asyncio.create_task(body(chance.choice((1, 2, 3)))) for _ in range(30)]
        for task in chance.sample(tasks, 15):
            loop.call_later(chance.choice((0, 1, 2, 3, 4, 5)), task.cancel)
        await asyncio.gather(*tasks, return_exceptions=True)

    run_virtual(main, seed=seed)
    assert most == 3
    assert slots.taken == 0
