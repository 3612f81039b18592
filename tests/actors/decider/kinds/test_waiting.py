"""Steps that wait for a moment or a signal: begun, taken, over, in whatever state and order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from perdure.actors.decider import planner
from perdure.actors.instructions.plan import Scheduling
from perdure.actors.instructions.waits import ForSignal, OnTimeout, Sleep
from perdure.actors.messages import Cancel, Pause, Restore, Resume, Retry, Signal, TakeCheckpoint
from perdure.store.errors import MailboxFull
from perdure.store.records import SIGNALS_MAX
from perdure.store.states import State

Make = Callable[..., Any]
BOTH = [{}, {"scheduling": Scheduling.EAGER}]


def sleep(ms: int) -> dict[str, Any]:
    """A step that waits for so long."""
    return {"wait": Sleep(until=lambda _values, now: now + ms)}


def waits(name: str = "go", **options: Any) -> dict[str, Any]:
    """A step that waits for a signal."""
    return {"wait": ForSignal(name=name, **options)}


def signal(bench: Any, payload: Any = None, *, name: str = "go") -> Any:
    """Send one."""
    return bench.tell(Signal(id=bench.id(), name=name, payload=payload))


@pytest.mark.parametrize("options", BOTH)
def test_a_sleep_is_a_row_with_a_timer_and_its_output_is_the_moment(
    make_bench: Make, options: dict[str, Any]
):
    """No body, no slot; what comes after it starts when it is over."""
    bench = make_bench([(), (0,)], steps={0: sleep(500)}, **options).start()
    assert (bench.state.state, bench.states()) == (State.AWAITING_COMPLETION, ["waiting", "pending"])
    assert bench.rows.timers == {("wait", 0): bench.now + 500}
    assert planner.may_park(bench.turn, linger_ms=499, is_closing=False)
    bench.advance(499)
    assert bench.states() == ["waiting", "pending"]
    bench.advance(1)
    assert bench.states() == ["completed", "running"]
    assert bench.state.output(0) == "1970-01-01T00:16:40.500000Z"
    assert not bench.rows.timers


@pytest.mark.parametrize("options", BOTH)
def test_a_moment_that_has_passed_is_no_wait(make_bench: Make, options: dict[str, Any]):
    """All of it is one transition."""
    bench = make_bench([(), (0,)], steps={0: sleep(0)}, **options).start()
    assert (bench.state.version, bench.states()) == (1, ["completed", "running"])
    assert not bench.rows.timers


@pytest.mark.parametrize("moment", [None, "soon", 1.5, 10**18, -62_135_596_800_001])
def test_what_is_no_moment_fails_the_step(make_bench: Make, moment: Any):
    """Typed, like a condition that gives no answer."""
    bench = make_bench([()], steps={0: {"wait": Sleep(until=lambda _values, _now: moment)}}).start()
    assert bench.state.steps[0].error.type == "ExpressionError"
    assert bench.state.state is State.FAILED


def test_a_signal_completes_who_waits_for_it_with_its_payload(make_bench: Make):
    """Received, taken and the next step started: one transition."""
    bench = make_bench([(), (0,)], steps={0: waits()}).start()
    assert bench.state.state is State.AWAITING_COMPLETION
    signal(bench, {"ok": 1})
    assert bench.states() == ["completed", "running"]
    assert bench.state.output(0) == {"ok": 1}
    assert bench.events()[2:5] == ["signal_received", "signal_taken", "step_completed"]
    assert bench.state.version == 2


def test_a_signal_of_another_name_wakes_nobody_and_is_kept(make_bench: Make):
    """It may be for somebody who does not wait yet."""
    bench = make_bench([(), (0,)], steps={0: waits(), 1: waits("other")}).start()
    signal(bench, 1, name="other")
    assert bench.states() == ["waiting", "pending"]
    signal(bench, 2)
    assert bench.states() == ["completed", "completed"]
    assert bench.state.output(1) == 1
    assert bench.state.signals == []


def test_signals_that_come_before_anybody_waits_are_taken_in_their_order(make_bench: Make):
    """Each by one step, also by an owner who finds them in the store."""
    bench = make_bench([(), (0,), (1,)], steps={1: waits(), 2: waits()}).start()
    signal(bench, "first")
    signal(bench, "second")
    bench.take_up(died=True)
    bench.complete(0)
    assert [bench.state.output(no) for no in (1, 2)] == ["first", "second"]
    assert bench.state.state is State.COMPLETED


def test_who_has_waited_longest_takes_the_signal(make_bench: Make):
    """The moment the wait began counts, then the order of the steps."""
    bench = make_bench([(), (), (1,)], steps={0: waits(), 2: waits()}, scheduling=Scheduling.EAGER).start()
    bench.advance(5)
    bench.complete(1)
    signal(bench, "a")
    assert bench.states() == ["completed", "completed", "waiting"]


def test_one_signal_under_one_id_is_one_signal(make_bench: Make):
    """However often it comes."""
    bench = make_bench([(), (0,)], steps={0: waits("never")}).start()
    for _ in range(3):
        bench.tell(Signal(id="once", name="go"))
    assert len(bench.state.signals) == 1


def test_signals_that_nobody_takes_are_kept_up_to_a_limit(make_bench: Make):
    """The next one is refused and changes nothing."""
    bench = make_bench([()], steps={0: waits("never")}).start()
    bench.check_fold = lambda: None
    for _ in range(SIGNALS_MAX):
        signal(bench)
    version = bench.state.version
    assert isinstance(signal(bench), MailboxFull)
    assert bench.state.version == version


ENDS = {
    OnTimeout.FAIL: ("failed", "skipped", State.FAILED),
    OnTimeout.SKIP: ("skipped", "skipped", State.COMPLETED),
    OnTimeout.CONTINUE: ("completed", "running", State.EXECUTING),
}


@pytest.mark.parametrize("options", BOTH)
@pytest.mark.parametrize("on_timeout", ENDS)
def test_a_wait_that_takes_too_long_ends_as_it_says(
    make_bench: Make, on_timeout: OnTimeout, options: dict[str, Any]
):
    """Fail, skip or go on; the signal that comes later is kept."""
    own = waits(timeout_ms=100, on_timeout=on_timeout)
    bench = make_bench([(), (0,)], steps={0: own}, continue_on_error=True, **options).start()
    bench.advance(100)
    first, second, state = ENDS[on_timeout]
    assert (bench.states(), bench.state.state) == ([first, second], state)
    if on_timeout is OnTimeout.FAIL:
        assert bench.state.steps[0].error.type == "WaitTimeout"


def test_a_signal_in_time_clears_the_timer(make_bench: Make):
    """Nothing is left to fire."""
    bench = make_bench([(), (0,)], steps={0: waits(timeout_ms=100)}).start()
    signal(bench, 1)
    assert not bench.rows.timers
    bench.advance(1_000)
    assert bench.states() == ["completed", "running"]


def test_a_signal_is_taken_while_paused_and_the_rest_goes_on_with_the_resume(make_bench: Make):
    """To take it starts nothing."""
    bench = make_bench([(), (0,)], steps={0: waits()}).start()
    bench.tell(Pause(id="p"))
    signal(bench, 1)
    assert (bench.state.state, bench.states()) == (State.PAUSED, ["completed", "pending"])
    bench.take_up()
    bench.tell(Resume(id="r"))
    assert bench.states() == ["completed", "running"]


def test_what_falls_due_while_paused_fires_on_resume_in_due_order(make_bench: Make):
    """The shorter sleep completes first; nothing completes before."""
    bench = make_bench([(), (), ()], steps={0: sleep(50), 1: sleep(20), 2: sleep(9_000)}).start()
    bench.tell(Pause(id="p"))
    bench.advance(100)
    assert (bench.state.state, bench.states()) == (State.PAUSED, ["waiting"] * 3)
    bench.tell(Resume(id="r"))
    done = [event.step_no for _, event in bench.rows.events if event.type == "step_completed"]
    assert done == [1, 0]
    assert bench.state.state is State.AWAITING_COMPLETION


def test_a_signal_that_comes_after_the_time_was_up_does_not_undo_it(make_bench: Make):
    """The pause has only put off what was due."""
    own = waits(timeout_ms=100, on_timeout=OnTimeout.CONTINUE)
    bench = make_bench([(), (0,)], steps={0: own}).start()
    bench.tell(Pause(id="p"))
    bench.advance(150)
    signal(bench, "late")
    assert bench.states()[0] == "waiting"
    bench.tell(Resume(id="r"))
    assert bench.states()[0] == "completed"
    assert bench.state.output(0) is None
    assert len(bench.state.signals) == 1


def test_no_wait_begins_while_a_pause_is_pending(make_bench: Make):
    """Its time would run before anything may start."""
    bench = make_bench([(), (0,)], steps={1: sleep(10)}).start()
    bench.tell(Pause(id="p"))
    bench.complete(0)
    assert bench.states() == ["completed", "pending"]
    bench.advance(100)
    bench.tell(Resume(id="r"))
    assert bench.rows.timers == {("wait", 1): bench.now + 10}


def test_a_cancel_ends_a_wait_at_once(make_bench: Make):
    """There is nothing to wait for."""
    bench = make_bench([(), (0,)], steps={0: waits(timeout_ms=100)}).start()
    bench.tell(Cancel(id="c"))
    assert (bench.state.state, bench.states()) == (State.CANCELLED, ["cancelled", "pending"])


def test_nobody_waits_on_after_a_required_step_has_failed(make_bench: Make):
    """The failure is not held up for days; a retry waits anew."""
    bench = make_bench([(), ()], steps={0: waits()}).start()
    bench.fail(1)
    assert (bench.state.state, bench.states()) == (State.FAILED, ["cancelled", "failed"])
    bench.tell(Retry(id="r"))
    assert bench.states() == ["waiting", "running"]
    bench.complete(1)
    signal(bench)
    assert bench.state.state is State.COMPLETED


def test_a_restore_gives_back_the_signals_that_steps_took_after_the_checkpoint(make_bench: Make):
    """What was taken before it stays taken."""
    bench = make_bench([(), (0,), (1,)], steps={0: waits(), 1: waits()}).start()
    signal(bench, "early")
    bench.tell(TakeCheckpoint(id="t", label="here"))
    point = bench.state.version
    signal(bench, "late")
    bench.fail(2)
    bench.tell(Restore(id="b", checkpoint=point))
    assert bench.states() == ["completed", "pending", "pending"]
    bench.tell(Resume(id="r"))
    assert [bench.state.output(no) for no in (0, 1)] == ["early", "late"]
    assert bench.bodies.keys() == {2}


def test_a_wait_takes_no_place_of_what_may_run_beside_each_other(make_bench: Make):
    """Not of `parallelism`, and not of a step that runs alone."""
    alone = {"is_parallel": False}
    bench = make_bench([()] * 4, steps={0: waits(), 1: sleep(50), 2: alone}, parallelism=1).start()
    assert bench.states() == ["waiting", "waiting", "running", "pending"]


def test_a_signal_that_comes_while_the_runtime_closes_leaves_something_to_claim(make_bench: Make):
    """Asleep without a timer nobody would look at it again."""
    bench = make_bench([(), (0,)], steps={0: waits()}).start()
    bench.shut_down()
    signal(bench)
    assert bench.state.state is State.SCHEDULING
    bench.take_up()
    assert bench.states() == ["completed", "running"]


def test_a_query_says_what_a_step_waits_for_and_since_when(make_bench: Make):
    """For people to see."""
    bench = make_bench([()], steps={0: waits("paid", timeout_ms=100)}).start()
    step = bench.state.describe()["steps"]["s0"]
    assert step["waits"] == {"for": "signal", "signal": "paid"}
    assert (step["started_at_ms"], step["due_at_ms"]) == (bench.now, bench.now + 100)
