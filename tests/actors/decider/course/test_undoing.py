"""Undoing: compensations run last things first, in whatever state it begins, and survive what comes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from perdure.actors.instructions.plan import Hook, OnFailure, RetryPolicy, Scheduling
from perdure.actors.instructions.waits import ForSignal
from perdure.actors.messages import (
    Answer,
    Cancel,
    Held,
    Interrupt,
    Pause,
    PauseMode,
    Restore,
    Resume,
    Retry,
    Rollback,
    Signal,
    TakeCheckpoint,
)
from perdure.actors.state.trial import CRASH_BUDGET
from perdure.store.errors import IllegalTransition
from perdure.store.states import State

Make = Callable[..., Any]
CHAIN = [(), (0,), (1,)]
EACH: dict[int, dict[str, Any]] = {0: {}, 1: {}, 2: {}}  # the compensations of a chain: steps 3, 4, 5
LATER = {"retry": RetryPolicy(max_retries=1, delay_ms=100, jitter=False)}
ON_FAILURE = {"on_failure": OnFailure.COMPENSATE}
BOTH = [{}, {"scheduling": Scheduling.EAGER}]


def roll_back(bench: Any, reason: str | None = "rain", **options: Any) -> Any:
    """Ask for it."""
    return bench.tell(Rollback(id=bench.id(), reason=reason, **options))


def undone(bench: Any) -> list[int]:
    """What compensations were started for, in order."""
    size = bench.state.size
    return [bench.plan.steps[no].undoes for no in bench.started if no >= size]


def test_what_completed_is_undone_in_reverse_order_and_the_rest_is_skipped(make_bench: Make):
    """Step by step; the end says why."""
    bench = make_bench([*CHAIN, (2,)], undo=EACH).start()
    bench.complete(0, 1)
    bench.tell(Pause(id=bench.id()))
    bench.complete(2)
    assert roll_back(bench) is None
    assert (bench.state.state, undone(bench)) == (State.COMPENSATING, [2])
    assert bench.states()[3] == "skipped"
    bench.complete(6, 5, 4)
    assert undone(bench) == [2, 1, 0]
    assert bench.state.state is State.ROLLED_BACK
    assert bench.states()[:4] == ["compensated", "compensated", "compensated", "skipped"]
    assert bench.events()[-3:] == ["step_compensating", "step_compensated", "workflow_rolled_back"]
    assert b"rain" in bench.rows.events[-1][1].data
    assert not bench.waiters
    assert (bench.state.rollback_reason, bench.state.error) == ("rain", None)


@pytest.mark.parametrize("options", BOTH)
def test_the_order_is_that_of_completion_not_of_the_graph(make_bench: Make, options: dict[str, Any]):
    """Steps beside each other are undone in the reverse of how they ended."""
    bench = make_bench([(), (), (), (0, 1, 2)], undo=EACH, **options).start()
    bench.complete(1, 2, 0)
    bench.take_up()
    roll_back(bench)
    bench.unwind()
    for _ in range(3):
        bench.complete(*bench.bodies)
    assert undone(bench) == [0, 2, 1]
    assert bench.state.state is State.ROLLED_BACK


def test_what_is_in_flight_is_stopped_first_and_a_result_that_races_with_that_is_undone_too(make_bench: Make):
    """Completion wins; what was cut is cancelled and is not undone."""
    bench = make_bench([(), ()], undo={0: {}, 1: {}}).start()
    roll_back(bench)
    assert bench.interrupts == {0: Interrupt.ROLLBACK, 1: Interrupt.ROLLBACK}
    assert bench.state.state is State.COMPENSATING
    bench.unwind(0)
    assert undone(bench) == []
    bench.complete(1)
    assert (bench.states(), undone(bench)) == (["cancelled", "completed", "pending", "running"], [1])
    bench.complete(3)
    assert bench.state.state is State.ROLLED_BACK


def test_a_step_that_fails_while_it_is_stopped_is_not_tried_again(make_bench: Make):
    """Nor is one that waits for its next attempt, or for a signal."""
    waits = {"wait": ForSignal(name="go", timeout_ms=1_000)}
    bench = make_bench([(), (), ()], steps={0: LATER, 1: LATER, 2: waits}, undo={0: {}}).start()
    bench.fail(1)
    assert bench.states()[1:3] == ["waiting", "waiting"]
    roll_back(bench)
    assert bench.states()[1:3] == ["cancelled", "cancelled"]
    bench.fail(0)
    assert (bench.state.state, bench.states()[0]) == (State.ROLLED_BACK, "failed")
    assert bench.rows.timers == {}


STARTS: dict[str, Callable[[Any], Any]] = {
    "queued": lambda bench: bench.enqueue(),
    "waiting": lambda bench: (bench.start(), bench.fail(0)),
    "paused": lambda bench: (
        bench.start(),
        bench.tell(Pause(id="p", mode=PauseMode.INTERRUPT)),
        bench.unwind(),
    ),
    "pausing": lambda bench: (bench.start(), bench.tell(Pause(id="p"))),
    "cancelling": lambda bench: (bench.start(), bench.tell(Cancel(id="p"))),
}


@pytest.mark.parametrize("start", STARTS)
def test_what_has_nothing_to_undo_is_rolled_back_at_once(make_bench: Make, start: str):
    """From wherever it stands."""
    bench = make_bench(CHAIN, steps={0: LATER}, undo=EACH)
    STARTS[start](bench)
    if start == "queued":
        bench.take_up(launches=False)
    roll_back(bench)
    bench.unwind()
    assert bench.state.state is State.ROLLED_BACK
    assert bench.state.pause_mode is None
    assert not bench.waiters
    assert set(bench.states()[:3]) == {"cancelled", "skipped"} or start == "queued"


@pytest.mark.parametrize("end", [State.COMPLETED, State.FAILED, State.CANCELLED])
def test_the_past_of_what_has_ended_can_be_undone(make_bench: Make, end: State):
    """Its end is opened, and another one written."""
    bench = make_bench([(), (0,)], undo={0: {}, 1: {}}).start()
    bench.complete(0)
    if end is State.COMPLETED:
        bench.complete(1)
    elif end is State.FAILED:
        bench.fail(1)
    else:
        bench.tell(Cancel(id=bench.id()))
        bench.unwind()
    assert bench.state.state is end
    bench.take_up()
    roll_back(bench)
    assert (bench.state.state, bench.rows.fields["finished_at"]) == (State.COMPENSATING, None)
    while bench.bodies:
        bench.complete(*bench.bodies)
    assert (bench.state.state, bench.state.error) == (State.ROLLED_BACK, None)
    assert bench.rows.fields["finished_at"] == bench.now
    assert undone(bench) == ([1, 0] if end is State.COMPLETED else [0])


def test_what_was_rolled_back_is_over(make_bench: Make):
    """No command opens it, and each refusal says what to do."""
    bench = make_bench([()], undo={0: {}}).start()
    bench.complete(0)
    roll_back(bench)
    bench.complete(1)
    version = bench.state.version
    for command in (Retry, Resume, Cancel, Rollback, Pause):
        refusal = bench.tell(command(id=bench.id()))
        assert isinstance(refusal, IllegalTransition)
        assert "start it again" in str(refusal)
    assert "start it again" in str(bench.tell(Restore(id=bench.id(), checkpoint=1)))
    assert bench.state.version == version


@pytest.mark.parametrize("command", [Pause, Resume, TakeCheckpoint])
def test_what_is_being_rolled_back_cannot_be_paused(make_bench: Make, command: type):
    """The refusal says what there is instead."""
    bench = make_bench([()], undo={0: {}}).start()
    bench.complete(0)
    roll_back(bench)
    refusal = bench.tell(command(id=bench.id()))
    assert isinstance(refusal, IllegalTransition)
    assert "being rolled back" in str(refusal)


def test_another_rollback_waits_with_the_first(make_bench: Make):
    """Both are answered at the end."""
    bench = make_bench([()], undo={0: {}}).start()
    roll_back(bench)
    roll_back(bench, "sun")
    bench.tell(Cancel(id=bench.id(), compensate=True))
    assert len(bench.waiters) == 3
    bench.complete(0)
    bench.complete(1)
    assert (bench.state.state, bench.state.rollback_reason) == (State.ROLLED_BACK, "rain")
    assert not bench.waiters
    assert bench.events().count("rollback_requested") == 1


def test_a_signal_is_kept_while_it_is_rolled_back(make_bench: Make):
    """Whoever sends one is not told that it could not be."""
    bench = make_bench([()], undo={0: {}}).start()
    roll_back(bench)
    assert isinstance(bench.tell(Signal(id=bench.id(), name="go")), Answer)


@pytest.mark.parametrize("options", BOTH)
def test_a_failure_is_undone_where_the_workflow_says_so(make_bench: Make, options: dict[str, Any]):
    """The error stays: it says why."""
    bench = make_bench(CHAIN, undo=EACH, **ON_FAILURE, **options).start()
    bench.complete(0, 1)
    bench.fail(2)
    assert bench.state.state is State.COMPENSATING
    bench.complete(4, 3)
    assert (bench.state.state, bench.state.error.type) == (State.ROLLED_BACK, "StepFailed")
    assert bench.states()[:3] == ["compensated", "compensated", "failed"]
    assert "ValueError: no" in bench.state.rollback_reason


def test_a_missed_deadline_is_a_failure_and_undoing_has_none(make_bench: Make):
    """It takes as long as it takes."""
    bench = make_bench([(), (0,)], undo={0: {}}, timeout_ms=50, **ON_FAILURE).start()
    bench.complete(0)
    bench.advance(50)
    bench.unwind()
    assert undone(bench) == [0]
    bench.advance(1_000)
    bench.complete(2)
    assert (bench.state.state, bench.state.error.type) == (State.ROLLED_BACK, "ExecutionTimeout")


def test_a_cancel_undoes_only_where_it_says_so(make_bench: Make):
    """What people stop they may want to look at."""
    for compensates in (False, True):
        bench = make_bench([(), (0,)], undo={0: {}}, **ON_FAILURE).start()
        bench.complete(0)
        bench.tell(Cancel(id=bench.id(), reason="enough", compensate=compensates))
        bench.unwind()
        bench.complete(*bench.bodies)
        assert bench.state.state is (State.ROLLED_BACK if compensates else State.CANCELLED)
        assert bench.state.rollback_reason == ("enough" if compensates else None)


def test_a_cancel_that_is_on_its_way_becomes_a_rollback(make_bench: Make):
    """Somebody thought twice."""
    bench = make_bench([(), (), (0, 1)], undo={0: {}}).start()
    bench.complete(0)
    bench.tell(Cancel(id=bench.id()))
    bench.tell(Cancel(id=bench.id(), compensate=True))
    bench.unwind()
    bench.complete(*bench.bodies)
    assert bench.state.state is State.ROLLED_BACK
    assert not bench.waiters


def test_nothing_is_undone_that_something_which_stays_was_built_upon(make_bench: Make):
    """The rest is; the error names both."""
    bench = make_bench([(), (0,), (1,), ()], undo={no: {} for no in range(4)}).start()
    bench.complete(0, 3, 1, 2)
    roll_back(bench)
    bench.fail(6)
    assert bench.state.state is State.COMPENSATING
    bench.complete(7)
    assert (bench.state.state, undone(bench)) == (State.FAILED, [2, 3])
    assert bench.states()[:4] == ["completed", "completed", "completed", "compensated"]
    text = bench.state.error.message
    assert bench.state.error.type == "RollbackFailed"
    assert "could not be undone: s2 (ValueError: no)" in text
    assert "left as they are: s0, s1" in text
    assert "rain" in text


def test_a_compensation_is_retried_by_its_own_policy(make_bench: Make):
    """While it waits the execution stays in the state that says what it does."""
    bench = make_bench([()], undo={0: LATER}).start()
    bench.complete(0)
    roll_back(bench)
    bench.fail(1)
    assert (bench.state.state, bench.states()[1]) == (State.COMPENSATING, "waiting")
    bench.take_up()
    assert not bench.bodies
    bench.advance(100)
    assert bench.bodies == {1: (0, 2)}
    bench.complete(1)
    assert bench.state.state is State.ROLLED_BACK


@pytest.mark.parametrize("again", [Retry, Rollback])
def test_a_rollback_that_failed_goes_on_with_what_is_left(make_bench: Make, again: type):
    """Under the same idempotency keys; what was undone is not undone twice."""
    bench = make_bench(CHAIN, undo=EACH).start()
    bench.complete(0, 1, 2)
    roll_back(bench)
    bench.complete(5)
    bench.fail(4)
    assert bench.state.state is State.FAILED
    assert "part" in str(bench.tell(Restore(id=bench.id(), checkpoint=1)))
    assert isinstance(bench.tell(Retry(id=bench.id(), step="s0")), IllegalTransition)
    bench.take_up()
    bench.tell(again(id=bench.id()))
    assert bench.bodies == {4: (1, 1)}
    assert bench.state.steps[4].lineage == 0
    bench.complete(4, 3)
    assert bench.state.state is State.ROLLED_BACK
    assert undone(bench) == [2, 1, 1, 0]


def test_a_rollback_can_be_stopped_and_gone_on_with(make_bench: Make):
    """It fails, saying what was left as it is."""
    bench = make_bench(CHAIN, undo=EACH).start()
    bench.complete(0, 1, 2)
    roll_back(bench)
    bench.tell(Cancel(id=bench.id()))
    assert bench.interrupts == {5: Interrupt.CANCEL}
    bench.unwind()
    assert (bench.state.state, bench.states()[5]) == (State.FAILED, "cancelled")
    assert "left as they are: s0, s1" in bench.state.error.message
    bench.tell(Retry(id=bench.id()))
    bench.complete(5, 4, 3)
    assert bench.state.state is State.ROLLED_BACK


def test_what_the_guard_of_an_agent_holds_is_undone_when_it_lets_it_through(make_bench: Make):
    """No attempt is used up; so it is with a hook of an execution that is being cancelled."""
    bench = make_bench([(), (0,)], undo={0: {}}, hooks={Hook.CANCEL: {}}).start()
    bench.complete(0)
    roll_back(bench)
    bench.unwind()
    for no in (2, 3):
        bench.report(no, Held(agent="bank", why="rate", until=bench.now + 50))
        assert (bench.state.state, bench.states()[no]) == (State.COMPENSATING, "waiting")
        bench.advance(50)
        assert bench.bodies == {no: (0, 1)}
        bench.complete(no)
    assert bench.state.state is State.ROLLED_BACK
    assert "step_compensation_held" in bench.events()
    assert "hook_held" in bench.events()


def test_a_rollback_goes_on_where_its_process_was_killed(make_bench: Make):
    """At every compensation, with the same attempt."""
    bench = make_bench(CHAIN, undo=EACH).start()
    bench.complete(0, 1, 2)
    roll_back(bench)
    for undo in (5, 4, 3):
        bench.take_up(died=True)
        assert bench.bodies == {undo: (0, 1)}
        bench.complete(undo)
    assert bench.state.state is State.ROLLED_BACK


def test_a_step_that_was_in_flight_when_the_process_died_is_not_run_again(make_bench: Make):
    """The intent to undo was durable before it was cut."""
    bench = make_bench([(), ()], undo={0: {}, 1: {}}).start()
    bench.complete(0)
    roll_back(bench)
    bench.take_up(died=True)
    assert (bench.states()[1], undone(bench)) == ("cancelled", [0])


def test_a_compensation_that_keeps_killing_its_process_is_found_out(make_bench: Make):
    """It counts as one that could not undo its step."""
    bench = make_bench([()], undo={0: {}}).start()
    bench.complete(0)
    roll_back(bench)
    for _ in range(CRASH_BUDGET):
        bench.take_up(died=True)
    assert bench.state.state is State.FAILED
    assert "CrashBudgetExceeded" in bench.state.error.message


def test_nothing_begins_while_the_runtime_closes(make_bench: Make):
    """The next owner goes on."""
    bench = make_bench(CHAIN, undo=EACH).start()
    bench.complete(0, 1, 2)
    roll_back(bench)
    bench.shut_down()
    bench.unwind()
    assert (bench.state.state, dict(bench.bodies)) == (State.COMPENSATING, {})
    bench.take_up()
    assert bench.bodies == {5: (0, 1)}


HOOKS: dict[Hook, dict[str, Any]] = {hook: {} for hook in Hook}
SUCCESS, FAILURE, CANCEL, FINALLY = 2, 3, 4, 5  # of a graph of one step with a compensation


def test_what_is_undone_because_it_failed_has_the_hook_of_a_failure(make_bench: Make):
    """Before `finally`, after the undoing."""
    bench = make_bench([(), (0,)], undo={0: {}}, hooks=HOOKS, **ON_FAILURE).start()
    bench.complete(0)
    bench.fail(1)
    bench.complete(2)
    assert bench.started == [0, 1, 2, FAILURE + 1]
    bench.complete(FAILURE + 1, FINALLY + 1)
    assert bench.state.state is State.ROLLED_BACK


def test_what_somebody_has_undone_has_the_hook_of_a_cancel(make_bench: Make):
    """Also when it had completed, with hooks of its own."""
    bench = make_bench([()], undo={0: {}}, hooks=HOOKS).start()
    bench.complete(0)
    bench.complete(SUCCESS, FINALLY)
    roll_back(bench)
    bench.complete(1)
    assert bench.state.state is State.COMPENSATING
    bench.take_up(died=True)
    bench.complete(CANCEL, FINALLY)
    assert bench.state.state is State.ROLLED_BACK
    assert bench.state.steps[FINALLY].lineage == 1


def test_a_rollback_cuts_a_hook_short(make_bench: Make):
    """The end it was for will not be."""
    bench = make_bench([()], undo={0: {}}, hooks=HOOKS).start()
    bench.complete(0)
    roll_back(bench)
    bench.unwind()
    assert bench.states()[SUCCESS] == "pending"
    bench.complete(1)
    bench.complete(CANCEL, FINALLY)
    assert bench.state.state is State.ROLLED_BACK


def test_a_hook_that_fails_while_it_is_cut_is_not_tried_again(make_bench: Make):
    """Nothing waits in what has ended."""
    bench = make_bench([()], undo={0: {}}, hooks={Hook.SUCCESS: LATER}).start()
    bench.complete(0)
    roll_back(bench)
    bench.fail(2)
    bench.complete(1)
    assert (bench.state.state, bench.states()[2]) == (State.ROLLED_BACK, "pending")


OUTCOMES = [
    pytest.param(lambda bench, no: bench.unwind(), id="cut"),
    pytest.param(lambda bench, no: bench.complete(no), id="completed"),
    pytest.param(lambda bench, no: bench.fail(no), id="failed"),
    pytest.param(lambda bench, no: bench.take_up(died=True), id="killed"),
]


@pytest.mark.parametrize("settle", OUTCOMES)
@pytest.mark.parametrize("hook", [CANCEL, FINALLY])
def test_a_hook_in_flight_for_an_end_that_a_rollback_overtakes_runs_for_the_end_that_comes(
    make_bench: Make, hook: int, settle: Callable[[Any, int], None]
):
    """Cancelled, then undone: whoever is to hear of the end hears of the one there is, however it raced."""
    bench = make_bench([()], undo={0: {}}, hooks=dict.fromkeys(HOOKS, LATER)).start()
    bench.complete(0)
    bench.complete(SUCCESS)
    bench.tell(Cancel(id=bench.id()))
    bench.unwind()
    if hook == FINALLY:
        bench.complete(CANCEL)
    assert list(bench.bodies) == [hook]
    roll_back(bench)
    settle(bench, hook)
    assert list(bench.bodies) == [1]
    bench.complete(1)
    assert list(bench.bodies) == [CANCEL]
    bench.complete(CANCEL)
    assert list(bench.bodies) == [FINALLY]
    bench.complete(FINALLY)
    assert bench.state.state is State.ROLLED_BACK


def test_a_rollback_that_failed_has_the_hook_of_a_failure(make_bench: Make):
    """Somebody has to look."""
    bench = make_bench([()], undo={0: {}}, hooks=HOOKS).start()
    bench.complete(0)
    bench.complete(SUCCESS, FINALLY)
    roll_back(bench)
    bench.fail(1)
    bench.complete(FAILURE, FINALLY)
    assert bench.state.state is State.FAILED


def test_a_cancel_after_all_is_undone_cuts_the_hook_and_leaves_the_error(make_bench: Make):
    """It was undone because it failed, and whoever is to hear of the end is to hear of that."""
    bench = make_bench([(), (0,)], undo={0: {}}, hooks=HOOKS, **ON_FAILURE).start()
    bench.complete(0)
    bench.fail(1)
    bench.complete(2)
    assert list(bench.bodies) == [FAILURE + 1]
    bench.tell(Cancel(id=bench.id()))
    bench.unwind()
    assert list(bench.bodies) == [FINALLY + 1]
    bench.complete(FINALLY + 1)
    assert bench.state.state is State.ROLLED_BACK
    assert bench.state.error.type == "StepFailed"
