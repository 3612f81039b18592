"""The budget of an execution: which attempts it lets begin, and what becomes of those it does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from perdure.actors.instructions.budget import Budget, OnExceeded
from perdure.actors.instructions.plan import ForEach, Hook, RetryPolicy, Scheduling
from perdure.actors.instructions.waits import ForSignal
from perdure.actors.messages import Completed, Interrupted, Resume, Retry
from perdure.store.states import State
from perdure.store.usage import Limits, Usage

Make = Callable[..., Any]
PAUSE = Budget(limits=Limits(cost=1.0))
FAIL = Budget(limits=Limits(cost=1.0), on_exceeded=OnExceeded.FAIL)
HALF = Usage(cost=0.5)
BOTH = pytest.mark.parametrize("scheduling", list(Scheduling))


@BOTH
def test_what_steps_use_adds_up_over_the_attempts_that_failed_too(make_bench: Make, scheduling: Scheduling):
    """A failed call is paid for like any other."""
    retry = {"retry": RetryPolicy(max_retries=1, delay_ms=0)}
    bench = make_bench([(), (0,)], steps={0: retry}, scheduling=scheduling, budget=PAUSE).start()
    bench.fail(0, used=Usage(cost=0.25, tokens=10))
    bench.complete(0, used=HALF)
    assert bench.state.usage == Usage(cost=0.75, tokens=10)
    assert bench.rows.fields["cost_nanos"] == 750_000_000
    assert [row.write.cost_nanos for row in bench.rows.attempts.values()] == [250_000_000, 500_000_000, None]


def test_an_attempt_that_was_interrupted_keeps_what_it_used(make_bench: Make):
    """It goes on as the same attempt, and what it uses then is added."""
    bench = make_bench([()]).start()
    bench.shut_down()
    step = bench.state.steps[0]
    bench.report(0, Interrupted(bench.interrupts[0]), used=HALF)
    bench.take_up()
    bench.complete(0, used=HALF)
    assert (step.attempt, bench.state.steps[0].usage, bench.state.usage) == (1, HALF + HALF, HALF + HALF)


@BOTH
def test_the_execution_pauses_before_the_step_that_would_exceed_its_budget(
    make_bench: Make, scheduling: Scheduling
):
    """With the reason, and goes on from there once it has more."""
    bench = make_bench([(), (0,)], scheduling=scheduling, budget=PAUSE).start()
    bench.complete(0, used=HALF + HALF)
    assert bench.state.state is State.PAUSED
    assert bench.rows.fields["paused_by"] == "budget"
    assert bench.states() == ["completed", "pending"]
    assert bench.events()[-3:] == ["checkpoint_created", "budget_exceeded", "workflow_paused"] or (
        scheduling is Scheduling.EAGER and bench.events()[-2:] == ["budget_exceeded", "workflow_paused"]
    )
    bench.tell(Resume(id=bench.id(), budget=Limits(cost=2.0)))
    assert bench.bodies.keys() == {1}
    bench.complete(1, used=HALF)
    assert bench.state.state is State.COMPLETED


def test_a_resume_without_more_pauses_again(make_bench: Make):
    """Nothing has changed, and nothing is used."""
    bench = make_bench([(), (0,)], budget=PAUSE).start()
    bench.complete(0, used=HALF + HALF)
    answer = bench.tell(Resume(id=bench.id()))
    assert (answer.state, bench.bodies) == (State.PAUSED, {})


@pytest.mark.parametrize("budget", [PAUSE, FAIL])
def test_a_hook_has_all_its_attempts_whatever_is_left(make_bench: Make, budget: Budget):
    """What cleans up is no part of what the budget is for; what it uses counts."""
    retry = RetryPolicy(max_retries=1, delay_ms=0)
    bench = make_bench([()], hooks={Hook.FINALLY: {"retry": retry}}, budget=budget).start()
    bench.complete(0, used=HALF + HALF)
    bench.fail(1, used=HALF)
    bench.complete(1, used=HALF)
    assert bench.state.state is State.COMPLETED
    assert bench.states() == ["completed", "completed"]
    assert bench.state.usage == Usage(cost=2.0)


def test_other_limits_outlive_the_owner_and_name_only_what_they_change(make_bench: Make):
    """A limit that was not named stays; a workflow without a budget can be given one."""
    bench = make_bench([(), (0,)], budget=Budget(limits=Limits(cost=1.0, tokens=100))).start()
    bench.complete(0, used=Usage(tokens=100))
    bench.tell(Resume(id=bench.id(), budget=Limits(tokens=200)))
    bench.take_up(died=True)
    assert bench.state.limits == Limits(cost=1.0, tokens=200)
    assert bench.state.describe()["budget"] == {"cost": 1.0, "tokens": 200}


def test_siblings_in_flight_come_to_their_end_before_the_pause(make_bench: Make):
    """What was paid for is not thrown away."""
    retry = {"retry": RetryPolicy(max_retries=1, delay_ms=0)}
    bench = make_bench([(), ()], steps={0: retry}, budget=PAUSE).start()
    bench.fail(0, used=HALF + HALF)
    assert (bench.state.state, bench.bodies.keys()) == (State.PAUSING, {1})
    bench.complete(1)
    assert (bench.state.state, bench.states()) == (State.PAUSED, ["waiting", "completed"])
    bench.tell(Resume(id=bench.id(), budget=Limits(cost=3.0)))
    assert bench.bodies == {0: (0, 2)}


def test_a_step_whose_estimate_only_fits_when_others_use_less_waits_for_them(make_bench: Make):
    """It is held, not refused: they may use less than they declare."""
    steps = {no: {"estimate": Usage(cost=0.6)} for no in range(2)}
    bench = make_bench([(), ()], steps=steps, budget=PAUSE).start()
    assert bench.bodies.keys() == {0}
    bench.complete(0, used=Usage(cost=0.4))
    assert bench.bodies.keys() == {1}
    bench.complete(1, used=Usage(cost=0.6))
    assert bench.state.state is State.COMPLETED


@BOTH
def test_a_budget_may_fail_the_step_instead(make_bench: Make, scheduling: Scheduling):
    """The execution fails as it does when any required step has; a retry with more repairs it."""
    bench = make_bench([(), (0,), (1,)], scheduling=scheduling, budget=FAIL).start()
    bench.complete(0, used=HALF + HALF)
    assert bench.state.state is State.FAILED
    assert bench.states() == ["completed", "failed", "pending"]
    assert "BudgetExceeded" in bench.state.error.message
    bench.tell(Retry(id=bench.id(), budget=Limits(cost=5.0)))
    bench.complete(1)
    bench.complete(2)
    assert bench.state.state is State.COMPLETED


@BOTH
def test_an_optional_step_beyond_the_budget_is_left_out(make_bench: Make, scheduling: Scheduling):
    """Those after it run without it, if they are free; conditions of theirs are asked."""
    free = {"estimate": Usage(), "when": lambda _values: True}
    steps = {1: {"is_optional": True, "estimate": Usage(cost=0.1)}, 2: free}
    bench = make_bench([(), (0,), (1,)], steps=steps, scheduling=scheduling, budget=FAIL).start()
    bench.complete(0, used=HALF + HALF)
    assert bench.states() == ["completed", "failed", "running"]
    bench.complete(2)
    assert bench.state.state is State.COMPLETED


def test_beside_a_step_that_was_refused_nothing_new_starts(make_bench: Make):
    """Not even what would have been free; what waits for its next attempt is refused as well."""
    retry = {"retry": RetryPolicy(max_retries=1, delay_ms=100, jitter=False)}
    steps = {1: retry, 3: {"estimate": Usage()}}
    bench = make_bench([(), (), (0,), (0,)], steps=steps, scheduling=Scheduling.EAGER, budget=FAIL).start()
    bench.fail(1)
    bench.complete(0, used=HALF + HALF)
    assert bench.states() == ["completed", "waiting", "failed", "pending"]
    bench.advance(100)
    assert bench.states() == ["completed", "failed", "failed", "pending"]
    assert (bench.state.state, bench.rows.timers) == (State.FAILED, {})


def test_nobody_waits_any_longer_once_a_required_step_was_refused(make_bench: Make):
    """As if its body had failed."""
    steps = {1: {"wait": ForSignal(name="go")}}
    bench = make_bench([(), (), (0,)], steps=steps, scheduling=Scheduling.EAGER, budget=FAIL).start()
    bench.complete(0, used=HALF + HALF)
    assert bench.states() == ["completed", "cancelled", "failed"]
    assert bench.state.state is State.FAILED


def test_the_event_says_what_was_used_of_how_much(make_bench: Make):
    """And what the step declared."""
    steps = {1: {"estimate": Usage(cost=0.75)}}
    bench = make_bench([(), (0,)], steps=steps, budget=PAUSE).start()
    bench.complete(0, used=HALF)
    [event] = [event for _, event in bench.rows.events if event.type == "budget_exceeded"]
    assert (event.step_no, msgspec.json.decode(event.data)) == (
        1,
        {
            "used": {"cost": 0.5, "tokens": 0},
            "budget": {"cost": 1.0, "tokens": None},
            "estimate": {"cost": 0.75, "tokens": 0},
            "on_exceeded": "pause",
        },
    )


def each(total: int, *, at_once: int, **options: Any) -> dict[str, Any]:
    """A step that is performed for so many items, so many of them at once."""
    return {"for_each": ForEach(items=lambda _: total, max_concurrency=at_once), **options}


def give(bench: Any, item: int, *, cost: float, step_no: int = 0) -> None:
    """The body of an item returns, and has used so much."""
    bench.report((step_no, item), Completed(b"1"), used=Usage(cost=cost))


@BOTH
def test_the_execution_pauses_before_the_item_that_would_exceed_its_budget(
    make_bench: Make, scheduling: Scheduling
):
    """Those in flight end; with more it goes on with the next one."""
    bench = make_bench([()], steps={0: each(5, at_once=2)}, scheduling=scheduling, budget=PAUSE).start()
    give(bench, 0, cost=1.0)
    assert (bench.state.state, list(bench.bodies)) == (State.PAUSING, [(0, 1)])
    give(bench, 1, cost=0.5)
    assert (bench.state.state, bench.states()) == (State.PAUSED, ["pending"])
    bench.take_up()
    bench.tell(Resume(id=bench.id(), budget=Limits(cost=9.0)))
    assert list(bench.bodies) == [(0, 2), (0, 3)]
    for item in (2, 3, 4):
        give(bench, item, cost=0.5)
    assert bench.state.state is State.COMPLETED
    assert bench.events().count("budget_exceeded") == 1


def test_what_items_in_flight_declare_is_reserved_for_each_of_them(make_bench: Make):
    """Another begins when one has used less than it might have."""
    item = each(4, at_once=4, estimate=Usage(cost=0.4))
    bench = make_bench([()], steps={0: item}, budget=PAUSE).start()
    assert list(bench.bodies) == [(0, 0), (0, 1)]
    give(bench, 0, cost=0.1)
    assert list(bench.bodies) == [(0, 1), (0, 2)]
    give(bench, 1, cost=0.4)
    assert list(bench.bodies) == [(0, 2)]
    assert bench.state.state is State.EXECUTING
    give(bench, 2, cost=0.1)
    assert list(bench.bodies) == [(0, 3)]


@pytest.mark.parametrize("dies", [False, True])
def test_an_item_waits_for_another_step_that_may_use_what_is_left(make_bench: Make, dies: bool):  # noqa: FBT001
    """The loop runs on without a body, and a crash meanwhile changes nothing of it."""
    dear = {"estimate": Usage(cost=0.6)}
    steps = {0: each(2, at_once=1, **dear), 1: {"estimate": Usage()}, 2: dear}
    options = {"steps": steps, "scheduling": Scheduling.EAGER, "budget": PAUSE}
    bench = make_bench([(), (), (1,)], **options).start()
    bench.complete(1)
    assert list(bench.bodies) == [(0, 0)]
    give(bench, 0, cost=0.1)
    assert (list(bench.bodies), bench.states()) == ([2], ["running", "completed", "running"])
    if dies:
        bench.take_up(died=True)
    for body in list(bench.bodies):
        if body == 2:
            bench.complete(2, used=Usage(cost=0.1))
        else:
            give(bench, 1, cost=0.1)
    assert len(bench.bodies) == 1
    if 2 in bench.bodies:
        bench.complete(2)
    else:
        give(bench, 1, cost=0.1)
    assert bench.state.state is State.COMPLETED


@BOTH
def test_a_budget_may_fail_the_step_for_an_item_and_a_retry_goes_on_with_it(
    make_bench: Make, scheduling: Scheduling
):
    """What is in flight ends first; what has completed stays."""
    bench = make_bench([()], steps={0: each(4, at_once=2)}, scheduling=scheduling, budget=FAIL).start()
    give(bench, 0, cost=1.0)
    assert (bench.states(), list(bench.bodies)) == (["running"], [(0, 1)])
    give(bench, 1, cost=0.5)
    assert (bench.state.state, bench.state.steps[0].error.type) == (State.FAILED, "BudgetExceeded")
    assert bench.events().count("budget_exceeded") == 1
    bench.tell(Retry(id=bench.id(), budget=Limits(cost=9.0)))
    assert list(bench.bodies) == [(0, 2), (0, 3)]
    give(bench, 2, cost=0.5)
    give(bench, 3, cost=0.5)
    assert bench.state.state is State.COMPLETED


def test_where_the_budget_of_one_suspect_is_used_up_no_other_is_tried(make_bench: Make):
    """The execution is to rest: nothing begins any more."""
    estimate = Usage(cost=0.6)
    budget = Budget(limits=Limits(cost=1.0))
    bench = make_bench([(), (), ()], steps={0: {"estimate": estimate}}, budget=budget).start()
    bench.take_up(died=True)
    bench.complete(2, used=Usage(cost=0.5))
    bench.take_up(died=True)
    assert (bench.state.state, bench.bodies) == (State.PAUSED, {})
    assert bench.events().count("budget_exceeded") == 1
