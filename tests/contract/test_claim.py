"""Ownership: one claimant wins, the epoch fences the rest, a death is counted where it happened."""

from __future__ import annotations

import asyncio

import pytest

from perdure.store.claims import ClaimFree
from perdure.store.errors import Conflict, LeaseLost, NotFound, StoreCorrupt
from perdure.store.records import LEASE_MS, Loaded
from perdure.store.states import State, StepState
from perdure.store.writes import WARN_TIMER, DeleteExecution, Deregister, Renew, TimerWrite

pytestmark = pytest.mark.anyio


async def test_a_claim_raises_the_epoch_and_answers_all_there_is_to_know(book):
    """The version stays: what the claimant changes first is a change like any other."""
    runner_no = await book.register()
    execution = await book.start(context=b'{"n":1}')
    execution = await book.move(
        execution, attempts=(book.attempt(0),), timers=(TimerWrite("retry", 1, book.now),)
    )
    await book.write(book.post())
    loaded = await book.write(book.claim(execution, runner_no))
    assert isinstance(loaded, Loaded)
    assert (loaded.execution.epoch, loaded.execution.version, loaded.execution.runner) == (1, 2, "runner-1")
    assert [(attempt.step, attempt.state) for attempt in loaded.attempts] == [("a", StepState.RUNNING)]
    assert [timer.kind for timer in loaded.timers] == ["retry"]
    assert [message.command_id for message in loaded.inbox] == ["c1"]
    assert loaded == await book.store.load("e1")


@pytest.mark.parametrize("column", ["budget", "circuit_breaker_state", "resume_plan", "error"])
async def test_what_cannot_be_read_back_is_told_as_damage(book, column: str):
    """To whoever claims it, so that it is set aside at once; not to whoever looks what there is to claim."""
    execution = await book.start(state=State.IDLE)
    await book.raw(f"UPDATE workflow_executions SET {column} = '[1]'")
    assert isinstance(await book.answer_to(book.claim(execution, await book.register())), StoreCorrupt)
    assert [found.id for found in await book.store.claimable(limit=9)] == ["e1"]


async def test_a_claim_with_an_old_epoch_conflicts(book):
    """Somebody has it already."""
    execution = await book.start()
    await book.write(book.claim(execution, await book.register("runner-1")))
    with pytest.raises(Conflict) as conflict:
        await book.write(book.claim(execution, await book.register("runner-2")))
    assert (conflict.value.expected, conflict.value.current) == (0, 1)
    assert (await book.execution()).runner == "runner-1"


async def test_a_change_may_claim_what_nobody_owns(book):
    """Its owner, and the epoch that fences others, come with it; who claims by the old epoch is late."""
    first, second = await book.register("runner-1"), await book.register("runner-2")
    execution = await book.start()
    taken = await book.move(execution, claimed_by=first)
    assert (taken.runner, taken.epoch, taken.version) == ("runner-1", 1, 2)
    with pytest.raises(Conflict):
        await book.write(book.claim(execution, second))
    with pytest.raises(LeaseLost):
        await book.move(execution, claimed_by=second)
    assert (await book.move(taken)).version == 3


async def test_a_change_cannot_claim_for_a_runner_that_is_not_listed(book):
    """As with every claim; nothing has changed."""
    execution = await book.start()
    with pytest.raises(NotFound) as missing:
        await book.move(execution, claimed_by=99)
    assert missing.value.kind == "runner"
    assert await book.execution() == execution


async def test_a_claim_of_nothing_is_not_found(book):
    """It was deleted meanwhile."""
    execution = await book.start()
    claim = book.claim(execution, await book.register())
    await book.raw("UPDATE workflow_executions SET state = 'failed'")
    await book.write(DeleteExecution(execution_id="e1"))
    with pytest.raises(NotFound):
        await book.write(claim)


async def test_of_several_that_bury_one_runner_at_once_one_counts_its_deaths(store, books):
    """All survivors find out at the same moment; ten burials."""
    for burial in range(10):
        dead = await books[0].register(f"runner-{burial}")
        for number in range(5):
            execution = await books[0].start(f"e{burial}-{number}", runner_no=dead)
            await books[0].move(execution, attempts=(books[0].attempt(0),))
        died = Deregister(runner_no=dead, died=True)
        assert sorted(await asyncio.gather(*(book.write(died) for book in books))) == [0, 0, 1]
        for number in range(5):
            [attempt] = await store.attempts(f"e{burial}-{number}")
            assert attempt.deaths == 1
            assert (await books[0].execution(f"e{burial}-{number}")).epoch == 2


