"""Clocks, and holding a virtual one."""

from __future__ import annotations

import asyncio
import time

import anyio
import pytest

from perdure.actors.kernel import Clock, LoopClock, SystemClock, outside
from perdure.actors.kernel.testing import VIRTUAL_EPOCH, run_virtual, virtual_clock


def test_the_system_clock_tells_the_time_of_day() -> None:
    """In seconds since 1970."""
    clock: Clock = SystemClock()
    assert abs(clock.now() - time.time()) < 5


async def test_a_loop_clock_runs_with_the_loop() -> None:
    """From its epoch."""
    clock: Clock = LoopClock(1_000.0)
    before = clock.now()
    await anyio.sleep(3_600)
    assert clock.now() - before == 3_600


async def test_the_virtual_time_of_day_starts_at_the_same_moment_every_time() -> None:
    """So that traces are the same on every day."""
    assert virtual_clock().now() == VIRTUAL_EPOCH + asyncio.get_running_loop().time()


async def test_outside_holds_the_virtual_clock_while_a_thread_is_at_work() -> None:
    """No false timeout: the thread's real milliseconds are no virtual time at all."""
    loop = asyncio.get_running_loop()
    with anyio.fail_after(5), outside():
        await anyio.to_thread.run_sync(time.sleep, 0.02)
    assert loop.time() == 0
    await anyio.sleep(1)
    assert loop.time() == 1


def test_outside_does_nothing_on_a_real_loop() -> None:
    """And costs next to nothing."""

    async def main() -> str:
        with outside():
            await asyncio.sleep(0)
        return "done"

    assert asyncio.run(main()) == "done"


def test_outside_lets_go_also_when_the_call_fails() -> None:
    """A failed call is no longer under way."""

    async def main() -> float:
        with pytest.raises(ZeroDivisionError), outside():
            1 / 0  # noqa: B018 a call that fails
        await anyio.sleep(10)
        return asyncio.get_running_loop().time()

    assert run_virtual(main) == 10
