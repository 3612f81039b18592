"""What a report, a moment or a new owner means to an execution."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from perdure.actors.decider import planner
from perdure.actors.instructions.plan import Demand, RetryPolicy, Scheduling
from perdure.actors.messages import (
    Cancel,
    Completed,
    Interrupt,
    Pause,
    PauseMode,
    PlanResume,
    Resume,
    StepReport,
)
from perdure.actors.state import code
from perdure.store.states import State, StepState

Make = Callable[..., Any]
TWICE = {"retry": RetryPolicy(max_retries=1, delay_ms=100, jitter=False)}


def pause(bench: Any, mode: PauseMode = PauseMode.DRAIN) -> Any:
    """Ask for a pause."""
    return bench.tell(Pause(id=bench.id(), mode=mode))


def test_a_start_is_one_transition_from_nothing_to_the_first_bodies(make_bench: Make):
    """Version 1 holds the start of the execution and of its first steps."""
    bench = make_bench([(), (), (0,)]).start()
    assert (bench.state.state, bench.state.version) == (State.EXECUTING, 1)
    assert bench.events() == ["workflow_started", "step_started", "step_started"]
    assert bench.bodies == {0: (0, 1), 1: (0, 1)}


def test_the_last_outcome_and_the_end_are_one_transition(make_bench: Make):
    """No crash can lie between them."""
    bench = make_bench([()]).start()
    bench.complete(0)
    assert (bench.state.state, bench.state.version) == (State.COMPLETED, 2)
    assert bench.rows.fields["finished_at"] == bench.now


def test_several_reports_may_share_one_turn(make_bench: Make):
    """Under load a commit carries many outcomes."""
    bench = make_bench([(), (), (0, 1)]).start()

    def both(turn: Any) -> None:
        for step_no in (0, 1):
            planner.take_report(turn, StepReport(step_no, 0, 1, Completed(b"1")))
            bench.bodies.pop(step_no)

    bench.do(both)
    assert bench.state.version == 2
    assert bench.bodies.keys() == {2}


@pytest.mark.parametrize(("generation", "attempt"), [(0, 2), (1, 1), (0, 0)])
def test_a_report_about_an_attempt_that_no_longer_counts_says_nothing(
    make_bench: Make, generation: int, attempt: int
):
    """Only the attempt that runs can end."""
    bench = make_bench([()]).start()
    report = StepReport(0, generation, attempt, Completed(b"1"))
    assert bench.do(lambda turn: planner.take_report(turn, report)).is_empty


def test_an_execution_whose_code_is_missing_starts_nothing_and_stays_claimable(make_bench: Make):
    """It is not failed, and not asleep either."""
    bench = make_bench([()], missing=("agent x",)).start()
    assert bench.state.state is State.SCHEDULING
    assert not bench.bodies
    assert planner.may_park(bench.turn, linger_ms=0, is_closing=False)


def test_code_that_cannot_be_called_is_missing_while_its_step_may_still_run(make_bench: Make):
    """The graph of what is being cancelled asks for nothing any more; what is beside it does."""
    demands = tuple(
        Demand(step_no=no, place=f"step s{no} of w 1", choices={"f": {"label": "text"}}) for no in range(2)
    )
    bench = make_bench([(), (0,)], demands=demands, asked=frozenset({"label"}), context={"item": 1}).start()
    assert (bench.state.state, bench.bodies) == (State.SCHEDULING, {})
    first, second = code.lacks(bench.state)
    assert first == "f as it was for step s0 of w 1 (the one here needs 'text', which nothing gives it there)"
    bench.state.steps[0].state = StepState.COMPLETED
    assert code.lacks(bench.state) == (second,)
    bench.state.state = State.CANCELLING
    assert code.lacks(bench.state) == ()


def test_when_a_required_step_fails_its_siblings_settle_and_nothing_new_starts(make_bench: Make):
    """Then the execution is failed, and says by which step."""
    bench = make_bench([(), (), (), (1,)], parallelism=2, scheduling=Scheduling.EAGER).start()
    bench.fail(0)
    assert bench.state.state is State.EXECUTING
    bench.complete(1)
    assert bench.states() == ["failed", "completed", "pending", "pending"]
    assert bench.state.state is State.FAILED
    assert bench.state.error.step == "s0"
    assert bench.events()[-1] == "workflow_failed"


def test_a_sibling_that_waits_for_its_retry_settles_too(make_bench: Make):
    """It had begun before the other failed."""
    bench = make_bench([(), ()], steps={1: TWICE}).start()
    bench.fail(1)
    bench.fail(0)
    assert bench.state.state is State.AWAITING_COMPLETION
    bench.advance(100)
    bench.complete(1)
    assert bench.states() == ["failed", "completed"]
    assert bench.state.state is State.FAILED


@pytest.mark.parametrize("interruption", ["crash", "pause"])
def test_a_sibling_that_was_interrupted_settles_too(make_bench: Make, interruption: str):
    """What is recorded in the end does not depend on who was interrupted when."""
    bench = make_bench([(), (), ()], parallelism=2).start()
    bench.fail(0)
    if interruption == "crash":
        bench.take_up(died=True)
    else:
        pause(bench, PauseMode.INTERRUPT)
        bench.unwind()
        bench.tell(Resume(id=bench.id()))
    assert bench.bodies.keys() == {1}
    bench.complete(1)
    assert bench.states() == ["failed", "completed", "pending"]
    assert bench.state.state is State.FAILED


def test_a_failed_attempt_is_followed_by_another_after_its_delay(make_bench: Make):
    """In between the execution waits, with a timer that wakes whoever owns it then."""
    bench = make_bench([()], steps={0: TWICE}).start()
    bench.fail(0)
    assert (bench.state.state, bench.states()) == (State.AWAITING_COMPLETION, ["waiting"])
    assert list(bench.rows.timers.values()) == [bench.now + 100]
    bench.advance(99)
    assert not bench.bodies
    bench.advance(1)
    assert bench.bodies == {0: (0, 2)}
    assert not bench.rows.timers


def test_the_last_attempt_decides(make_bench: Make):
    """One outcome, with the number of attempts that were made."""
    bench = make_bench([()], steps={0: TWICE}).start()
    bench.fail(0)
    bench.advance(100)
    bench.fail(0)
    assert bench.state.state is State.FAILED
    assert bench.state.error.attempt == 2
    assert [row.write.is_outcome for row in bench.rows.attempts.values()] == [False, True]


def test_a_step_that_waits_says_why_even_after_a_crash(make_bench: Make):
    """The error of the attempt before is shown until the next one starts."""
    bench = make_bench([()], steps={0: TWICE}).start()
    bench.fail(0)
    bench.take_up(died=True)
    assert bench.state.describe()["steps"]["s0"]["error"]["type"] == "ValueError"
    assert bench.state.describe()["waiting"] == ["s0"]


def test_a_due_retry_without_a_free_place_wakes_nobody_again(make_bench: Make):
    """It starts when a place gets free."""
    bench = make_bench([(), ()], parallelism=1, steps={0: TWICE}).start()
    bench.fail(0)
    assert bench.bodies.keys() == {1}
    bench.advance(500)
    assert planner.due_times(bench.state) == []
    bench.complete(1)
    assert bench.bodies.keys() == {0}


def test_an_execution_that_misses_its_deadline_stops_and_is_failed(make_bench: Make):
    """What runs is cancelled, what waits too; the error says what happened."""
    bench = make_bench([(), ()], timeout_ms=50, steps={1: TWICE}).start()
    bench.fail(1)
    bench.advance(50)
    assert bench.state.state is State.CANCELLING
    assert bench.interrupts == {0: Interrupt.DEADLINE}
    bench.unwind()
    assert bench.states() == ["cancelled", "cancelled"]
    assert bench.state.state is State.FAILED
    assert bench.state.error.type == "ExecutionTimeout"


def test_a_deadline_stands_still_while_paused(make_bench: Make):
    """The pause keeps what remains; resume makes it absolute again."""
    bench = make_bench([()], timeout_ms=1_000).start()
    bench.now += 300
    pause(bench, PauseMode.INTERRUPT)
    bench.unwind()
    assert bench.state.remaining_ms == 700
    bench.advance(10_000)
    bench.tell(Resume(id=bench.id()))
    assert bench.state.deadline_at == bench.now + 700


def test_pausing_counts_against_the_deadline(make_bench: Make):
    """A body that will not end cannot stop the clock."""
    bench = make_bench([()], timeout_ms=100).start()
    pause(bench)
    bench.advance(100)
    assert bench.state.state is State.CANCELLING


def test_a_deadline_that_passes_during_a_cancel_wakes_nobody(make_bench: Make):
    """The clock ended with the cancel."""
    bench = make_bench([()], timeout_ms=100).start()
    bench.tell(Cancel(id=bench.id()))
    bench.advance(200)
    assert planner.due_times(bench.state) == []
    bench.unwind()
    assert bench.state.state is State.CANCELLED


def test_an_interrupted_attempt_is_the_same_one_when_it_runs_again(make_bench: Make):
    """No attempt is used up and the idempotency key stays."""
    bench = make_bench([()]).start()
    pause(bench, PauseMode.INTERRUPT)
    bench.unwind()
    assert bench.states() == ["pending"]
    bench.tell(Resume(id=bench.id()))
    assert bench.bodies == {0: (0, 1)}
    assert bench.state.steps[0].lineage == 0


def test_a_result_that_races_with_an_interrupt_is_recorded(make_bench: Make):
    """Completion wins."""
    bench = make_bench([(), (0,)]).start()
    pause(bench, PauseMode.INTERRUPT)
    bench.complete(0)
    assert (bench.state.state, bench.states()) == (State.PAUSED, ["completed", "pending"])


def test_a_closing_runtime_starts_nothing_and_leaves_the_rest_to_the_next(make_bench: Make):
    """The state stays what it was; the next owner runs the same attempt."""
    bench = make_bench([(), (0,)]).start()
    bench.shut_down()
    bench.unwind()
    assert (bench.state.state, bench.states()) == (State.EXECUTING, ["pending", "pending"])
    assert planner.may_park(bench.turn, linger_ms=0, is_closing=True)
    bench.take_up()
    assert bench.bodies == {0: (0, 1)}


def test_the_end_that_comes_while_closing_is_written(make_bench: Make):
    """Nobody has to take it up again for that."""
    bench = make_bench([()]).start()
    bench.shut_down()
    bench.complete(0)
    assert bench.state.state is State.COMPLETED


def test_after_a_crash_recorded_steps_do_not_run_again_and_running_ones_do(make_bench: Make):
    """The same attempt, set back in the log."""
    bench = make_bench([(), (), (0,)]).start()
    bench.complete(0)
    bench.take_up(died=True)
    assert bench.bodies == {1: (0, 1)}
    assert bench.events()[-2:] == ["step_interrupted", "step_started"]


def test_a_queued_execution_begins_once_however_often_it_is_taken_up(make_bench: Make):
    """Its owner may die between the beginning and the first step."""
    bench = make_bench([()]).enqueue(remaining_ms=500)
    bench.take_up(launches=False)
    bench.now += 100
    bench.take_up(died=True)
    assert bench.events() == ["workflow_started", "step_started"]
    assert bench.state.deadline_at == bench.now + 400


@pytest.mark.parametrize("state", [State.PAUSED, State.COMPLETED])
def test_what_rests_stays_at_rest_when_it_is_taken_up(make_bench: Make, state: State):
    """Taking up asks for nothing."""
    bench = make_bench([(), (0,)]).start()
    if state is State.PAUSED:
        pause(bench)
    bench.complete(*(0, 1)[: 1 if state is State.PAUSED else 2])
    version = bench.state.version
    bench.take_up(died=True)
    assert (bench.state.state, bench.state.version) == (state, version)


@pytest.mark.parametrize(("command", "end"), [(Pause, State.PAUSED), (Cancel, State.CANCELLED)])
def test_a_crash_between_a_wish_and_its_fulfilment_comes_back_to_the_wish(
    make_bench: Make, command: Any, end: State
):
    """Bodies died with their process, so nothing is left to wait for."""
    bench = make_bench([(), (0,)]).start()
    bench.tell(command(id="c"))
    bench.take_up(died=True)
    assert bench.state.state is end
    assert not bench.bodies


def test_what_fell_due_while_nobody_looked_fires_when_it_is_taken_up(make_bench: Make):
    """Absolute times stay; the clock went on."""
    bench = make_bench([()], steps={0: TWICE}).start()
    bench.fail(0)
    bench.now += 5_000
    bench.take_up()
    assert bench.bodies == {0: (0, 2)}


def test_a_step_that_keeps_killing_its_process_is_found_out(make_bench: Make):
    """After two deaths it runs by itself, and the third one fails it."""
    bench = make_bench([(), (), ()]).start()
    bench.complete(1, 2)
    for _ in range(2):
        bench.take_up(died=True)
        assert bench.bodies.keys() == {0}
    bench.take_up(died=True)
    assert bench.state.state is State.FAILED
    assert bench.state.steps[0].error.type == "CrashBudgetExceeded"


def test_few_suspects_are_tried_one_after_the_other(make_bench: Make):
    """Only the one that kills when alone is convicted."""
    bench = make_bench([(), (), ()]).start()
    bench.complete(2)
    bench.take_up(died=True)
    bench.take_up(died=True)
    assert bench.bodies.keys() == {0}
    bench.complete(0)
    assert bench.bodies.keys() == {1}
    bench.take_up(died=True)
    assert bench.states() == ["completed", "failed", "completed"]


def test_the_time_of_a_trial_is_limited(make_bench: Make):
    """A long step that is innocent does not keep the others waiting."""
    bench = make_bench([(), (), ()]).start()
    bench.complete(2)
    for _ in range(2):
        bench.take_up(died=True)
    assert planner.due_times(bench.state) == [bench.now + 1_000]
    bench.advance(999)
    assert bench.bodies.keys() == {0}
    bench.advance(1)
    assert bench.bodies.keys() == {0, 1}
    bench.advance(1_000)
    assert planner.due_times(bench.state) == []


def test_what_has_not_begun_waits_for_the_trial(make_bench: Make):
    """A step that nobody suspects does not start beside those that are tried."""
    bench = make_bench([(), (), (0,)], scheduling=Scheduling.EAGER).start()
    for _ in range(2):
        bench.take_up(died=True)
    bench.complete(0)
    assert bench.bodies.keys() == {1}
    bench.advance(1_000)
    assert bench.bodies.keys() == {1, 2}


def test_many_suspects_are_tried_in_groups(make_bench: Make):
    """The ones that began last come first; a death counts for those in flight, who are tried next."""
    bench = make_bench([()] * 100).start()
    bench.take_up(died=True)
    bench.take_up(died=True)
    assert len(bench.bodies) == 13
    bench.advance(1_000)
    last = bench.bodies.keys() - set(range(13))
    assert len(last) == 13
    bench.take_up(died=True)
    assert {run.deaths for run in bench.state.steps} == {2, 3}
    assert len(bench.bodies) == 4  # of the 26 that were in flight
    assert bench.bodies.keys() < last


def test_a_death_beside_other_executions_convicts_nobody(make_bench: Make):
    """It is only proof when nothing else was in flight in the process."""
    bench = make_bench([()]).start()
    bench.is_alone = False
    for _ in range(5):
        bench.take_up(died=True)
    assert bench.bodies.keys() == {0}
    bench.complete(0)
    assert bench.state.state is State.COMPLETED


def test_who_was_tried_alone_and_has_neighbours_again_is_not_convicted(make_bench: Make):
    """What counts is what was in flight when the process died, not when the step began."""
    bench = make_bench([(), ()]).start()
    for _ in range(2):
        bench.take_up(died=True)
    bench.advance(1_000)
    assert bench.bodies.keys() == {0, 1}
    bench.take_up(died=True)
    assert "failed" not in bench.states()


def test_handing_over_in_peace_counts_no_death(make_bench: Make):
    """Deploys do not trip the budget."""
    bench = make_bench([()]).start()
    for _ in range(5):
        bench.take_up(died=False)
    assert bench.state.steps[0].deaths == 0


def test_a_failed_attempt_does_not_wash_deaths_away(make_bench: Make):
    """Only the step's outcome does."""
    bench = make_bench([()], steps={0: TWICE}).start()
    bench.take_up(died=True)
    bench.fail(0)
    bench.advance(100)
    bench.take_up(died=True)
    assert bench.state.steps[0].deaths == 2


def test_the_moment_to_go_on_wakes_nobody_before_the_execution_rests(make_bench: Make):
    """It means nothing until then; to be woken for it again and again would keep the loop from all else."""
    bench = make_bench([(), (0,)]).start()
    pause(bench)
    bench.tell(PlanResume(id=bench.id(), at_ms=bench.now + 5))
    bench.advance(10)
    assert (bench.state.state, planner.due_times(bench.state)) == (State.PAUSING, [])
    bench.complete(0)
    assert (bench.state.state, planner.due_times(bench.state)) == (State.PAUSED, [bench.now - 5])