async def test_whoever_lost_an_execution_cannot_change_it_any_more(book):
    """The epoch fences the old owner, whatever it still believes."""
    first, second = await book.register("runner-1"), await book.register("runner-2")
    execution = await book.start(runner_no=first)
    await book.write(book.claim(execution, second))
    with pytest.raises(LeaseLost):
        await book.move(execution)


async def test_of_two_that_claim_one_execution_exactly_one_gets_it(books):
    """Two stores of the same facts; twenty races."""
    books = books[:2]
    runners = [await books[0].register(f"runner-{number}") for number in range(2)]
    for race in range(20):
        execution = await books[0].start(f"e{race}")
        claims = [book.answer_to(book.claim(execution, no)) for book, no in zip(books, runners, strict=True)]
        answers = await asyncio.gather(*claims)
        assert sorted(type(answer).__name__ for answer in answers) == ["Conflict", "Loaded"]
        winner = next(answer for answer in answers if isinstance(answer, Loaded))
        assert winner.execution == await books[1].execution(f"e{race}")
        assert winner.execution.epoch == 1


async def test_of_many_those_that_are_free_are_claimed_and_the_others_passed_by(book):
    """Owned, paused and ended ones stay as they are; one that only waits is free."""
    mine, other = await book.register("runner-1"), await book.register("runner-2")
    states = {"free": State.EXECUTING, "waits": State.AWAITING_COMPLETION, "ended": State.EXECUTING}
    made = {id_: await book.start(id_, state=state) for id_, state in states.items()}
    made["ended"] = await book.move(made["ended"], State.COMPLETED)
    made["owned"] = await book.start("owned", runner_no=other)
    made["paused"] = await book.start("paused", state=State.PAUSING)
    made["paused"] = await book.move(made["paused"], State.PAUSED)
    nos = tuple(execution.no for execution in made.values())
    claimed = await book.write(ClaimFree(execution_nos=(*nos, 999), runner_no=mine, at=book.tick()))
    assert claimed.epochs == {"free": 1, "waits": 1}
    assert await book.store.owned(runner_no=mine) == ["free", "waits"]
    for id_ in ("ended", "owned", "paused"):
        assert await book.execution(id_) == made[id_]
    assert (await book.write(ClaimFree(execution_nos=nos, runner_no=mine, at=book.tick()))).epochs == {}


async def test_a_paused_execution_that_is_to_tell_of_it_is_free(book):
    """As long as it has the timer for that."""
    mine = await book.register()
    made = await book.move(await book.start(), State.PAUSED, timers=(TimerWrite(WARN_TIMER, -1, 1),))
    claim = ClaimFree(execution_nos=(made.no,), runner_no=mine, at=book.tick())
    assert set((await book.write(claim)).epochs) == {"e1"}


async def test_a_runner_off_the_list_claims_nothing_of_many(book):
    """It has to enter the list anew first."""
    execution = await book.start()
    with pytest.raises(NotFound) as missing:
        await book.write(ClaimFree(execution_nos=(execution.no,), runner_no=77, at=book.tick()))
    assert missing.value.kind == "runner"
    assert (await book.execution()).runner is None


async def test_runners_that_claim_the_same_many_share_them_out(store, books):
    """Three at once, thirty executions: each has one owner, and nobody waits or is refused."""
    runners = [await books[0].register(f"runner-{number}") for number in range(3)]
    nos = tuple([(await books[0].start(f"e{number}")).no for number in range(30)])
    wishes = [ClaimFree(execution_nos=nos, runner_no=no, at=books[0].tick()) for no in runners]
    claimed = await asyncio.gather(*(b.write(w) for b, w in zip(books, wishes, strict=True)))
    taken = [id_ for one in claimed for id_ in one.epochs]
    owned = [await store.owned(runner_no=no) for no in runners]
    assert sorted(taken) == sorted(f"e{number}" for number in range(30))
    assert [sorted(one.epochs) for one in claimed] == [sorted(ids) for ids in owned]


async def test_a_runner_that_leaves_frees_what_it_owned(book):
    """Nothing of it counts as a death."""
    runner_no = await book.register()
    execution = await book.start(runner_no=runner_no)
    await book.move(execution, attempts=(book.attempt(0),))
    await book.write(Deregister(runner_no=runner_no))
    assert (await book.execution()).runner is None
    assert [attempt.deaths for attempt in await book.store.attempts("e1")] == [0]
    assert await book.store.runners() == []


