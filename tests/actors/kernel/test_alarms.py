"""Alarms: many timers on one."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import pytest

from perdure.actors.kernel import Alarms


async def test_alarms_ring_in_due_order_and_ties_in_the_order_they_were_set() -> None:
    """Whatever the order they were added in."""
    alarms, rung = Alarms(), []
    loop = asyncio.get_running_loop()
    for name, at in (("c", 3.0), ("a", 1.0), ("b1", 2.0), ("b2", 2.0)):
        alarms.add(at, lambda name=name: rung.append((name, loop.time())))
    await anyio.sleep(10)
    assert rung == [("a", 1), ("b1", 2), ("b2", 2), ("c", 3)]
    assert len(alarms) == 0


async def test_an_alarm_that_is_past_rings_soon_but_not_at_once() -> None:
    """Whoever sets it is not called back from within."""
    alarms, rung = Alarms(), []
    await anyio.sleep(5)
    alarms.add(1.0, lambda: rung.append("late"))
    assert rung == []
    await anyio.sleep(0.001)
    assert rung == ["late"]


def test_an_alarm_may_be_added_while_another_is_due_at_once_on_the_fast_loop() -> None:
    """Uvloop sets none for what is less than half a millisecond ahead."""
    uvloop = pytest.importorskip("uvloop")
    rung: list[str] = []

    async def main() -> None:
        alarms, now, have_rung = Alarms(), asyncio.get_running_loop().time(), asyncio.Event()
        alarms.add(now, lambda: rung.append("first"))
        alarms.add(now + 0.002, have_rung.set)
        alarms.add(now - 1, lambda: rung.append("past"))
        await have_rung.wait()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
    assert rung == ["past", "first"]


async def test_a_cancelled_alarm_does_not_ring() -> None:
    """Not even when the one before it, due at the same time, calls it off."""
    alarms, rung = Alarms(), []
    alarms.add(1.0, lambda: doomed.cancel())  # noqa: PLW0108 there is no `doomed` yet
    doomed = alarms.add(1.0, lambda: rung.append("doomed"))
    early = alarms.add(0.5, lambda: rung.append("early"))
    early.cancel()
    early.cancel()
    assert len(alarms) == 2
    await anyio.sleep(2)
    doomed.cancel()
    assert rung == []
    assert len(alarms) == 0


async def test_an_alarm_may_set_the_next_one() -> None:
    """One set for now rings in the next pass, so that time can get on."""
    alarms, times = Alarms(), []
    loop = asyncio.get_running_loop()

    def again() -> None:
        times.append(loop.time())
        if len(times) < 4:
            alarms.add(loop.time() + (len(times) % 2), again)

    alarms.add(1.0, again)
    await anyio.sleep(60)
    assert times == [1, 2, 2, 3]


async def test_one_timer_serves_them_all() -> None:
    """Ten thousand alarms are one entry in the loop's own heap."""
    alarms, loop = Alarms(), asyncio.get_running_loop()
    before = len(loop._scheduled)  # type: ignore[attr-defined]
    for n in range(10_000):
        alarms.add(10_000.0 + n, lambda: None)
    assert len(loop._scheduled) == before + 1  # type: ignore[attr-defined]
    alarms.close()


async def test_cancelled_alarms_are_cleared_out() -> None:
    """A deadline that is set and called off a million times takes no room."""
    alarms, rung = Alarms(), []
    keep = alarms.add(50.0, lambda: rung.append("kept"))
    for _ in range(1_000):
        alarms.add(100.0, lambda: rung.append("no")).cancel()
    assert len(alarms._heap) < 200
    assert len(alarms) == 1
    await anyio.sleep(200)
    keep.cancel()
    assert rung == ["kept"]


async def test_what_an_alarm_raises_is_reported_and_the_next_one_rings() -> None:
    """To the loop's exception handler."""
    failures: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context["exception"]))
    alarms, rung = Alarms(), []

    def fail() -> None:
        raise ValueError("a bad alarm")

    alarms.add(1.0, fail)
    alarms.add(1.0, lambda: rung.append("next"))
    await anyio.sleep(2)
    assert rung == ["next"]
    assert [str(failure) for failure in failures] == ["a bad alarm"]


async def test_closed_alarms_are_silent_and_take_no_more() -> None:
    """Even when one of them does the closing."""
    alarms, rung = Alarms(), []
    alarms.add(1.0, alarms.close)
    later = alarms.add(2.0, lambda: rung.append("no"))
    await anyio.sleep(3)
    later.cancel()
    assert rung == []
    with pytest.raises(AssertionError, match="closed"):
        alarms.add(5.0, lambda: None)
