"""What the machine asks for: who may be claimed, what falls due, how things stood at a version."""

from __future__ import annotations

import pytest

from perdure.store.errors import NotFound
from perdure.store.states import TERMINAL, State, StepState, step_can_become
from perdure.store.writes import (
    EXECUTION_TIMER,
    WARN_TIMER,
    AttemptWrite,
    EventWrite,
    TimerWrite,
    UpdateExecution,
)

pytestmark = pytest.mark.anyio

RESTS = {State.AWAITING_COMPLETION, State.PAUSED, *TERMINAL}


async def ids(book, **page) -> list[str]:
    """The ids of a page of what may be claimed."""
    return [execution.id for execution in await book.store.claimable(**({"limit": 100} | page))]


async def test_what_rests_or_only_waits_is_not_claimable(book):
    """Everything else is, as long as nobody owns it."""
    runner_no = await book.register()
    for state in State:
        await book.start(f"free-{state}")
        await book.start(f"owned-{state}", runner_no=runner_no)
        await book.raw("UPDATE workflow_executions SET state = ? WHERE id LIKE ?", state, f"%-{state}")
    assert set(await ids(book)) == {f"free-{state}" for state in State if state not in RESTS}


async def test_higher_priorities_come_first_then_the_oldest(book):
    """The order of starting, inside one priority."""
    for id_, priority in [("low", -1), ("old", 0), ("high", 7), ("new", 0)]:
        await book.start(id_, priority=priority)
    assert await ids(book) == ["high", "old", "new", "low"]
    await book.write(UpdateExecution(execution_id="low", priority=9, at=book.tick()))
    assert await ids(book) == ["low", "high", "old", "new"]


@pytest.mark.parametrize("size", [1, 2, 3, 100])
async def test_a_walk_by_pages_meets_every_claimable_execution_once(book, size: int):
    """Whatever the pages' size, in the same order."""
    for number in range(9):
        await book.start(f"e{number}", priority=number % 3)
    walked, after_no = [], 0
    while page := await book.store.claimable(limit=size, after_no=after_no):
        walked += [execution.id for execution in page]
        after_no = page[-1].no
    assert walked == await ids(book)
    assert len(set(walked)) == len(walked) == 9


async def test_a_limit_below_zero_is_none_at_all(book):
    """SQLite itself would take it for no limit."""
    await book.start()
    assert await ids(book, limit=-1) == []
    assert await book.store.events(limit=-1) == []


async def due(book, **page) -> list[str]:
    """Of which executions something is due."""
    return [each.execution_id for each in await book.store.due(**({"limit": 10} | page))]


async def test_what_waits_with_nobody_is_found_when_it_falls_due(book):
    """In due order, up to that moment; and then the next moment is told."""
    for id_, due_at in [("late", 300), ("soon", 100), ("later", 400)]:
        timers = (TimerWrite("retry", 0, due_at),)
        await book.move(await book.start(id_), State.AWAITING_COMPLETION, timers=timers)
    assert await due(book, before=99) == []
    assert await due(book, before=300) == ["soon", "late"]
    [first] = await book.store.due(before=300, limit=1)
    assert (first.execution_id, first.due_at, first.needs_code) == ("soon", 100, True)
    assert await due(book, before=300, after=first) == ["late"]
    assert await book.store.next_due(after=0) == 100
    assert await book.store.next_due(after=300) == 400
    assert await book.store.next_due(after=400) is None


async def test_timers_of_one_moment_are_all_found_page_by_page(book):
    """The moment alone would not tell where a page ended."""
    for id_ in ("a", "b", "c"):
        await book.move(
            await book.start(id_), State.AWAITING_COMPLETION, timers=(TimerWrite("retry", 0, 100),)
        )
    found, page = [], await book.store.due(before=100, limit=1)
    while page:
        found += page
        page = await book.store.due(before=100, limit=1, after=page[-1])
    assert [each.execution_id for each in found] == ["a", "b", "c"]


async def test_a_deadline_falls_due_whatever_the_execution_does_but_at_rest(book):
    """Its other timers are looked after by whoever performs it."""
    timers = (TimerWrite("retry", 0, 90), TimerWrite("deadline", EXECUTION_TIMER, 100))
    for state in (State.SCHEDULING, State.EXECUTING, State.PAUSED, State.FAILED):
        await book.move(await book.start(state.value), state, timers=timers)
    found = await book.store.due(before=100, limit=10)
    assert [(each.execution_id, each.needs_code) for each in found] == [
        ("scheduling", False),
        ("executing", False),
    ]
    assert await book.store.next_due(after=0) == 100


