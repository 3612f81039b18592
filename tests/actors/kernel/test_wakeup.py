"""A wakeup: an event to wait for, for some time at the longest."""

from __future__ import annotations

import asyncio

import anyio

from perdure.actors.kernel import Alarms, Wakeup


async def test_a_wait_ends_when_its_time_is_over() -> None:
    """Not before, and without anybody's call."""
    wakeup = Wakeup(Alarms())
    await wakeup.wait(3.0)
    assert asyncio.get_running_loop().time() == 3
    assert wakeup.is_set


async def test_a_call_ends_the_wait_and_leaves_no_alarm() -> None:
    """The timeout of a wait that is over rings in no later one."""
    alarms = Alarms()
    wakeup, loop = Wakeup(alarms), asyncio.get_running_loop()
    loop.call_at(1.0, wakeup.set)
    await wakeup.wait(3.0)
    assert (loop.time(), len(alarms)) == (1, 0)


async def test_a_call_that_came_before_the_wait_ends_it_at_once() -> None:
    """What is called for while somebody looks is looked for again, and no alarm is set for it."""
    alarms = Alarms()
    wakeup = Wakeup(alarms)
    wakeup.set()
    await wakeup.wait(3.0)
    assert (asyncio.get_running_loop().time(), len(alarms)) == (0, 0)


async def test_what_was_cleared_is_waited_for_again() -> None:
    """One call ends one wait of somebody who clears it before each look."""
    wakeup, loop = Wakeup(Alarms()), asyncio.get_running_loop()
    times = []
    loop.call_at(1.0, wakeup.set)
    for _ in range(3):
        wakeup.clear()
        await wakeup.wait(5.0)
        times.append(loop.time())
    assert times == [1, 6, 11]


async def test_without_a_time_out_only_a_call_ends_the_wait() -> None:
    """It sets no alarm: nothing wakes the process."""
    alarms = Alarms()
    wakeup, loop = Wakeup(alarms), asyncio.get_running_loop()
    loop.call_at(86_400.0, wakeup.set)
    async with anyio.create_task_group() as group:
        group.start_soon(wakeup.wait, None)
        await anyio.sleep(1)
        assert len(alarms) == 0
    assert loop.time() == 86_400


async def test_a_wait_that_is_cancelled_leaves_no_alarm() -> None:
    """Nor is the wakeup set: whoever waits next waits in full."""
    alarms = Alarms()
    wakeup, loop = Wakeup(alarms), asyncio.get_running_loop()
    with anyio.move_on_after(1):
        await wakeup.wait(3.0)
    assert (len(alarms), wakeup.is_set) == (0, False)
    await wakeup.wait(3.0)
    assert loop.time() == 4