async def test_a_runner_that_died_counts_a_death_for_what_it_was_running(book):
    """Only for that: not for what waited, had settled, or belongs to others; and once, not twice."""
    dead, living = await book.register("runner-1"), await book.register("runner-2")
    first = await book.start("e1", runner_no=dead)
    waits = book.attempt(2, StepState.WAITING, due_at=book.now)
    await book.move(first, attempts=(book.outcome(0), book.attempt(1), waits))
    await book.move(await book.start("e2", runner_no=living), attempts=(book.attempt(0),))
    for _ in range(2):
        await book.write(Deregister(runner_no=dead, died=True))
    assert [attempt.deaths for attempt in await book.store.attempts("e1")] == [0, 1, 0]
    assert [attempt.deaths for attempt in await book.store.attempts("e2")] == [0]
    [suspect] = await book.store.suspects(deaths=1, limit=10)
    assert (suspect.execution_id, suspect.deaths, suspect.steps) == ("e1", 1, 1)
    assert await book.store.suspects(deaths=2, limit=10) == []


@pytest.mark.parametrize("neighbour", ["none", "of the execution", "of another execution", "of a runner"])
async def test_a_death_is_alone_when_nothing_else_ran_in_that_process(book, neighbour: str):
    """Whatever ran in other processes, or had come to its end."""
    dead, living = await book.register("runner-1"), await book.register("runner-2")
    mine = (book.attempt(0), book.attempt(1)) if neighbour == "of the execution" else (book.attempt(0),)
    await book.move(await book.start("e1", runner_no=dead), attempts=(*mine, book.outcome(2)))
    if neighbour.startswith("of a"):
        runner_no = dead if neighbour == "of another execution" else living
        await book.move(await book.start("e2", runner_no=runner_no), attempts=(book.attempt(0),))
    await book.write(Deregister(runner_no=dead, died=True))
    attempt = next(iter(await book.store.attempts("e1")))
    assert (attempt.deaths, attempt.alone) == (1, neighbour in {"none", "of a runner"})


async def test_a_later_death_says_anew_whether_it_was_alone(book):
    """A long step that was alone at one death and had company at the next is not to blame."""
    runner_no = await book.register()
    execution = await book.move(await book.start("e1", runner_no=runner_no), attempts=(book.attempt(0),))
    await book.write(Deregister(runner_no=runner_no, died=True))
    runner_no = await book.register()
    await book.write(book.claim(await book.execution(), runner_no))
    execution = await book.execution()
    await book.move(execution, attempts=(book.attempt(1),))
    await book.write(Deregister(runner_no=runner_no, died=True))
    attempts = await book.store.attempts("e1")
    assert [(attempt.deaths, attempt.alone) for attempt in attempts] == [(2, False), (1, False)]


async def test_suspects_come_with_the_most_deaths_first_then_the_latest(book):
    """With how many of their steps have seen so many; only what may be claimed is among them."""
    for round_no in range(3):
        dead = await book.register()
        for id_ in ("once", "twice", "wide", "late")[: None if round_no == 2 else 3]:
            if await book.store.execution(id_) is None:
                count = 2 if id_ == "wide" else 1
                start = book.now + (9 if id_ == "wide" else 0)
                attempts = tuple(book.attempt(no, started_at=start) for no in range(count))
                await book.move(await book.start(id_, runner_no=dead), attempts=attempts)
            elif id_ != "once":
                await book.write(book.claim(await book.execution(id_), dead))
        await book.write(Deregister(runner_no=dead, died=True))
    found = await book.store.suspects(deaths=2, limit=10)
    assert [(one.execution_id, one.deaths, one.steps) for one in found] == [("wide", 3, 2), ("twice", 3, 1)]
    assert [one.execution_id for one in await book.store.suspects(deaths=1, limit=10)][2:] == ["late", "once"]
    assert len(await book.store.suspects(deaths=2, limit=1)) == 1


async def test_deaths_in_several_attempts_of_a_step_add_up(book):
    """Only an outcome washes them away, and a step that was reopened begins with none."""
    failed = {"before": StepState.RUNNING, "error": b'{"type":"E","message":"no"}'}
    for number in (1, 2):
        dead = await book.register()
        execution = await book.execution() if number == 2 else await book.start(runner_no=dead)
        if number == 2:
            await book.write(book.claim(execution, dead))
            execution = await book.move(
                await book.execution(), attempts=(book.attempt(0, StepState.FAILED, **failed),)
            )
        await book.move(execution, attempts=(book.attempt(0, attempt=number),))
        await book.write(Deregister(runner_no=dead, died=True))
    [suspect] = await book.store.suspects(deaths=2, limit=10)
    assert suspect.deaths == 2
    runner_no = await book.register()
    await book.write(book.claim(await book.execution(), runner_no))
    await book.move(await book.execution(), attempts=(book.attempt(0, generation=1),))
    await book.write(Deregister(runner_no=runner_no, died=True))
    assert await book.store.suspects(deaths=2, limit=10) == []


