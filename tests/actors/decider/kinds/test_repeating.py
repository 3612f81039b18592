"""Steps that are performed again and again: generations, conditions, delays, and what cuts them off."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.actors.instructions.plan import DependenciesPolicy, Repeat, RetryPolicy, Scheduling
from perdure.actors.messages import Cancel, Completed, Pause, Restore, Resume, Retry, TakeCheckpoint
from perdure.actors.state.execution import ExecutionState
from perdure.store.states import State

Make = Callable[..., Any]
BOTH = [{}, {"scheduling": Scheduling.EAGER}]


def again(goes_on: Callable[..., Any] | None = None, *, most: int = 5, **options: Any) -> dict[str, Any]:
    """The options of a step that is performed while its output is below 3."""
    return {
        "repeat": Repeat(
            goes_on=goes_on or (lambda _values, output, _no: output < 3), max_iterations=most, **options
        )
    }


def give(bench: Any, *outputs: int, step_no: int = 0) -> None:
    """The body of a step returns these, iteration by iteration."""
    for output in outputs:
        bench.report(step_no, Completed(str(output).encode()))


@pytest.mark.parametrize("options", BOTH)
def test_a_step_is_performed_until_its_condition_says_so(make_bench: Make, options: dict[str, Any]):
    """The output is the last one, and nothing that depends on it starts before."""
    bench = make_bench([(), (0,)], steps={0: again()}, **options).start()
    give(bench, 1, 2)
    assert bench.states() == ["running", "pending"]
    assert bench.started == [0, 0, 0]
    give(bench, 3)
    assert bench.states() == ["completed", "running"]
    assert bench.state.output(0) == 3
    assert bench.events().count("step_repeated") == 2
    assert bench.events().count("step_completed") == 1
    bench.complete(1)
    assert bench.state.state is State.COMPLETED
    assert bench.state.payload_bytes == len(b"3") + len(b'"done"')


def test_the_condition_is_told_the_output_and_the_number_of_the_iteration(make_bench: Make):
    """Numbers begin with 1."""
    seen: list[Any] = []

    def goes_on(values: Any, output: Any, iteration: int) -> bool:
        seen.append((values.context["a"], output, iteration))
        return iteration < 2

    bench = make_bench([()], steps={0: again(goes_on)}, context={"a": 7}).start()
    give(bench, 10, 20)
    assert seen == [(7, 10, 1), (7, 20, 2)]


@pytest.mark.parametrize("fails", [True, False])
def test_after_the_last_iteration_the_step_fails_or_takes_what_it_has(make_bench: Make, fails: bool):  # noqa: FBT001
    """As it was declared."""
    steps = {0: again(most=2, fails_when_exhausted=fails)}
    bench = make_bench([()], steps=steps).start()
    give(bench, 1, 2)
    if fails:
        assert bench.states() == ["failed"]
        assert bench.state.steps[0].error.type == "RepeatExhausted"
        assert "was to go on after 2 iterations" in bench.state.error.message
    else:
        assert bench.states() == ["completed"]
        assert bench.state.output(0) == 2


def test_a_condition_is_not_asked_again_after_a_step_that_may_not_go_on(make_bench: Make):
    """One iteration is a loop, too."""
    bench = make_bench([()], steps={0: again(most=1, fails_when_exhausted=False)}).start()
    give(bench, 0)
    assert bench.state.state is State.COMPLETED


@pytest.mark.parametrize("answer", [None, 1, "true", KeyError("x"), SystemExit(1)])
def test_a_condition_without_an_answer_fails_the_step(make_bench: Make, answer: Any):
    """It neither ends the loop nor prolongs it."""

    def goes_on(_values: Any, _output: Any, _iteration: int) -> Any:
        if isinstance(answer, BaseException):
            raise answer
        return answer

    bench = make_bench([(), (0,)], steps={0: again(goes_on)}).start()
    give(bench, 1)
    assert bench.states() == ["failed", "pending"]
    assert "the repeat condition of step 's0' could not be evaluated" in bench.state.error.message


def test_between_two_iterations_a_row_waits_and_nothing_is_hot(make_bench: Make):
    """It is woken when the delay is over, also by another owner."""
    bench = make_bench([(), (0,)], steps={0: again(delay_ms=60_000)}).start()
    give(bench, 1)
    assert (bench.states()[0], bench.state.state) == ("waiting", State.AWAITING_COMPLETION)
    bench.take_up()
    bench.advance(59_999)
    assert bench.bodies == {}
    bench.advance(1)
    assert bench.state.steps[0].iteration == 2
    give(bench, 5)
    assert bench.states() == ["completed", "running"]


def test_the_fold_knows_the_iteration_and_what_the_one_before_gave(make_bench: Make):
    """Both are counted from the rows."""
    bench = make_bench([()], steps={0: again()}).start()
    give(bench, 1, 2)
    folded = ExecutionState.fold(bench.plan, bench.rows.loaded()).steps[0]
    assert (folded.iteration, folded.previous) == (3, b"2")
    assert (bench.state.steps[0].iteration, bench.state.steps[0].previous) == (3, b"2")


def test_each_iteration_has_the_retries_of_the_step(make_bench: Make):
    """And a retry is the same iteration."""
    steps = {0: again() | {"retry": RetryPolicy(max_retries=1, delay_ms=0)}}
    bench = make_bench([()], steps=steps).start()
    for output in (1, 2):
        bench.fail(0)
        give(bench, output)
    bench.fail(0)
    assert bench.state.steps[0].iteration == 3
    bench.fail(0)
    assert bench.state.state is State.FAILED


def test_a_crash_repeats_the_iteration_that_was_cut_off(make_bench: Make):
    """With the attempt it had, and its condition unasked."""
    bench = make_bench([()], steps={0: again()}).start()
    give(bench, 1)
    bench.take_up(died=True)
    assert bench.bodies == {0: (1, 1)}
    assert bench.state.steps[0].iteration == 2
    give(bench, 3)
    assert bench.state.state is State.COMPLETED


def test_a_condition_of_the_step_itself_is_asked_once_for_the_whole_loop(make_bench: Make):
    """Before the first iteration."""
    asked: list[int] = []
    steps = {0: again() | {"when": lambda _values: asked.append(1) or True}}
    bench = make_bench([()], steps=steps).start()
    give(bench, 1)
    bench.take_up(died=True)
    give(bench, 2, 3)
    assert asked == [1]


def test_a_pause_comes_between_two_iterations_and_the_resume_goes_on(make_bench: Make):
    """The one in flight counts."""
    bench = make_bench([()], steps={0: again()}).start()
    bench.tell(Pause(id="p"))
    give(bench, 1)
    assert (bench.state.state, bench.states()) == (State.PAUSED, ["waiting"])
    bench.take_up()
    bench.tell(Resume(id="r"))
    assert bench.state.steps[0].iteration == 2
    give(bench, 3)
    assert bench.state.state is State.COMPLETED


@pytest.mark.parametrize("delay_ms", [0, 60_000])
def test_a_cancel_ends_the_loop_and_a_retry_goes_on_with_the_next_iteration(make_bench: Make, delay_ms: int):
    """The outcome of the iteration that raced with it is kept."""
    bench = make_bench([(), (0,)], steps={0: again(delay_ms=delay_ms)}).start()
    bench.tell(Cancel(id="c"))
    give(bench, 1)
    assert (bench.state.state, bench.states()) == (State.CANCELLED, ["cancelled", "pending"])
    bench.tell(Retry(id="r"))
    assert bench.state.steps[0].iteration == 2
    give(bench, 3)
    assert bench.states() == ["completed", "running"]


def test_a_cancel_during_the_delay_ends_the_loop_at_once(make_bench: Make):
    """Nothing runs that could be waited for."""
    bench = make_bench([()], steps={0: again(delay_ms=60_000)}).start()
    give(bench, 1)
    bench.tell(Cancel(id="c"))
    assert (bench.state.state, bench.states()) == (State.CANCELLED, ["cancelled"])


@pytest.mark.parametrize("options", BOTH)
@pytest.mark.parametrize("delay_ms", [0, 60_000])
def test_nothing_is_repeated_once_a_required_step_has_failed(
    make_bench: Make, options: dict[str, Any], delay_ms: int
):
    """The iteration in flight ends, and the execution with it; a retry goes on."""
    bench = make_bench([(), ()], steps={0: again(delay_ms=delay_ms)}, **options).start()
    bench.fail(1)
    give(bench, 1)
    assert (bench.state.state, bench.states()) == (State.FAILED, ["cancelled", "failed"])
    bench.tell(Retry(id="r"))
    give(bench, 3)
    bench.complete(1)
    assert bench.state.state is State.COMPLETED


def test_a_step_that_waits_to_be_repeated_is_called_off_by_the_failure_of_another(make_bench: Make):
    """Nobody is kept waiting for a delay that leads nowhere."""
    bench = make_bench([(), ()], steps={0: again(delay_ms=60_000)}).start()
    give(bench, 1)
    bench.fail(1)
    assert (bench.state.state, bench.states()) == (State.FAILED, ["cancelled", "failed"])


def test_a_step_whose_turn_has_not_come_is_called_off_as_well(make_bench: Make):
    """It was ready for its next iteration, and there was no room."""
    bench = make_bench([(), (), ()], steps={0: again()}, parallelism=2).start()
    give(bench, 1)
    assert bench.bodies.keys() == {1, 2}
    bench.fail(1)
    assert bench.states() == ["cancelled", "failed", "running"]
    bench.complete(2)
    assert bench.state.state is State.FAILED


def test_a_retry_repeats_the_iteration_that_failed_and_none_before_it(make_bench: Make):
    """What was recorded is not done again."""
    bench = make_bench([()], steps={0: again()}).start()
    give(bench, 1)
    bench.fail(0)
    bench.tell(Retry(id="r"))
    assert bench.state.steps[0].iteration == 2
    assert bench.state.steps[0].previous == b"1"
    give(bench, 3)
    assert bench.state.state is State.COMPLETED


def test_a_retry_with_downstream_begins_a_loop_anew_that_stands_on_what_runs_again(make_bench: Make):
    """Its iterations were made of another output; what stands on nothing that runs again keeps its keys."""
    loop = again() | {"dependencies": DependenciesPolicy.ALL_DONE}
    bench = make_bench([(), (0,)], continue_on_error=True, steps={1: loop}).start()
    bench.fail(0)
    give(bench, 1, step_no=1)
    bench.fail(1)
    assert (bench.state.steps[1].iteration, bench.state.steps[1].previous) == (2, b"1")
    bench.tell(Retry(id="r", with_downstream=True))
    assert [run.lineage for run in bench.state.steps] == [0, 1]
    assert (bench.state.steps[1].iteration, bench.state.steps[1].previous) == (1, None)


def test_a_restore_into_a_loop_begins_it_anew(make_bench: Make):
    """With other idempotency keys: it is another lineage."""
    bench = make_bench([()], steps={0: again()}).start()
    give(bench, 1)
    bench.tell(TakeCheckpoint(id="t", label="here"))
    version = max(bench.rows.checkpoints)
    give(bench, 2)
    bench.fail(0)
    bench.tell(Restore(id="b", checkpoint=version))
    bench.tell(Resume(id="r"))
    run = bench.state.steps[0]
    assert (run.iteration, run.previous, run.lineage) == (1, None, 1)
    give(bench, 3)
    assert bench.state.state is State.COMPLETED


MOVES = st.lists(st.sampled_from(["give", "give", "fail", "crash", "pause", "resume", "wait"]), max_size=30)


@given(moves=MOVES, delay_ms=st.sampled_from([0, 500]), eager=st.booleans())
@settings(deadline=None, max_examples=100)
def test_whatever_happens_each_iteration_completes_once_and_in_order(
    make_bench: Make,
    moves: list[str],
    delay_ms: int,
    eager: bool,  # noqa: FBT001
):
    """The outcomes of the loop are 1, 2, 3, … and the last of them is the output."""
    options = {"scheduling": Scheduling.EAGER} if eager else {}
    loop = again(lambda _values, output, _no: output < 4, delay_ms=delay_ms)
    steps = {0: loop | {"retry": RetryPolicy(max_retries=100, delay_ms=0)}}
    bench = make_bench([(), (0,)], steps=steps, **options).start()
    given_: list[int] = []
    for move in [*moves, "resume", *["wait", "give"] * 5]:
        if move == "crash":
            bench.take_up()
        elif move == "wait":
            bench.advance(1_000)
        elif move == "pause" and bench.state.state is not State.PAUSED:
            bench.tell(Pause(id=bench.id()))
        elif move == "resume" and bench.state.state in {State.PAUSED, State.PAUSING}:
            bench.tell(Resume(id=bench.id()))
        elif move == "fail" and 0 in bench.bodies:
            bench.fail(0)
        elif move == "give" and 0 in bench.bodies:
            assert bench.state.steps[0].iteration == len(given_) + 1
            given_.append(len(given_) + 1)
            give(bench, given_[-1])
    assert given_ == [1, 2, 3, 4]
    assert bench.states() == ["completed", "running"]
    assert bench.state.output(0) == 4
