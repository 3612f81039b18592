"""The supervisor: crashes, restarts, dead letters and escalation."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import pytest

from perdure.actors.kernel import (
    Action,
    Actor,
    ActorStopped,
    ChildSpec,
    Crash,
    Escalated,
    Mailbox,
    MailIgnored,
    NameTaken,
    PoisonMessage,
    Reason,
    Reply,
    Restart,
    Supervisor,
    SupervisorClosed,
    Teardown,
    faults,
)


async def test_a_crash_in_a_handler_restarts_with_the_same_mailbox_and_a_new_instance(log: Any) -> None:
    """Mail that arrives in between is not lost either."""
    seen: list[tuple[int, str]] = []

    class Fragile(Actor[str]):
        async def receive(self, message: str, reply: Reply | None) -> None:
            seen.append((id(self), message))
            if message == "boom" and self.cell.incarnation < 2:
                raise ValueError(message)

    async with log.supervisor() as boss:
        ref = boss.start(ChildSpec(name="fragile", factory=Fragile))
        for message in ("a", "boom", "b"):
            ref.post(message)
        await anyio.sleep(0.05)
        assert boss.find("fragile") is ref
        ref.post("sent while it was down")
        await anyio.sleep(1)
    assert [message for _, message in seen] == ["a", "boom", "boom", "b", "sent while it was down"]
    assert seen[1][0] != seen[2][0]
    first = log.exits[0]
    assert (first.incarnation, first.crash, first.verdict.action) == (1, Crash.TRANSIENT, Action.RESTART)


async def test_a_poison_message_is_a_dead_letter_after_three_crashes_and_life_goes_on(log: Any) -> None:
    """Its asker is told, with the cause; its neighbours are handled."""
    async with log.supervisor() as boss:
        ref = boss.start(log.spec())
        for _ in range(3):  # more crashes than the budget has room for: each burial is progress
            with pytest.raises(PoisonMessage, match="crashed actor 'worker' 3 times") as poison:
                await ref.ask(ValueError("poison"), timeout=None)
            assert repr(poison.value.__cause__) == "ValueError('poison')"
        assert await ref.ask("next", timeout=1) == "next"
    assert [letter.crashes for letter in log.dead] == [3, 3, 3]
    assert str(log.dead[0].message) == "poison"


async def test_a_child_that_cannot_start_is_quarantined_when_its_budget_is_used_up(log: Any) -> None:
    """With growing delays, and its mail answered at the end."""

    class Broken(Actor[str]):
        async def started(self) -> None:
            raise OSError("no such file")

    async with log.supervisor() as boss:
        ref = boss.start(ChildSpec(name="broken", factory=Broken, intensity=3))
        with pytest.raises(ActorStopped, match="quarantined"):
            await ref.ask("hello", timeout=None)
        assert boss.find("broken") is None
        assert ref.down is not None
        assert ref.down.reason is Reason.QUARANTINED
        assert isinstance(ref.down.error, OSError)
    assert [exit_.verdict.action for exit_ in log.exits] == [Action.RESTART] * 3 + [Action.QUARANTINE]
    assert [exit_.verdict.delay_s for exit_ in log.exits] == [0.1, 0.2, 0.4, 0.0]
    assert log.dead == [], "the message was never in hand: it is not to blame"


async def test_a_factory_that_fails_is_a_crash_of_the_child(log: Any) -> None:
    """Not of the supervisor."""

    def fail() -> Actor[str]:
        raise TypeError("missing argument")

    async with log.supervisor() as boss:
        ref = boss.start(ChildSpec(name="unborn", factory=fail, intensity=0))
        assert (await ref.wait_stopped()).reason is Reason.QUARANTINED


async def test_progress_gives_the_whole_budget_back(log: Any) -> None:
    """Crashes count since the last progress, not since ever."""

    async def crash_after_work(actor: Actor[Any]) -> None:
        if actor.cell.incarnation == 20:
            return
        actor.cell.progress()
        raise ValueError("flapping, but getting on")

    async with log.supervisor() as boss:
        ref = boss.start(log.living("flapping", crash_after_work, intensity=1))
        assert (await ref.wait_stopped()).reason is Reason.FINISHED
    assert {exit_.crashes for exit_ in log.exits[:-1]} == {1}


async def test_a_crash_in_the_clean_up_is_a_crash(log: Any) -> None:
    """And after a crash in a handler it does not hide the first one."""

    class Clumsy(Actor[str]):
        async def receive(self, message: str, reply: Reply | None) -> None:
            raise ValueError("the cause")

        async def stopped(self) -> None:
            raise OSError("the clean-up")

    async with log.supervisor() as boss:
        spec = ChildSpec(name="clumsy", factory=Clumsy, restart=Restart.TEMPORARY)
        stopping = boss.start(spec)
        stopping.stop()
        down = await stopping.wait_stopped()
        assert (down.reason, type(down.error)) == (Reason.STOPPED, OSError)
        crashing = boss.start(spec)
        crashing.post("boom")
        down = await crashing.wait_stopped()
        assert (down.reason, type(down.error)) == (Reason.CRASHED, ValueError)
        assert down.error is not None
        assert down.error.__notes__ == ["its clean-up failed as well: OSError('the clean-up')"]


@pytest.mark.parametrize("end", [SystemExit(1), KeyboardInterrupt(), asyncio.CancelledError()])
async def test_an_exit_or_a_cancellation_nobody_asked_for_is_a_crash(log: Any, end: BaseException) -> None:
    """The loop lives, the siblings live, the child is restarted."""

    async def leave(actor: Actor[Any]) -> None:
        if actor.cell.incarnation == 1:
            raise end

    async with log.supervisor() as boss:
        sibling = boss.start(log.spec("sibling"))
        ref = boss.start(log.living("leaving", leave))
        assert (await ref.wait_stopped()).reason is Reason.FINISHED
        assert await sibling.ask("still there", timeout=1) == "still there"
    assert [exit_.error for exit_ in log.exits[:2]] == [end, None]


async def test_a_storm_in_one_child_leaves_its_siblings_alone(log: Any) -> None:
    """Budgets are per child: ninety-nine others do not notice."""
    async with log.supervisor(teardown=Teardown.TOGETHER) as boss:
        refs = [boss.start(log.spec(f"w{n}", intensity=3)) for n in range(100)]
        mailbox: Mailbox[Any] = Mailbox()

        async def crash(_: Actor[Any]) -> None:
            raise ValueError("again")

        storm = boss.start(log.living("storm", crash, intensity=50), mailbox=mailbox)
        assert (await storm.wait_stopped()).reason is Reason.QUARANTINED
        assert [await ref.ask(str(n), timeout=1) for n, ref in enumerate(refs)] == [
            str(n) for n in range(100)
        ]
        assert len(boss) == 100
    assert {exit_.name for exit_ in log.exits if exit_.crash} == {"storm"}


async def test_each_kind_of_crash_has_its_own_consequence(log: Any) -> None:
    """Deterministic: quarantine at once. Lost: dropped. Outage: tried for as long as it takes."""
    kinds = {ValueError: Crash.DETERMINISTIC, PermissionError: Crash.LOST, ConnectionError: Crash.OUTAGE}

    def spec(name: str, error: Exception, until: int) -> ChildSpec[Any]:
        async def crash(actor: Actor[Any]) -> None:
            if actor.cell.incarnation < until:
                raise error

        return log.living(name, crash, classify=lambda found: kinds.get(type(found)), intensity=2)

    async with log.supervisor() as boss:
        undecodable = boss.start(spec("undecodable", ValueError("byte 3"), 99))
        lost = boss.start(spec("lost", PermissionError("epoch 5"), 99))
        down = boss.start(spec("outage", ConnectionError("refused"), 40))
        both = boss.start(
            spec("both", ExceptionGroup("two", [OSError("x"), ExceptionGroup("in", [ValueError("y")])]), 99)
        )
        assert (await undecodable.wait_stopped()).reason is Reason.QUARANTINED
        assert (await lost.wait_stopped()).reason is Reason.LOST
        assert (await down.wait_stopped()).reason is Reason.FINISHED
        assert (await both.wait_stopped()).reason is Reason.QUARANTINED
    incarnations = {exit_.name: exit_.incarnation for exit_ in log.exits}
    assert incarnations == {"undecodable": 1, "lost": 1, "outage": 40, "both": 1}


async def test_an_outage_is_not_the_fault_of_the_message_in_hand(log: Any) -> None:
    """It waits with its actor and is handled afterwards."""
    failures = [ConnectionError("refused")] * 10

    def need(reply: Reply) -> None:
        if failures:
            raise failures.pop()
        reply.answer("there again")

    async with log.supervisor() as boss:
        ref = boss.start(log.spec(classify=lambda _: Crash.OUTAGE))
        assert await ref.ask(need, timeout=None) == "there again"
    assert log.dead == []


async def test_a_child_that_returns_with_mail_waiting_lives_on_at_once(log: Any) -> None:
    """No message can fall between "I end" and "ended"."""

    async def handle_one(actor: Actor[Any]) -> None:
        await actor.cell.mailbox.wait()
        (envelope,) = actor.cell.mailbox.take(1)
        log.lines.append((actor.cell.incarnation, envelope.message))
        actor.cell.mailbox.ack()

    async with log.supervisor() as boss:
        ref = boss.start(log.living("turn", handle_one))
        ref.post("a")
        ref.post("b")
        assert (await ref.wait_stopped()).reason is Reason.FINISHED
        assert boss.find("turn") is None
        assert asyncio.get_running_loop().time() == 0
    assert log.lines == [(1, "a"), (2, "b")]


async def test_a_child_that_returns_without_touching_its_mail_is_found_out(log: Any) -> None:
    """It would be restarted for ever."""

    async def ignore(_: Actor[Any]) -> None:
        return

    async with log.supervisor() as boss:
        ref = boss.start(log.living("lazy", ignore))
        ref.post("a")
        down = await ref.wait_stopped()
    assert down.reason is Reason.QUARANTINED
    assert isinstance(down.error, MailIgnored)
    assert down.error.waiting == 1


async def test_a_permanent_child_is_restarted_also_when_it_returns(log: Any) -> None:
    """And taken for broken when it does nothing else."""
    with pytest.raises(Escalated, match="'boss' gives up: its child 'service' cannot be kept running"):  # noqa: PT012 the block is what raises
        async with log.supervisor() as boss:
            boss.start(
                log.living("service", lambda _: anyio.sleep(1), restart=Restart.PERMANENT, intensity=2)
            )
            await anyio.sleep_forever()
    assert [exit_.verdict.action for exit_ in log.exits] == [Action.RESTART, Action.RESTART, Action.ESCALATE]


async def test_escalation_ends_the_block_and_stops_the_siblings_in_order(log: Any) -> None:
    """It is an ordinary raise, with the cause."""

    async def crash(_: Actor[Any]) -> None:
        raise OSError("disk full")

    with pytest.raises(Escalated) as escalated:  # noqa: PT012 the block is what raises
        async with log.supervisor() as boss:
            boss.start(log.spec("first"))
            boss.start(log.spec("second"))
            await anyio.sleep(1)
            boss.start(log.living("writer", crash, restart=Restart.PERMANENT, intensity=0))
            await anyio.sleep_forever()
    assert isinstance(escalated.value.__cause__, OSError)
    assert log.lines == ["first started", "second started", "second stopped", "first stopped"]


async def test_an_error_of_the_block_goes_on_as_itself(log: Any) -> None:
    """Not in a group, and after the teardown."""
    with pytest.raises(KeyError):  # noqa: PT012 the block is what raises
        async with log.supervisor() as boss:
            ref = boss.start(log.spec())
            await anyio.sleep(1)
            raise KeyError("of the block")
    assert ref.down is not None
    assert ref.down.reason is Reason.STOPPED


async def test_supervisors_nest_and_an_escalation_is_a_crash_one_floor_up(log: Any) -> None:
    """The restarted actor starts its children anew."""

    async def leaf(_: Actor[Any]) -> None:
        log.lines.append("leaf")
        if len(log.lines) == 1:
            raise ValueError("boom")

    async def floor(_: Actor[Any]) -> None:
        async with Supervisor(name="inner", random=lambda: 0.0) as inner:
            restart = Restart.PERMANENT if not log.lines else Restart.TRANSIENT
            await inner.start(log.living("leaf", leaf, restart=restart, intensity=0)).wait_stopped()

    async with log.supervisor() as boss:
        ref = boss.start(log.living("floor", floor))
        assert (await ref.wait_stopped()).reason is Reason.FINISHED
    assert [type(exit_.error) for exit_ in log.exits] == [Escalated, type(None)]
    assert log.lines == ["leaf", "leaf"]


async def test_a_name_is_taken_while_its_child_lives_and_free_the_moment_it_ended(log: Any) -> None:
    """Synchronously: whoever is told of the end can start the next one."""
    async with log.supervisor() as boss:
        ref = boss.start(log.spec())
        with pytest.raises(NameTaken, match="already has a child 'worker'"):
            boss.start(log.spec())
        successors: list[Any] = []
        ref.watch(lambda _: successors.append(boss.start(log.spec())))
        ref.stop()
        await ref.wait_stopped()
        assert list(boss) == successors
        assert await successors[0].ask("a", timeout=1) == "a"


async def test_children_are_started_only_while_the_supervisor_runs(log: Any) -> None:
    """Not before, not during the teardown, not after; nor with a closed mailbox."""
    boss = log.supervisor()
    with pytest.raises(SupervisorClosed):
        boss.start(log.spec())
    closed: Mailbox[Any] = Mailbox()
    closed.close()
    refused = []

    async def start_late(actor: Actor[Any]) -> None:
        await actor.cell.mailbox.wait()
        with pytest.raises(SupervisorClosed) as error:
            boss.start(log.spec())
        refused.append(error.value.name)

    async with boss:
        boss.start(log.living("late", start_late))
        with pytest.raises(ActorStopped, match="its mailbox is closed"):
            boss.start(log.spec(), mailbox=closed)
        await anyio.sleep(1)
    assert refused == ["boss"]
    with pytest.raises(SupervisorClosed):
        boss.start(log.spec())


async def test_a_child_may_be_given_a_mailbox_with_mail_in_it(log: Any) -> None:
    """So that messages can wait for an actor that does not run yet."""
    mailbox: Mailbox[Any] = Mailbox()
    mailbox.post("early")
    async with log.supervisor() as boss:
        ref = boss.start(log.spec(), mailbox=mailbox)
        assert await ref.ask("late", timeout=1) == "late"
    assert log.lines[1:3] == ["early", "late"]
    assert mailbox.name == "worker"


async def test_a_listener_that_fails_changes_nothing(log: Any) -> None:
    """It is reported to the loop."""
    failures: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context["exception"]))

    def fail(_: Any) -> None:
        raise ValueError("a bad listener")

    async with Supervisor(name="boss", random=lambda: 0.0, on_exit=fail, on_dead_letter=fail) as boss:
        ref = boss.start(log.spec())
        ref.post(ValueError("poison"))
        assert await ref.ask("next", timeout=10) == "next"
    assert [str(failure) for failure in failures] == ["a bad listener"] * 5


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("verb", ["mailbox.take", "mailbox.ack", "spawn"])
async def test_a_crash_at_any_fault_point_loses_no_message(log: Any, verb: str, moment: str) -> None:
    """At worst one is handled twice, where it crashed before its acknowledgement."""
    hits = 0

    def crash_second_time(point: str) -> None:
        nonlocal hits
        if point == f"{verb}:{moment}":
            hits += 1
            if hits == 1:
                raise OSError(f"fault at {point}")

    async with log.supervisor() as boss:
        with faults.installed(crash_second_time):
            ref = boss.start(log.spec())
            for n in range(4):
                ref.post(f"m{n}")
            assert await ref.ask("last", timeout=60) == "last"
    handled = [line for line in log.lines if str(line).startswith("m")]
    assert sorted(set(handled)) == ["m0", "m1", "m2", "m3"]
    assert len(handled) - 4 == (1 if (verb, moment) == ("mailbox.ack", "before") else 0)
    assert isinstance(log.exits[0].error, OSError)