async def test_paused_owned_and_running_executions_do_not_fall_due(book):
    """A pause holds its timers until it is resumed; an owner looks after its own."""
    runner_no = await book.register()
    timers = (TimerWrite("retry", 0, 100),)
    await book.move(await book.start("paused"), State.PAUSED, timers=timers)
    await book.move(await book.start("running"), State.EXECUTING, timers=timers)
    await book.move(await book.start("owned", runner_no=runner_no), State.AWAITING_COMPLETION, timers=timers)
    assert await due(book, before=1_000) == []
    assert await book.store.next_due(after=0) is None


async def test_what_tells_of_a_long_wait_falls_due_also_while_paused_and_needs_no_code(book):
    """It changes nothing but the log."""
    timers = (TimerWrite(WARN_TIMER, EXECUTION_TIMER, 100), TimerWrite(WARN_TIMER, 1, 200))
    for state in (State.PAUSED, State.AWAITING_COMPLETION, State.SCHEDULING):
        await book.move(await book.start(state.value), state, timers=timers[state is State.SCHEDULING :])
    found = await book.store.due(before=200, limit=10)
    assert [(each.execution_id, each.due_at, each.needs_code) for each in found] == [
        ("paused", 100, False),
        ("awaiting_completion", 100, False),
        ("paused", 200, False),
        ("awaiting_completion", 200, False),
    ]
    assert await book.store.next_due(after=100) == 200


async def test_a_timer_is_moved_and_cleared_by_its_kind_and_step(book):
    """Others stay; clearing what is not set is nothing."""
    execution = await book.start()
    execution = await book.move(execution, timers=(TimerWrite("retry", 0, 5), TimerWrite("retry", 1, 6)))
    execution = await book.move(
        execution, timers=(TimerWrite("retry", 0, 9), TimerWrite("deadline", -1, None))
    )
    await book.move(execution, timers=(TimerWrite("retry", 1, None),))
    [timer] = (await book.store.load("e1")).timers
    assert (timer.kind, timer.step_no, timer.due_at.timestamp()) == ("retry", 0, 0.009)


async def test_a_fold_shows_the_outcomes_as_of_a_version(book):
    """What settled later is not there yet; what had not settled has no outcome."""
    execution = await book.start()
    execution = await book.move(execution, attempts=(book.outcome(0, b'"a"'), book.attempt(1)))
    execution = await book.move(execution, attempts=(book.outcome(1, b'"b"', before=StepState.RUNNING),))
    assert await book.store.fold("e1", 1) == ()
    assert [(o.step, bytes(o.output), o.settled_version) for o in await book.store.fold("e1", 2)] == [
        ("a", b'"a"', 2)
    ]
    assert [outcome.step for outcome in await book.store.fold("e1", 3)] == ["a", "b"]
    assert await book.store.fold("nobody", 3) == ()


async def test_a_reopened_step_has_no_outcome_until_its_new_generation_settles(book):
    """As of the version that reopened it the old outcome no longer counts; as of an older one it does."""
    execution = await book.move(await book.start(), attempts=(book.outcome(0, b"1"),))
    execution = await book.move(execution, attempts=(book.attempt(0, StepState.PENDING, generation=1),))
    await book.move(
        execution,
        attempts=(
            AttemptWrite(0, 1, 1, 0, StepState.PENDING, StepState.RUNNING),
            AttemptWrite(0, 1, 1, 0, StepState.RUNNING, StepState.COMPLETED, is_outcome=True, output=b"2"),
        ),
    )
    by_version = {version: await book.store.fold("e1", version) for version in (2, 3, 4)}
    assert [bytes(outcome.output) for outcome in by_version[2]] == [b"1"]
    assert by_version[3] == ()
    assert [(o.generation, bytes(o.output)) for o in by_version[4]] == [(1, b"2")]


async def test_the_context_is_known_at_every_version(book):
    """Patches lie over each other; a replacement begins anew."""
    execution = await book.start(context=b'{"n":1,"m":1}')
    for data in (b'{"patch":{"n":2}}', b'{"patch":{"k":[3]}}', b'{"replace":{"n":9}}', b'{"patch":{"m":4}}'):
        execution = await book.move(execution, events=(EventWrite("context_updated", data=data),))
    contexts = [await book.store.context_at("e1", version) for version in range(1, 6)]
    assert contexts == [
        {"n": 1, "m": 1},
        {"n": 2, "m": 1},
        {"n": 2, "m": 1, "k": [3]},
        {"n": 9},
        {"n": 9, "m": 4},
    ]
    with pytest.raises(NotFound):
        await book.store.context_at("nobody", 1)