async def test_an_outcome_ends_the_suspicion(book):
    """A step that has come to its end does not kill its process any more."""
    dead = await book.register()
    await book.move(await book.start(runner_no=dead), attempts=(book.attempt(0),))
    await book.write(Deregister(runner_no=dead, died=True))
    done = book.outcome(0, before=StepState.RUNNING)
    await book.write(book.claim(await book.execution(), await book.register("runner-2")))
    await book.move(await book.execution(), attempts=(done,))
    assert await book.store.suspects(deaths=1, limit=10) == []


async def test_a_runner_on_the_list_says_that_it_lives(book):
    """One that others took off the list is told so."""
    runner_no = await book.register("runner-1", pid=42)
    await book.write(Renew(runner_no=runner_no, at=book.tick()))
    [runner] = await book.store.runners()
    assert (runner.id, runner.pid, runner.heartbeat_at > runner.started_at) == ("runner-1", 42, True)
    await book.write(Deregister(runner_no=runner_no))
    with pytest.raises(NotFound, match="register anew"):
        await book.write(Renew(runner_no=runner_no, at=book.tick()))


async def test_a_runner_that_enters_twice_is_on_the_list_once(book):
    """Whoever could not tell whether the first time was written asks again, and is told its number."""
    runner_no = await book.register("runner-1", pid=42)
    assert await book.register("runner-1", pid=43, doorbell="bell") == runner_no
    [runner] = await book.store.runners()
    assert (runner.pid, runner.doorbell) == (43, "bell")
    await book.start(runner_no=runner_no)
    assert await book.register("runner-1") == runner_no
    assert await book.store.held() == {runner_no: 1}


async def test_what_does_not_exist_cannot_be_loaded(book):
    """None, and no error: asking is free."""
    await book.publish()
    assert await book.store.load("nobody") is None
    assert await book.store.execution("nobody") is None
    assert await book.store.summary("nobody") is None


async def test_a_runner_that_is_not_on_the_list_cannot_claim(book):
    """Others took it off; it is told to register anew."""
    execution = await book.start()
    with pytest.raises(NotFound, match=r"no runner 99: .* register anew"):
        await book.write(book.claim(execution, 99))
    assert (await book.execution()).epoch == 0


async def test_a_runner_that_is_not_on_the_list_cannot_start(book):
    """Nothing of the execution is written; what nobody owns needs no runner."""
    await book.publish()
    with pytest.raises(NotFound, match=r"no runner 99: .* register anew"):
        await book.write(book.starting(runner_no=99))
    assert await book.store.execution("e1") is None


async def test_whatever_a_buried_runner_still_writes_is_refused(book):
    """Also before anybody has claimed what it owned: the burial itself raises the epoch."""
    dead = await book.register()
    execution = await book.start(runner_no=dead)
    assert await book.write(Deregister(runner_no=dead, died=True)) == 1
    with pytest.raises(LeaseLost) as lost:
        await book.move(execution)
    assert (lost.value.held_epoch, lost.value.current_epoch) == (1, 2)
    assert await book.store.held() == {}


async def test_a_runner_that_was_heard_meanwhile_is_not_buried(book):
    """Whoever judged it silent had an older heartbeat in mind; nothing is changed."""
    slow = await book.register()
    await book.start(runner_no=slow)
    [before] = await book.store.runners()
    heard_at = int(before.heartbeat_at.timestamp() * 1000)
    await book.write(Renew(runner_no=slow, at=book.tick()))
    assert await book.write(Deregister(runner_no=slow, died=True, heard_at=heard_at)) == 0
    assert await book.store.held() == {slow: 1}
    [after] = await book.store.runners()
    heard_at = int(after.heartbeat_at.timestamp() * 1000)
    assert await book.write(Deregister(runner_no=slow, died=True, heard_at=heard_at)) == 1
    assert await book.write(Deregister(runner_no=slow, died=True)) == 0
    assert await book.store.held() == {}


async def test_each_runner_is_listed_with_its_lease_and_what_it_holds(book):
    """How many executions each owns; who owns none is not counted."""
    first, second = await book.register("runner-1", lease_ms=700), await book.register("runner-2")
    for number in range(3):
        await book.start(f"e{number}", runner_no=first)
    await book.start("free")
    assert await book.store.held() == {first: 3}
    runners = {runner.no: runner.lease_ms for runner in await book.store.runners()}
    assert runners == {first: 700, second: LEASE_MS}
