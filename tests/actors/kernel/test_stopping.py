"""The end of children that are told to stop or cancelled: in order, in time, and everyone answered."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import anyio
import pytest

from perdure.actors.kernel import (
    Action,
    Actor,
    ActorStopped,
    Backoff,
    Crash,
    Down,
    Mailbox,
    Reason,
    Teardown,
)


async def test_a_child_that_crashes_while_stopping_is_not_restarted(log: Any) -> None:
    """It was to end, and it has."""

    async def crash_on_stop(actor: Actor[Any]) -> None:
        await actor.cell.mailbox.wait()
        raise ValueError("on the way out")

    async with log.supervisor() as boss:
        ref = boss.start(log.living("child", crash_on_stop))
        await anyio.sleep(1)
        ref.stop()
        assert (await ref.wait_stopped()).reason is Reason.STOPPED
    assert [(exit_.crash, exit_.verdict.action) for exit_ in log.exits] == [(Crash.TRANSIENT, Action.STOP)]


async def test_a_stop_ends_the_wait_before_a_restart(log: Any) -> None:
    """Nobody waits half a minute for a child that is not to come back."""
    async with log.supervisor() as boss:
        ref = boss.start(log.spec(backoff=Backoff(first_s=1_000, max_s=1_000)))
        ref.post(ValueError("boom"))
        await anyio.sleep(1)
        ref.stop()
        assert (await ref.wait_stopped()).reason is Reason.STOPPED
    assert asyncio.get_running_loop().time() == pytest.approx(1)


async def test_a_task_that_is_cancelled_by_hand_ends_its_child_and_no_other(log: Any) -> None:
    """Whoever did that gets what they asked for, and nothing more."""
    async with log.supervisor() as boss:
        sibling = boss.start(log.spec("sibling"))
        ref = boss.start(log.spec("victim"))
        await anyio.sleep(1)
        task_called("victim").cancel()
        assert (await ref.wait_stopped()).reason is Reason.CANCELLED
        assert await sibling.ask("still there", timeout=1) == "still there"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_child_whose_task_never_began_hangs_no_teardown(log: Any) -> None:
    """As when the loop is closed under it."""
    async with log.supervisor() as boss:
        ref = boss.start(log.spec())
        task_called("worker").cancel()
        await anyio.sleep(1)
    assert ref.down == Down(name="worker", reason=Reason.CANCELLED)
    gc.collect()  # what never began complains when it is collected: here, and not in a later test


def task_called(name: str) -> asyncio.Task[Any]:
    """The running task of that name."""
    return {task.get_name(): task for task in asyncio.all_tasks()}[name]


async def test_teardown_stops_the_last_started_first_and_answers_everyone(log: Any) -> None:
    """Also those who wait for room."""
    answers: list[str] = []

    async def ask(ref: Any) -> None:
        try:
            answers.append(await ref.ask("question", timeout=None))
        except ActorStopped:
            answers.append("stopped")

    async with anyio.create_task_group() as group, log.supervisor() as boss:
        for name in ("first", "second"):
            ref = boss.start(log.spec(name), mailbox=Mailbox(limit=2))
            ref.post(2)
            await anyio.sleep(1)
            for _ in range(3):
                group.start_soon(ask, ref)
        await anyio.sleep(0.5)
    assert [line for line in log.lines if "stopped" in str(line)] == ["second stopped", "first stopped"]
    assert answers.count("stopped") == 3, "the second was at work on its first message"
    assert answers.count("question") == 3, "the first had time to answer before its turn came"


async def test_a_child_that_does_not_stop_in_time_is_cancelled(log: Any) -> None:
    """After its own `shutdown_s`, one after the other or all together."""
    for teardown, took_s in ((Teardown.ONE_BY_ONE, 6), (Teardown.TOGETHER, 2)):
        before = asyncio.get_running_loop().time()
        async with log.supervisor(teardown=teardown) as boss:
            refs = [boss.start(log.spec(f"w{n}", shutdown_s=2)) for n in range(3)]
            for ref in refs:
                ref.post(3600)
            await anyio.sleep(1)
        assert asyncio.get_running_loop().time() - before == pytest.approx(1 + took_s)
        assert {ref.down.reason for ref in refs} == {Reason.CANCELLED}


async def test_a_child_that_swallows_cancellation_is_reported_with_its_stack(log: Any) -> None:
    """It cannot hang a shutdown silently."""

    async def swallow(_: Actor[Any]) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(100)

    async with log.supervisor() as boss:
        boss.start(log.living("deaf", swallow, shutdown_s=2))
        await anyio.sleep(1)
    (stuck,) = log.stuck
    assert (stuck.name, stuck.waited_s) == ("deaf", 4)
    assert "swallow" in stuck.stack
    assert asyncio.get_running_loop().time() == pytest.approx(100)


async def test_cancelling_whoever_holds_the_supervisor_tears_it_down_in_order(log: Any) -> None:
    """The children are not torn out of their handlers: they are stopped."""
    with anyio.move_on_after(5):
        async with log.supervisor() as boss:
            ref = boss.start(log.spec())
            await anyio.sleep(4)
            ref.post(3)
            await anyio.sleep_forever()
    assert ref.down == Down(name="worker", reason=Reason.STOPPED)
    assert asyncio.get_running_loop().time() == pytest.approx(7)
