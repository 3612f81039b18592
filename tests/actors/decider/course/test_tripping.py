"""The circuit breaker of one execution: what it counts, when it trips, what lets it go on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.actors.instructions.breaker import Breaker, OnTrip
from perdure.actors.instructions.plan import ForEach, Hook, RetryPolicy, Scheduling
from perdure.actors.messages import Cancel, Completed, Interrupt, Pause, Resume, Retry
from perdure.store.states import State

Make = Callable[..., Any]
STUBBORN = {"retry": RetryPolicy(max_retries=100, delay_ms=10, multiplier=1, jitter=False)}
THREE = Breaker(errors=3, window_ms=1_000)
BOTH = pytest.mark.parametrize("scheduling", list(Scheduling))


def fail(bench: Any, step_no: int, times: int = 1, *, every_ms: int = 10) -> None:
    """A step fails, and again, each time after its delay."""
    for _ in range(times):
        if step_no not in bench.bodies:
            bench.advance(every_ms)
        bench.fail(step_no)


@BOTH
def test_so_many_failures_within_the_window_fail_the_execution(make_bench: Make, scheduling: Scheduling):
    """What is in flight is cancelled; the error says what has tripped."""
    bench = make_bench([(), ()], steps={0: STUBBORN}, scheduling=scheduling, circuit_breaker=THREE).start()
    fail(bench, 0, 2)
    assert bench.state.state is State.EXECUTING
    fail(bench, 0)
    assert bench.state.state is State.CANCELLING
    assert bench.interrupts == {1: Interrupt.CIRCUIT_BREAKER}
    bench.unwind()
    assert bench.state.state is State.FAILED
    assert bench.state.error.type == "CircuitBreakerTripped"
    assert bench.state.breaker.reason == "3 attempts failed within 1 s"
    assert bench.events().count("circuit_breaker_tripped") == 1


def test_failures_of_different_steps_count_together(make_bench: Make):
    """It is the execution that is in trouble."""
    bench = make_bench([(), (), ()], steps=dict.fromkeys(range(3), STUBBORN), circuit_breaker=THREE).start()
    for step_no in range(3):
        bench.fail(step_no)
    assert bench.state.state is State.FAILED


def test_failures_that_are_far_apart_do_not_trip_it(make_bench: Make):
    """Only so many within one window."""
    slowly = {"retry": RetryPolicy(max_retries=100, delay_ms=600, multiplier=1, jitter=False)}
    bench = make_bench([()], steps={0: slowly}, circuit_breaker=THREE).start()
    fail(bench, 0, 20, every_ms=600)
    assert bench.state.state is State.AWAITING_COMPLETION


def test_an_attempt_that_took_too_long_counts_although_it_succeeded(make_bench: Make):
    """The latency is a promise, too."""
    breaker = Breaker(errors=2, window_ms=10_000, latency_ms=500)
    bench = make_bench([(), (0,), (1,), (2,)], circuit_breaker=breaker).start()
    for step_no, took_ms in ((0, 501), (1, 500), (2, 600)):
        bench.now += took_ms
        bench.complete(step_no)
    assert bench.state.state is State.FAILED
    assert bench.states() == ["completed", "completed", "completed", "pending"]
    assert bench.state.breaker.reason == "2 attempts failed or took longer than 0.5 s within 10 s"


def test_a_trip_may_pause_instead_and_a_resume_begins_the_count_anew(make_bench: Make):
    """What is in flight finishes first; what was done stays on record."""
    breaker = Breaker(errors=3, window_ms=1_000, on_trip=OnTrip.PAUSE)
    bench = make_bench([(), ()], steps={0: STUBBORN}, circuit_breaker=breaker).start()
    fail(bench, 0, 3)
    assert (bench.state.state, bench.bodies.keys()) == (State.PAUSING, {1})
    bench.complete(1)
    assert bench.state.state is State.PAUSED
    assert bench.rows.fields["paused_by"] == "circuit breaker"
    bench.advance(10)
    bench.tell(Resume(id=bench.id()))
    assert bench.state.breaker.reset_at == bench.now
    fail(bench, 0, 2)
    assert bench.state.state is State.AWAITING_COMPLETION
    fail(bench, 0)
    assert bench.state.state is State.PAUSED
    assert bench.state.breaker.reset_at is None


def test_a_cancel_after_a_trip_cuts_the_hook_short_and_changes_nothing_of_the_end(make_bench: Make):
    """The breaker has stopped it first: it is another stop, not another end."""
    hooks: dict[Hook, dict[str, Any]] = {hook: {} for hook in Hook}
    bench = make_bench([()], steps={0: STUBBORN}, hooks=hooks, circuit_breaker=THREE).start()
    fail(bench, 0, 3)
    failure, finally_ = (bench.plan.hooks[hook] for hook in (Hook.FAILURE, Hook.FINALLY))
    assert list(bench.bodies) == [failure]
    bench.tell(Cancel(id=bench.id()))
    bench.unwind()
    assert (bench.states()[failure], list(bench.bodies)) == ("cancelled", [finally_])
    bench.complete(finally_)
    assert (bench.state.state, bench.state.error.type) == (State.FAILED, "CircuitBreakerTripped")


def test_a_retry_begins_the_count_anew(make_bench: Make):
    """The attempts of the generation before no longer count."""
    bench = make_bench([()], steps={0: STUBBORN}, circuit_breaker=THREE).start()
    fail(bench, 0, 3)
    assert bench.state.state is State.FAILED
    bench.advance(1)
    bench.tell(Retry(id=bench.id()))
    fail(bench, 0, 2)
    bench.advance(10)
    bench.complete(0)
    assert bench.state.state is State.COMPLETED


def test_the_count_survives_the_owner(make_bench: Make):
    """It is folded from the attempts."""
    bench = make_bench([()], steps={0: STUBBORN}, circuit_breaker=THREE).start()
    fail(bench, 0, 2)
    bench.take_up(died=True)
    fail(bench, 0)
    assert bench.state.state is State.FAILED


def test_nothing_trips_where_nothing_is_left_to_be_stopped(make_bench: Make):
    """Not on the way to a pause, and not at the end."""
    once = Breaker(errors=1, window_ms=1_000, latency_ms=5)
    bench = make_bench([(), (0,)], circuit_breaker=once).start()
    bench.tell(Pause(id=bench.id()))
    bench.now += 10
    bench.complete(0)
    assert bench.state.state is State.PAUSED
    other = make_bench([()], circuit_breaker=once).start()
    other.now += 10
    other.complete(0)
    assert (other.state.state, other.state.breaker) == (State.COMPLETED, None)


@given(st.lists(st.integers(0, 400), max_size=30), st.integers(1, 5), st.integers(1, 1_000))
def test_the_moments_that_are_kept_are_enough_to_tell(gaps: list[int], errors: int, window_ms: int):
    """To keep no more than it takes to trip loses nothing: compared with counting all of them."""
    breaker = Breaker(errors=errors, window_ms=window_ms)
    now, every, kept = 0, [], list[int]()
    for gap in gaps:
        now += gap
        every.append(now)
        kept = breaker.recent([*kept, now], now=now)
        in_window = [at for at in every if at > now - window_ms]
        assert (len(kept) >= errors) is (len(in_window) >= errors)


def each(total: int) -> dict[str, Any]:
    """A step that is performed for so many items, whose failures are forgiven."""
    loop = ForEach(items=lambda _: total, max_concurrency=2, continue_on_error=True)
    return {"for_each": loop, "retry": RetryPolicy(max_retries=1, delay_ms=10, jitter=False)}


@pytest.mark.parametrize("dies", [False, True])
@BOTH
def test_failures_of_items_count_also_those_that_were_retried(
    make_bench: Make,
    scheduling: Scheduling,
    dies: bool,  # noqa: FBT001
):
    """And whoever takes the execution up knows of them."""
    bench = make_bench([(), ()], steps={0: each(9)}, scheduling=scheduling, circuit_breaker=THREE).start()
    bench.fail((0, 0))
    bench.advance(10)
    bench.fail((0, 0))
    bench.report((0, 1), Completed(b"1"))
    assert (bench.state.state, len(bench.state.mishaps)) == (State.EXECUTING, 2)
    if dies:
        bench.take_up()
    bench.fail((0, 2))
    assert bench.state.state is State.CANCELLING
    bench.unwind(*sorted(bench.interrupts, key=str))
    assert bench.state.error.type == "CircuitBreakerTripped"
    bench.tell(Retry(id=bench.id()))
    assert (bench.state.mishaps, bench.state.breaker.items) == ([], ())
    bench.fail((0, 2))
    assert bench.state.state is State.EXECUTING


def test_an_item_that_takes_too_long_counts_and_its_step_does_not(make_bench: Make):
    """A loop of many quick items takes long."""
    quick = Breaker(errors=2, window_ms=10_000, latency_ms=500, on_trip=OnTrip.PAUSE)
    bench = make_bench([(), ()], steps={0: each(3)}, circuit_breaker=quick).start()
    bench.advance(600)
    bench.report((0, 0), Completed(b"1"))
    bench.report((0, 2), Completed(b"1"))
    bench.advance(10_000)
    bench.report((0, 1), Completed(b"1"))
    assert (bench.state.state, bench.states()) == (State.EXECUTING, ["completed", "running"])
    bench.complete(1)
    assert bench.state.state is State.PAUSED or bench.state.is_everything_settled
