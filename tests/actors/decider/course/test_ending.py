"""Hooks: one after another when the graph has come to its end, in whatever state and order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from perdure.actors.decider import planner
from perdure.actors.decider.course import ending
from perdure.actors.instructions.plan import Hook, RetryPolicy, Scheduling
from perdure.actors.messages import Cancel, Pause, PauseMode, Restore, Resume, Retry, Rollback, TakeCheckpoint
from perdure.actors.state.trial import CRASH_BUDGET
from perdure.store.states import State

Make = Callable[..., Any]
ALL: dict[Hook, dict[str, Any]] = {hook: {} for hook in Hook}
SUCCESS, FAILURE, CANCEL, FINALLY = 1, 2, 3, 4  # the numbers of the hooks of a graph of one step
LATER = {"retry": RetryPolicy(max_retries=1, delay_ms=100, jitter=False)}
BOTH = [{}, {"scheduling": Scheduling.EAGER}]
ENDS = [(State.COMPLETED, SUCCESS), (State.FAILED, FAILURE), (State.CANCELLED, CANCEL)]


def finish(bench: Any, end: State) -> None:
    """Bring the graph of one step to that end."""
    if end is State.COMPLETED:
        bench.complete(0)
    elif end is State.FAILED:
        bench.fail(0)
    else:
        bench.tell(Cancel(id=bench.id()))
        bench.unwind()


@pytest.mark.parametrize("options", BOTH)
@pytest.mark.parametrize(("end", "hook"), ENDS)
def test_the_hook_of_an_end_runs_before_it_is_written_and_finally_after_that_hook(
    make_bench: Make, end: State, hook: int, options: dict[str, Any]
):
    """The end is one commit, after the last of them; the hooks of other ends never run."""
    bench = make_bench([()], hooks=ALL, **options).start()
    finish(bench, end)
    assert list(bench.bodies) == [hook]
    assert bench.state.state is (State.CANCELLING if end is State.CANCELLED else State.EXECUTING)
    bench.complete(hook)
    assert list(bench.bodies) == [FINALLY]
    bench.complete(FINALLY)
    assert bench.state.state is end
    assert bench.started == [0, hook, FINALLY]
    assert bench.events()[-2:] == ["hook_completed", f"workflow_{end}"]


@pytest.mark.parametrize(("end", "hook"), ENDS)
def test_a_hook_that_fails_changes_nothing_of_the_end_and_is_told(make_bench: Make, end: State, hook: int):
    """Neither does it keep `finally` from running."""
    bench = make_bench([()], hooks=ALL).start()
    finish(bench, end)
    bench.fail(hook)
    bench.complete(FINALLY)
    assert bench.state.state is end
    assert {name: error.type for name, error in ending.errors_of(bench.state).items()} == {
        list(Hook)[hook - 1]: "ValueError"
    }
    assert "hook_failed" in bench.events()


def test_hooks_are_no_part_of_the_graph(make_bench: Make):
    """Neither of its outputs nor of what is counted."""
    bench = make_bench([()], hooks=ALL).start()
    bench.complete(0)
    bench.complete(SUCCESS, output=b'"told"')
    bench.complete(FINALLY)
    assert bench.state.outputs() == {"s0": "done"}
    assert (bench.state.settled, bench.state.completed) == (1, 1)
    described = bench.state.describe()
    assert list(described["steps"]) == ["s0"]
    assert described["hooks"]["hooks.onSuccess"]["state"] == "completed"
    assert described["hooks"]["hooks.onFailure"]["state"] == "pending"


@pytest.mark.parametrize(("end", "hook"), ENDS)
def test_a_hook_is_retried_by_its_own_policy(make_bench: Make, end: State, hook: int):
    """What only waits for that is a row with a timer, unless the execution is being stopped."""
    bench = make_bench([()], hooks={Hook(key): LATER for key in ALL}).start()
    finish(bench, end)
    bench.fail(hook)
    is_stopped = end is State.CANCELLED
    assert bench.state.state is (State.CANCELLING if is_stopped else State.AWAITING_COMPLETION)
    assert bench.rows.timers == {("retry", hook): bench.now + 100}
    assert planner.may_park(bench.turn, linger_ms=10, is_closing=False) is not is_stopped
    bench.take_up()
    assert not bench.bodies
    bench.advance(100)
    assert list(bench.bodies) == [hook]
    bench.complete(hook, FINALLY)
    assert bench.state.state is end


@pytest.mark.parametrize(("end", "hook"), ENDS)
def test_a_hook_that_was_killed_runs_again_with_the_same_attempt(make_bench: Make, end: State, hook: int):
    """And the execution comes to the same end."""
    bench = make_bench([()], hooks=ALL).start()
    finish(bench, end)
    bench.take_up(died=True)
    assert bench.bodies == {hook: (0, 1)}
    bench.complete(hook)
    bench.take_up(died=True)
    assert bench.bodies == {FINALLY: (0, 1)}
    bench.complete(FINALLY)
    assert bench.state.state is end


def test_a_hook_that_keeps_killing_its_process_is_found_out(make_bench: Make):
    """It fails; the execution comes to its end."""
    bench = make_bench([()], hooks={Hook.SUCCESS: {}}).start()
    bench.complete(0)
    for _ in range(CRASH_BUDGET):
        bench.take_up(died=True)
    assert bench.state.state is State.COMPLETED
    assert ending.errors_of(bench.state)["onSuccess"].type == "CrashBudgetExceeded"


def test_nothing_begins_while_the_runtime_closes_and_the_next_owner_goes_on(make_bench: Make):
    """A body that ends then leaves the hook to others."""
    bench = make_bench([()], hooks=ALL).start()
    bench.is_closing = True
    bench.complete(0)
    assert (bench.state.state, dict(bench.bodies)) == (State.EXECUTING, {})
    bench.take_up()
    assert list(bench.bodies) == [SUCCESS]
    bench.shut_down()
    bench.unwind()
    assert bench.states()[SUCCESS] == "pending"
    bench.take_up()
    assert bench.bodies == {SUCCESS: (0, 1)}


@pytest.mark.parametrize("mode", PauseMode)
def test_a_pause_while_a_hook_runs_rests_before_the_end(make_bench: Make, mode: PauseMode):
    """What is in flight finishes or is cut, nothing new starts, and a resume goes on with it."""
    bench = make_bench([()], hooks=ALL).start()
    bench.complete(0)
    assert bench.tell(Pause(id=bench.id(), mode=mode)) is None
    if mode is PauseMode.DRAIN:
        bench.complete(SUCCESS)
    else:
        bench.unwind()
    assert bench.state.state is State.PAUSED
    bench.take_up(died=True)
    bench.tell(Resume(id=bench.id()))
    bench.complete(*bench.bodies)
    bench.complete(*bench.bodies)
    assert bench.state.state is State.COMPLETED
    assert bench.started.count(SUCCESS) == (1 if mode is PauseMode.DRAIN else 2)


def test_a_pause_that_drains_the_last_hook_is_overtaken_by_the_end(make_bench: Make):
    """As one that drains the last step of a workflow without hooks."""
    bench = make_bench([()], hooks={Hook.FINALLY: {}}).start()
    bench.complete(0)
    bench.tell(Pause(id=bench.id()))
    bench.complete(1)
    assert bench.state.state is State.COMPLETED


def test_a_hook_in_flight_is_none_the_wiser_for_a_pause_that_is_called_off(make_bench: Make):
    """It is tried again as it would have been, under its key, and runs once."""
    bench = make_bench([()], hooks={Hook.FINALLY: LATER}).start()
    bench.complete(0)
    bench.tell(Pause(id=bench.id()))
    bench.tell(Resume(id=bench.id()))
    bench.fail(1)
    bench.advance(100)
    assert bench.bodies == {1: (0, 2)}
    bench.tell(Pause(id=bench.id()))
    bench.tell(Resume(id=bench.id()))
    bench.complete(1)
    assert bench.state.state is State.COMPLETED


def test_a_pause_that_drains_the_last_step_rests_before_its_hooks(make_bench: Make):
    """Hooks are something new."""
    bench = make_bench([()], hooks={Hook.FINALLY: {}}).start()
    bench.tell(Pause(id=bench.id()))
    bench.complete(0)
    assert bench.state.state is State.PAUSED
    bench.tell(Resume(id=bench.id()))
    assert list(bench.bodies) == [1]


def test_what_is_cancelled_while_a_hook_runs_is_cancelled_and_has_the_hooks_of_that(make_bench: Make):
    """It had not ended yet; the hook in flight is cut short."""
    bench = make_bench([()], hooks=ALL).start()
    bench.complete(0)
    bench.tell(Cancel(id=bench.id()))
    assert SUCCESS in bench.interrupts
    bench.unwind()
    assert bench.states()[SUCCESS] == "pending"
    assert "hook_cancelled" in bench.events()
    assert list(bench.bodies) == [CANCEL]
    bench.complete(CANCEL, FINALLY)
    assert bench.state.state is State.CANCELLED


OUTCOMES = [
    pytest.param(lambda bench, no: bench.unwind(), id="cut"),
    pytest.param(lambda bench, no: bench.complete(no), id="completed"),
    pytest.param(lambda bench, no: bench.fail(no), id="failed"),
]


@pytest.mark.parametrize("settle", OUTCOMES)
def test_finally_runs_last_however_it_came_out_for_the_end_that_was_overtaken(
    make_bench: Make, settle: Callable[[Any, int], None]
):
    """What it did then it did before the hook of the end that came; no attempt waits for its time."""
    bench = make_bench([()], hooks={Hook(key): LATER for key in ALL}).start()
    bench.complete(0)
    bench.complete(SUCCESS)
    bench.tell(Cancel(id=bench.id()))
    settle(bench, FINALLY)
    assert list(bench.bodies) == [CANCEL]
    bench.complete(CANCEL)
    assert bench.bodies == {FINALLY: (1, 1)}
    bench.complete(FINALLY)
    assert bench.state.state is State.CANCELLED


@pytest.mark.parametrize("is_taken_up", [False, True])
def test_another_cancel_ends_a_wait_for_good_also_of_what_was_taken_up_since(
    make_bench: Make,
    is_taken_up: bool,  # noqa: FBT001
):
    """It is the same end that comes."""
    bench = make_bench([()], hooks={Hook.FINALLY: LATER}).start()
    finish(bench, State.CANCELLED)
    bench.fail(1)
    if is_taken_up:
        bench.take_up(launches=False)
    bench.tell(Cancel(id="second"))
    assert (bench.state.state, bench.states()[1]) == (State.CANCELLED, "cancelled")


def test_finally_runs_also_when_it_was_cut_short_because_another_end_came(make_bench: Make):
    """As the last of all, under a new key; a second cancel ends it for good."""
    bench = make_bench([()], hooks=ALL).start()
    bench.complete(0)
    bench.complete(SUCCESS)
    bench.tell(Cancel(id=bench.id()))
    bench.unwind()
    bench.complete(CANCEL)
    assert bench.bodies == {FINALLY: (1, 1)}
    assert bench.state.steps[FINALLY].lineage == 1
    bench.tell(Cancel(id=bench.id()))
    bench.unwind()
    assert (bench.state.state, bench.states()[FINALLY]) == (State.CANCELLED, "cancelled")


def test_another_cancel_cuts_a_hook_short_and_the_same_cancel_twice_does_not(make_bench: Make):
    """A hook that hangs keeps nobody."""
    bench = make_bench([()], hooks=ALL).start()
    first = Cancel(id="first")
    bench.tell(first)
    bench.unwind()
    bench.tell(first)
    assert not bench.interrupts
    bench.tell(Cancel(id="second"))
    bench.unwind()
    assert bench.states()[CANCEL] == "cancelled"
    bench.fail(FINALLY)
    assert bench.state.state is State.CANCELLED
    assert bench.events().count("cancel_requested") == 2
    assert not bench.waiters


def test_another_cancel_ends_the_wait_of_a_hook_for_its_next_attempt(make_bench: Make):
    """Its timer goes, too."""
    bench = make_bench([()], hooks={Hook.CANCEL: LATER}).start()
    finish(bench, State.CANCELLED)
    bench.fail(1)
    assert bench.states()[1] == "waiting"
    bench.tell(Cancel(id="second"))
    assert (bench.state.state, bench.states()[1], bench.rows.timers) == (State.CANCELLED, "cancelled", {})


def test_the_deadline_does_not_count_once_the_graph_has_ended(make_bench: Make):
    """A hook never turns a success into a failure."""
    bench = make_bench([()], hooks=ALL, timeout_ms=50).start()
    bench.complete(0)
    assert bench.rows.timers == {}
    bench.advance(100)
    bench.complete(SUCCESS, FINALLY)
    assert bench.state.state is State.COMPLETED


def test_what_missed_its_deadline_has_the_hooks_of_a_failure(make_bench: Make):
    """It is one."""
    bench = make_bench([()], hooks=ALL, timeout_ms=50).start()
    bench.advance(50)
    bench.unwind()
    assert list(bench.bodies) == [FAILURE]
    bench.complete(FAILURE, FINALLY)
    assert bench.state.state is State.FAILED


def test_a_cancel_after_the_deadline_cuts_the_hook_short_and_changes_nothing_of_the_end(make_bench: Make):
    """The deadline has stopped it first: it is another stop, not another end."""
    bench = make_bench([()], hooks=ALL, timeout_ms=50).start()
    bench.advance(50)
    bench.unwind()
    bench.tell(Cancel(id=bench.id()))
    bench.unwind()
    assert bench.states()[FAILURE] == "cancelled"
    assert list(bench.bodies) == [FINALLY]
    bench.complete(FINALLY)
    assert (bench.state.state, bench.states()[CANCEL]) == (State.FAILED, "pending")
    assert bench.state.error is not None
    assert bench.state.error.type == "ExecutionTimeout"


def test_what_is_opened_again_has_its_hooks_run_again_at_the_next_end_under_new_keys(make_bench: Make):
    """Another end is another occasion."""
    bench = make_bench([()], hooks=ALL).start()
    bench.fail(0)
    bench.complete(FAILURE, FINALLY)
    bench.tell(Retry(id=bench.id()))
    assert list(bench.bodies) == [0]
    bench.complete(0)
    bench.complete(SUCCESS, FINALLY)
    assert bench.state.state is State.COMPLETED
    runs = bench.state.steps
    assert [(runs[no].generation, runs[no].lineage) for no in (0, SUCCESS, FINALLY)] == [
        (1, 0),
        (0, 0),
        (1, 1),
    ]


def test_a_checkpoint_before_the_end_is_also_one_before_its_hooks(make_bench: Make):
    """Restored, they run again."""
    bench = make_bench([(), (0,)], hooks={Hook.FAILURE: {}}).start()
    bench.tell(TakeCheckpoint(id=bench.id()))
    version = bench.state.version
    bench.fail(0)
    bench.complete(2)
    bench.tell(Restore(id=bench.id(), checkpoint=version))
    bench.tell(Resume(id=bench.id()))
    assert bench.states() == ["running", "pending", "pending"]


def test_a_thread_that_lingers_after_its_time_is_waited_for_before_the_next_attempt(make_bench: Make):
    """No two run beside each other."""
    own = {"retry": RetryPolicy(max_retries=1, delay_ms=0)}
    bench = make_bench([()], hooks={Hook.SUCCESS: own}).start()
    bench.complete(0)
    bench.fail(1, lingers=True)
    assert not bench.bodies
    bench.end_thread(1)
    assert bench.bodies == {1: (0, 2)}


def test_a_workflow_whose_steps_are_all_skipped_has_its_hooks(make_bench: Make):
    """They start in the very change that starts it."""
    no = {"when": lambda _values: False}
    bench = make_bench([()], steps={0: no}, hooks={Hook.SUCCESS: {}}).start()
    assert (bench.state.version, list(bench.bodies)) == (1, [1])


def test_what_has_nothing_to_undo_cannot_be_rolled_back_after_its_end(make_bench: Make):
    """Its hooks are not run for nothing."""
    bench = make_bench([()], hooks=ALL).start()
    bench.complete(0)
    bench.complete(SUCCESS, FINALLY)
    refusal = bench.tell(Rollback(id=bench.id()))
    assert "nothing that it has completed itself has a compensation" in str(refusal)


@pytest.mark.parametrize("is_taken_up", [False, True])
def test_a_hook_that_a_pause_has_cut_runs_anew_for_another_end(make_bench: Make, *, is_taken_up: bool):
    """What it did so far was for the end that did not come."""
    bench = make_bench([()], hooks={Hook.FINALLY: {}}).start()
    bench.complete(0)
    bench.tell(Pause(id=bench.id(), mode=PauseMode.INTERRUPT))
    bench.unwind()
    assert bench.state.state is State.PAUSED
    if is_taken_up:
        bench.take_up()
    bench.tell(Cancel(id=bench.id()))
    assert (list(bench.bodies), bench.state.steps[1].lineage) == ([1], 1)
    bench.complete(1)
    assert bench.state.state is State.CANCELLED
