"""Virtual time: instant, repeatable, and unable to hang."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from perdure.actors.kernel.testing import Deadlock, Livelock, run_virtual, virtual_clock

DAY_S = 86_400.0


async def _run_in_executor(*call: Any) -> Any:
    """The older way to run something in a thread."""
    return await asyncio.get_running_loop().run_in_executor(None, *call)


def test_a_thousand_tasks_that_sleep_for_a_day_take_no_time() -> None:
    """And a year of years is exact to the second."""

    async def main() -> float:
        async with anyio.create_task_group() as group:
            for _ in range(1_000):
                group.start_soon(anyio.sleep, DAY_S)
        await anyio.sleep(365 * 365 * DAY_S)
        return asyncio.get_running_loop().time()

    began = time.monotonic()
    assert run_virtual(main) == DAY_S + 365 * 365 * DAY_S
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("past_s", [0.0, 1.0, DAY_S, 200 * DAY_S, 100 * 365 * DAY_S])
def test_a_timer_rings_at_its_time_and_a_neighbour_a_microsecond_later_after_it(past_s: float) -> None:
    """However late in virtual life."""

    async def main() -> list[float]:
        await anyio.sleep(past_s)
        rung: list[float] = []
        loop = asyncio.get_running_loop()
        for after_s in (1.0, 1.0 + 1e-6, 1.5):
            loop.call_at(past_s + after_s, lambda: rung.append(loop.time() - past_s))
        with anyio.move_on_after(2):
            await anyio.sleep_forever()
        return rung

    assert run_virtual(main) == pytest.approx([1.0, 1.0 + 1e-6, 1.5], abs=1e-6)


def trace(seed: int | None) -> list[str]:
    """The order in which ten tasks took their turns."""

    async def main() -> list[str]:
        turns: list[str] = []

        async def take_turns(name: int) -> None:
            for turn in range(3):
                turns.append(f"{name}.{turn}")
                await anyio.sleep(0 if turn else 1)

        async with anyio.create_task_group() as group:
            for name in range(10):
                group.start_soon(take_turns, name)
        return turns

    return run_virtual(main, seed=seed)


def test_the_same_seed_is_the_same_interleaving() -> None:
    """To the letter; and without a seed it is the loop's own order."""
    assert trace(7) == trace(7)
    assert trace(None) == trace(None)
    assert trace(None)[:10] == [f"{name}.0" for name in range(10)]


def test_different_seeds_are_different_interleavings() -> None:
    """Of the same turns."""
    traces = [trace(seed) for seed in range(20)]
    assert len({tuple(turns) for turns in traces}) == 20
    assert {tuple(sorted(turns)) for turns in traces} == {tuple(sorted(trace(None)))}


def test_seeds_find_a_lost_update_that_the_plain_order_hides() -> None:
    """The reason for all this."""

    async def main() -> int:
        balance = 0

        async def deposit() -> None:
            nonlocal balance
            await asyncio.sleep(0)
            read = balance
            if read == 0:
                await asyncio.sleep(0)  # whoever is first lets the other one in between
            balance = read + 1

        async def pay_out() -> None:
            nonlocal balance
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            balance -= 1

        async with anyio.create_task_group() as group:
            group.start_soon(deposit)
            group.start_soon(pay_out)
        return balance

    assert {run_virtual(main) for _ in range(5)} == {0}
    assert {run_virtual(main, seed=seed) for seed in range(50)} == {0, 1}


def test_waiting_for_what_never_happens_is_a_deadlock_that_says_who_waits() -> None:
    """At once, with the seed to repeat it."""

    async def wait_for_godot() -> None:
        await anyio.sleep(3)
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Deadlock, match=r"virtual second 3 \(seed 5\)") as deadlock:
        run_virtual(wait_for_godot, seed=5)
    assert "wait_for_godot at " in deadlock.value.waiting[0]
    assert deadlock.value.seed == 5


def test_a_deadlock_names_a_few_tasks_and_counts_the_rest() -> None:
    """More would hide the one that matters."""

    async def main() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(30):
                group.start_soon(anyio.sleep_forever)

    with pytest.raises(Deadlock, match=r"(?s)31 tasks wait.*and 21 more") as deadlock:
        run_virtual(main)
    assert len(deadlock.value.waiting) == 31


def test_going_round_without_getting_on_is_a_livelock() -> None:
    """When a limit was set."""

    async def main() -> None:
        while True:  # noqa: ASYNC110 the mistake that is to be found
            await asyncio.sleep(0)

    with pytest.raises(Livelock, match="1,000 passes"):
        run_virtual(main, passes_max=1_000)


@pytest.mark.parametrize("in_thread", [asyncio.to_thread, _run_in_executor])
def test_threads_of_asyncio_hold_the_clock_by_themselves(in_thread: Callable[..., Any]) -> None:
    """A timeout beside them does not strike."""

    async def main() -> float:
        async with asyncio.timeout(1):
            await in_thread(time.sleep, 0.02)
        return asyncio.get_running_loop().time()

    assert run_virtual(main) == 0


def test_a_thread_that_fails_lets_the_clock_go() -> None:
    """Its error arrives, and time goes on."""

    async def main() -> float:
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 / 0)
        await anyio.sleep(1)
        return asyncio.get_running_loop().time()

    assert run_virtual(main) == 1


def test_sockets_work_under_virtual_time() -> None:
    """What is ready is seen before time passes."""

    async def main() -> bytes:
        left, right = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=left)
        _, other = await asyncio.open_connection(sock=right)
        other.write(b"hello\n")
        try:
            async with asyncio.timeout(5):
                return await reader.readline()
        finally:
            for end in (writer, other):
                end.close()
                await end.wait_closed()

    for seed in (None, 1, 2, 3):
        assert run_virtual(main, seed=seed) == b"hello\n"


def test_what_main_returns_and_raises_comes_out() -> None:
    """As from asyncio.run, with a time of day of one's own."""

    async def main() -> float:
        await anyio.sleep(60)
        return virtual_clock().now()

    async def fail() -> None:
        raise KeyError("x")

    assert run_virtual(main, epoch=1_000.0) == 1_060.0
    with pytest.raises(KeyError):
        run_virtual(fail)