async def test_an_attempt_keeps_what_it_was_given(book):
    """When it began stays when it ends; what is due belongs to the state it waits in."""
    execution = await book.start()
    began = book.attempt(0, started_at=book.now)
    execution = await book.move(execution, attempts=(began,))
    waits = book.attempt(0, StepState.WAITING, before=StepState.RUNNING, due_at=book.now + 5)
    execution = await book.move(execution, attempts=(waits,))
    [attempt] = await book.store.attempts("e1")
    assert (attempt.state, attempt.due_at is not None) == (StepState.WAITING, True)
    done = book.outcome(0, b'{"ok":true}', before=StepState.WAITING, finished_at=book.now)
    await book.move(execution, attempts=(done,))
    [attempt] = await book.store.attempts("e1")
    assert (attempt.is_outcome, attempt.settled_version, attempt.due_at) == (True, 4, None)
    assert attempt.started_at is not None
    assert attempt.finished_at is not None
    assert bytes(attempt.output) == b'{"ok":true}'
    assert attempt.made_in is None


async def test_an_outcome_that_was_brought_back_keeps_the_generation_that_made_it(book):
    """It is of another one now."""
    execution = await book.move(await book.start(), attempts=(book.outcome(0),))
    await book.move(execution, attempts=(book.outcome(0, generation=2, made_in=0),))
    assert [one.made_in for one in await book.store.attempts("e1")] == [None, 0]


async def test_a_change_that_finds_an_attempt_elsewhere_changes_nothing(book):
    """Lawful by the table, but not where this attempt is; or there is no such attempt."""
    execution = await book.move(await book.start(), attempts=(book.attempt(0),))
    facts = await book.facts()
    for attempt in (
        book.attempt(0, StepState.COMPLETED, before=StepState.WAITING),
        book.attempt(1, StepState.COMPLETED, before=StepState.RUNNING),
        book.attempt(0, StepState.RUNNING),
    ):
        answer = await book.answer_to(book.change(execution, attempts=(attempt,)))
        assert isinstance(answer, Exception)
    assert await book.facts() == facts


@pytest.mark.parametrize("before", list(StepState))
async def test_the_database_takes_exactly_the_step_moves_of_the_table(book, before: StepState):
    """From every state to every other, on real rows."""
    execution = await book.move(await book.start(), attempts=(book.attempt(0),))
    for after in StepState:
        await book.raw("UPDATE workflow_step_executions SET state = ?", before)
        move = book.attempt(0, after, before=before)
        answer = await book.answer_to(book.change(execution, attempts=(move,)))
        assert isinstance(answer, Exception) is not step_can_become(before, after), (before, after)
        execution = await book.execution()


async def test_an_outcome_is_unique_in_its_generation(book):
    """Not even another attempt may bring a second one; a new generation may."""
    execution = await book.move(await book.start(), attempts=(book.outcome(0),))
    again = await book.answer_to(book.change(execution, attempts=(book.outcome(0, attempt=2),)))
    assert "unique constraint" in str(again).lower()
    await book.move(execution, attempts=(book.outcome(0, generation=1),))
    unsettled = book.attempt(1, StepState.RUNNING, is_outcome=True)
    execution = await book.execution()
    refusal = await book.answer_to(book.change(execution, attempts=(unsettled,)))
    assert "check constraint" in str(refusal).lower()


async def test_all_of_what_is_parked_is_read_and_of_what_is_not_only_the_head(book):
    """Parked is what nobody owns, and rests or only waits."""
    runner_no = await book.register()
    for state in State:
        for owner in (None, runner_no):
            id_ = f"{state}-{owner}"
            await book.start(id_, runner_no=owner)
            await book.raw("UPDATE workflow_executions SET state = ? WHERE id = ?", state, id_)
            found = await book.store.load_parked(id_)
            if owner is None and state in {State.PAUSED, State.AWAITING_COMPLETION}:
                assert found == await book.store.load(id_)
            else:
                assert found == await book.store.execution(id_)
    assert await book.store.load_parked("nobody") is None


async def test_of_what_has_not_ended_the_state_alone_is_read(book):
    """Whoever waits for its end asks often."""
    execution = await book.start()
    assert await book.store.load_ended("e1") is State.EXECUTING
    await book.move(execution, State.FAILED)
    assert await book.store.load_ended("e1") == await book.store.load("e1")
    assert await book.store.load_ended("nobody") is None
