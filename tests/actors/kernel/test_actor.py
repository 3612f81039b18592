"""One actor: its life, its answers, its ends as others see them."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import pytest

from perdure.actors.kernel import (
    STOPPED_S_MAX,
    Actor,
    ActorRestarted,
    ActorStopped,
    AskTimeout,
    Cell,
    ChildSpec,
    Down,
    Mailbox,
    Reason,
    Reply,
    Stop,
)


async def test_an_actor_gets_ready_handles_its_messages_in_order_and_cleans_up(log: Any) -> None:
    """The whole life, once."""
    async with log.supervisor() as boss:
        ref = boss.start(log.spec())
        ref.post("a")
        await ref.tell("b")
        assert await ref.ask("c", timeout=1) == "c"
    assert log.lines == ["worker started", "a", "b", "c", "worker stopped"]


async def test_an_actor_runs_without_a_supervisor() -> None:
    """A cell made by hand is all it needs."""
    seen = []

    class Listener(Actor[str]):
        async def receive(self, message: str, reply: Reply | None) -> None:
            seen.append(message)

    actor = Listener()
    actor.cell = Cell(name="alone", mailbox=Mailbox())
    actor.cell.mailbox.post("a")
    actor.cell.crashes = 2
    actor.cell.mailbox.post("b")
    async with anyio.create_task_group() as group:
        group.start_soon(actor.run)
        await anyio.sleep(1)
        actor.cell.ref.stop()
    assert seen == ["a", "b"]
    assert actor.cell.crashes == 0, "a handled message is progress"


async def test_an_actor_that_forgot_to_say_what_it_does_says_so() -> None:
    """`receive` is the one thing that must be written."""
    actor: Actor[str] = Actor()
    with pytest.raises(NotImplementedError, match="Actor does not say what it does with 'a'"):
        await actor.receive("a", None)


async def test_stop_lets_control_messages_before_it_go_first_and_leaves_the_rest(log: Any) -> None:
    """What is left behind and asked for is answered."""
    async with log.supervisor() as boss, anyio.create_task_group() as group:
        ref = boss.start(log.spec())
        ref.post(5)
        await anyio.sleep(1)
        ref.post("left")
        ref.post("pause", control=True)
        refused = []

        async def ask() -> None:
            with pytest.raises(ActorStopped) as stopped:
                await ref.ask("left too", timeout=None)
            refused.append(stopped.value.why)

        group.start_soon(ask)
        await anyio.sleep(1)
        ref.stop()
        ref.stop()
        assert await ref.wait_stopped() == Down(name="worker", reason=Reason.STOPPED)
    assert log.lines == ["worker started", 5, "pause", "worker stopped"]
    assert refused == ["stopped"]
    assert log.exits[-1].left_behind == 2


async def test_whoever_talks_to_an_actor_that_ended_is_told(log: Any) -> None:
    """Immediately, and by name."""
    async with log.supervisor() as boss:
        ref = boss.start(log.spec())
        ref.stop()
        await ref.wait_stopped()
        with pytest.raises(ActorStopped, match="actor 'worker' has ended"):
            ref.post("a")
        with pytest.raises(ActorStopped):
            await ref.tell("a")
        with pytest.raises(ActorStopped):
            await ref.ask("a", timeout=1)
        ref.stop()
        assert ref.is_stopping
        assert repr(ref) == "<Ref 'worker' stopped>"


async def test_an_ask_ends_at_its_deadline_and_the_late_answer_is_ignored(log: Any) -> None:
    """The actor goes on undisturbed."""
    async with log.supervisor() as boss:
        ref = boss.start(log.spec())
        before = asyncio.get_running_loop().time()
        with pytest.raises(AskTimeout, match="did not answer within 2 s"):
            await ref.ask(5, timeout=2)
        assert asyncio.get_running_loop().time() - before == pytest.approx(2)
        with pytest.raises(TimeoutError):
            await ref.ask("also a TimeoutError", timeout=1)
        assert await ref.ask("next", timeout=10) == "next"


async def test_waiting_for_room_counts_against_the_deadline_of_an_ask(log: Any) -> None:
    """Room and answer together."""
    async with log.supervisor() as boss:
        ref = boss.start(log.spec(), mailbox=Mailbox(limit=1))
        await ref.tell(60)
        await anyio.sleep(1)
        with pytest.raises(AskTimeout):
            await ref.ask("a", timeout=3)
        assert asyncio.get_running_loop().time() == pytest.approx(4)


async def test_an_asker_that_is_cancelled_leaves_without_a_trace(log: Any) -> None:
    """Its answer has nowhere to go, and that is no error."""
    async with log.supervisor() as boss:
        ref = boss.start(log.spec())
        with anyio.move_on_after(1):
            await ref.ask(5, timeout=None)
        assert await ref.ask("next", timeout=10) == "next"


async def test_an_error_can_be_the_answer(log: Any) -> None:
    """The asker's fault is the asker's error; the actor lives."""
    async with log.supervisor() as boss:
        ref = boss.start(log.spec())
        with pytest.raises(KeyError):
            await ref.ask(lambda reply: reply.fail(KeyError("x")), timeout=1)
        assert await ref.ask("next", timeout=1) == "next"
    assert [exit_.crash for exit_ in log.exits] == [None]


async def test_a_crash_between_question_and_answer_goes_unnoticed(log: Any) -> None:
    """The question goes back into the mailbox and the next incarnation answers."""
    failures = [ValueError("once"), ValueError("twice")]

    def crash_twice(reply: Reply) -> None:
        if failures:
            raise failures.pop()
        reply.answer("third time lucky")

    async with log.supervisor() as boss:
        ref = boss.start(log.spec())
        assert await ref.ask(crash_twice, timeout=10) == "third time lucky"
    assert len(log.exits) == 3


async def test_an_answer_put_off_for_later_fails_when_its_incarnation_is_gone(log: Any) -> None:
    """Nobody else knows of it: with a restart, and with an end."""
    put_off: list[Reply] = []
    async with log.supervisor() as boss:
        ref = boss.start(log.spec())
        async with anyio.create_task_group() as group:

            async def ask(expected: type[Exception]) -> None:
                with pytest.raises(expected, match="worker"):
                    await ref.ask(put_off.append, timeout=None)

            group.start_soon(ask, ActorRestarted)
            await anyio.sleep(1)
            ref.post(ValueError("crash"))
            await anyio.sleep(60)
            group.start_soon(ask, ActorStopped)
            await anyio.sleep(1)
            ref.stop()
    assert len(put_off) == 2


async def test_an_answer_kept_where_the_next_incarnation_finds_it_survives_a_restart(log: Any) -> None:
    """The asker waits on and is answered by the successor, or by the end."""
    kept: list[Reply] = []

    def keep(reply: Reply) -> None:
        reply.keep()
        kept.append(reply)

    async with log.supervisor() as boss, anyio.create_task_group() as group:
        ref = boss.start(log.spec())
        answers = []

        async def ask() -> None:
            answers.append(await ref.ask(keep, timeout=None))

        group.start_soon(ask)
        await anyio.sleep(1)
        ref.post(ValueError("crash"))
        await anyio.sleep(60)
        assert answers == []
        ref.post(lambda _: kept[0].answer("by the successor"))
    assert answers == ["by the successor"]


async def test_a_watcher_is_told_exactly_once_also_when_it_comes_too_late(log: Any) -> None:
    """And not at all when it called the watch off; what one watcher raises does not reach the next."""
    failures: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
    told: list[Down] = []
    not_told: list[Down] = []

    def fail(_: Down) -> None:
        raise ValueError("a bad watcher")

    async with log.supervisor() as boss:
        ref = boss.start(log.spec())
        ref.watch(fail)
        ref.watch(told.append)
        unwatch = ref.watch(not_told.append)
        unwatch()
        unwatch()
        ref.post(ValueError("a crash is not an end"))
        await anyio.sleep(60)
        assert told == []
        ref.stop()
        assert (await ref.wait_stopped()).reason is Reason.STOPPED
        ref.watch(told.append)()
    assert told == [Down(name="worker", reason=Reason.STOPPED)] * 2
    assert not_told == []
    assert len(failures) == 1


async def test_waiting_for_the_end_can_be_given_up(log: Any) -> None:
    """And leaves no watcher behind."""
    async with log.supervisor() as boss:
        ref = boss.start(log.spec())
        with anyio.move_on_after(1):
            await ref.wait_stopped()
        assert ref._watchers == []


async def test_an_actor_that_is_cancelled_may_await_in_its_clean_up_but_not_for_long(log: Any) -> None:
    """The clean-up is shielded, and bounded."""

    class Slow(Actor[str]):
        async def receive(self, message: str, reply: Reply | None) -> None:
            await anyio.sleep_forever()

        async def stopped(self) -> None:
            await anyio.sleep(STOPPED_S_MAX / 2)
            log.lines.append("half")
            await anyio.sleep(STOPPED_S_MAX)
            log.lines.append("not reached")

    async with log.supervisor() as boss:
        ref = boss.start(ChildSpec(name="slow", factory=Slow, shutdown_s=10))
        ref.post("wait")
        await anyio.sleep(1)
    assert ref.down == Down(name="slow", reason=Reason.CANCELLED)
    assert log.lines == ["half"]
    assert asyncio.get_running_loop().time() == pytest.approx(11 + STOPPED_S_MAX)


async def test_an_actor_may_drain_batches_in_a_run_of_its_own(log: Any) -> None:
    """`take`, `ack` and `Stop` are all there is to it."""

    class Adder(Actor[int]):
        async def run(self) -> None:
            while True:
                await self.cell.mailbox.wait()
                batch = self.cell.mailbox.take()
                log.lines.append([envelope.message for envelope in batch])
                self.cell.mailbox.ack()
                if any(isinstance(envelope.message, Stop) for envelope in batch):
                    return

    async with log.supervisor() as boss:
        ref = boss.start(ChildSpec(name="adder", factory=Adder))
        for n in range(3):
            ref.post(n)
        await anyio.sleep(1)
    assert log.lines == [[0, 1, 2], [Stop()]]
    assert ref.down == Down(name="adder", reason=Reason.STOPPED)
