"""What is run again, and what stays: by a retry, a restore, a fork."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.actors.decider.reopening import downstream, shared, step_named
from perdure.actors.instructions.plan import DependenciesPolicy, ForEach, RetryPolicy, Scheduling
from perdure.actors.messages import (
    Answer,
    Cancel,
    Pause,
    PauseMode,
    Restore,
    Resume,
    Retry,
    Rollback,
    TakeCheckpoint,
    UpdateContext,
)
from perdure.store.errors import IllegalTransition, NotFound
from perdure.store.records import Attempt
from perdure.store.states import State, StepState

Make = Callable[..., Any]
RETRY = {"retry": RetryPolicy(max_retries=1, delay_ms=100, jitter=False)}
DIAMOND = [(), (0,), (0,), (1, 2), ()]


def outcome(step_no: int, state: StepState = StepState.COMPLETED) -> Attempt:
    """A settled step."""
    return Attempt(
        step_no=step_no,
        step=f"s{step_no}",
        generation=0,
        attempt=1,
        lineage=0,
        state=state,
        is_outcome=True,
        settled_version=2,
        started_at=None,
        finished_at=None,
        due_at=None,
        deaths=0,
        alone=False,
        output=None,
        error=None,
    )


def failed_diamond(make_bench: Make) -> Any:
    """All but the last of the diamond completed."""
    bench = make_bench(DIAMOND, context={"a": 1}).start()
    bench.complete(0, 4, 1, 2)
    bench.fail(3)
    assert bench.state.state is State.FAILED
    bench.started.clear()
    return bench


def test_downstream_of_a_step_is_all_that_depends_on_it(make_plan: Make):
    """Directly or not, itself among it."""
    plan = make_plan(DIAMOND)
    assert downstream(plan, [1]) == {1, 3}
    assert downstream(plan, [0]) == {0, 1, 2, 3}
    assert downstream(plan, [3, 4]) == {3, 4}
    assert downstream(plan, []) == set()


def test_a_step_is_found_by_its_key(make_plan: Make):
    """Another name is refused, naming what there is."""
    plan = make_plan([(), (0,)])
    assert step_named(plan, "s1") == 1
    refusal = step_named(plan, "s9")
    assert isinstance(refusal, NotFound)
    assert "s0, s1" in str(refusal)


@given(data=st.data())
def test_what_is_shared_rests_on_shared_outcomes_only(make_plan: Make, data: st.DataObject):
    """Whatever graph and whatever ends: no failure, no cancelled step, nothing above one."""
    count = data.draw(st.integers(1, 8))
    needs = [
        tuple(data.draw(st.lists(st.sampled_from(range(no)), unique=True, max_size=3)) if no else ())
        for no in range(count)
    ]
    optional = data.draw(st.sets(st.integers(0, count - 1)))
    plan = make_plan(needs, steps={no: {"is_optional": True} for no in optional})
    ends = [StepState.COMPLETED, StepState.FAILED, StepState.SKIPPED, StepState.CANCELLED]
    outcomes = {
        no: outcome(no, data.draw(st.sampled_from(ends))) for no in range(count) if data.draw(st.booleans())
    }
    without = frozenset(data.draw(st.sets(st.integers(0, count - 1))))
    found = shared(plan, outcomes, without=without)
    good = {
        no
        for no, each in outcomes.items()
        if each.state in (StepState.COMPLETED, StepState.SKIPPED)
        or (each.state is StepState.FAILED and no in optional)
    }
    bad = set(range(count)) - (good - without)
    assert found == set(range(count)) - downstream(plan, bad)


def test_a_retry_from_a_step_runs_it_and_what_depends_on_it_anew(make_bench: Make):
    """With new keys; what failed elsewhere runs again with its own."""
    bench = failed_diamond(make_bench)
    assert bench.tell(Retry(id="r", step="s1", data={"a": 2})) == Answer(State.EXECUTING, bench.state.version)
    assert bench.states() == ["completed", "running", "completed", "pending", "completed"]
    bench.complete(1, 3)
    assert bench.started == [1, 3]
    assert bench.state.state is State.COMPLETED
    assert [(run.generation, run.lineage) for run in bench.state.steps] == [
        (0, 0),
        (1, 1),
        (0, 0),
        (1, 1),
        (0, 0),
    ]
    assert bench.state.context == {"a": 2}


def test_a_retry_of_one_step_only_leaves_later_outputs_as_they_are(make_bench: Make):
    """What was settled stays settled, whatever it was made of."""
    bench = make_bench([(), (0,), (0,)]).start()
    bench.complete(0, 1)
    bench.fail(2)
    bench.started.clear()
    bench.tell(Retry(id="r", step="s2", only=True))
    bench.complete(2)
    assert bench.started == [2]
    assert bench.state.state is State.COMPLETED


def test_one_step_only_is_refused_where_another_has_failed_too(make_bench: Make):
    """It could not bring the execution to its end; nothing is changed."""
    bench = failed_diamond(make_bench)
    version = bench.state.version
    refusal = bench.tell(Retry(id="r", step="s1", only=True))
    assert isinstance(refusal, IllegalTransition)
    assert "s3" in str(refusal)
    assert (bench.state.version, bench.state.state) == (version, State.FAILED)


def test_a_step_that_never_began_is_not_opened_anew_by_a_retry_of_it_only(make_bench: Make):
    """It simply begins: there is no outcome that a new generation would replace."""
    bench = make_bench([(), (0,)]).start()
    bench.tell(Pause(id="p"))
    bench.complete(0)
    bench.tell(Cancel(id="c"))
    assert bench.state.state is State.CANCELLED
    bench.tell(Retry(id="r", step="s1", only=True))
    bench.complete(1)
    assert bench.state.state is State.COMPLETED
    assert [(run.generation, run.lineage) for run in bench.state.steps] == [(0, 0), (0, 0)]


@pytest.mark.parametrize("step", ["s0", "s1"])
def test_a_retry_from_a_step_does_what_was_cut_off_anew_too(make_bench: Make, step: str):
    """Its effects so far are those of another time, although it has come to no outcome."""
    bench = make_bench([(), (0,)]).start()
    bench.complete(0)
    bench.tell(Pause(id="p", mode=PauseMode.INTERRUPT))
    bench.unwind()
    bench.tell(Cancel(id="c"))
    assert bench.states() == ["completed", "pending"]
    bench.tell(Retry(id="again", step=step, only=step == "s1"))
    assert [run.lineage for run in bench.state.steps] == [int(step == "s0"), 1]


def go_over(need: int) -> dict[str, Any]:
    """A step that goes over what another gave."""
    return {"for_each": ForEach(items=lambda values: values.output(need))}


def test_a_retry_from_a_step_takes_the_items_anew_that_it_gives(make_bench: Make):
    """Also where none of those before had begun."""
    bench = make_bench([(), (0,), (0,)], steps={2: go_over(0)}, parallelism=1).start()
    bench.complete(0, output=b'["old"]')
    assert bench.started == [0, 1]
    bench.tell(Cancel(id="c"))
    bench.unwind()
    bench.tell(Retry(id="again", step="s0"))
    bench.complete(0, output=b'["new","newer"]')
    bench.complete(1)
    assert list(bench.bodies) == [(2, 0), (2, 1)]
    assert bench.state.steps[2].loop.item(0) == "new"


def test_a_restore_forgets_the_items_that_came_later(make_bench: Make):
    """None of them had begun."""
    bench = make_bench([(), (0,), (1,), (1,)], steps={3: go_over(1)}, parallelism=1).start()
    bench.complete(0)
    bench.complete(1, output=b'["old"]')
    bench.tell(Pause(id="p", mode=PauseMode.INTERRUPT))
    bench.unwind()
    bench.tell(Restore(id="r", checkpoint=min(bench.rows.checkpoints)))
    bench.tell(Resume(id="go"))
    bench.complete(1, output=b'["new","newer"]')
    bench.complete(2)
    assert list(bench.bodies) == [(3, 0), (3, 1)]


def test_a_retry_with_downstream_runs_again_what_completed_on_a_failure(make_bench: Make):
    """A step that took `all_done` for an answer gets another one."""
    after = {"dependencies": DependenciesPolicy.ALL_DONE}
    bench = make_bench([(), (0,)], continue_on_error=True, steps={1: after}).start()
    bench.fail(0)
    bench.complete(1)
    assert bench.state.state is State.FAILED
    bench.tell(Retry(id="r", with_downstream=True))
    assert bench.states() == ["running", "pending"]
    bench.complete(0, 1)
    assert [(run.generation, run.lineage) for run in bench.state.steps] == [(1, 0), (1, 1)]


def test_a_retry_from_a_step_that_is_not_there_changes_nothing(make_bench: Make):
    """The refusal names the steps."""
    bench = failed_diamond(make_bench)
    version = bench.state.version
    assert isinstance(bench.tell(Retry(id="r", step="nobody")), NotFound)
    assert bench.state.version == version


@pytest.mark.parametrize("scheduling", Scheduling)
def test_a_retry_from_the_first_step_runs_everything_on_it_again(make_bench: Make, scheduling: Scheduling):
    """On either scheduling, and what does not depend on it stays."""
    bench = make_bench(DIAMOND, scheduling=scheduling).start()
    bench.complete(0, 4, 1, 2)
    bench.fail(3)
    bench.started.clear()
    bench.tell(Retry(id="r", step="s0"))
    bench.complete(0, 1, 2, 3)
    assert bench.started == [0, 1, 2, 3]
    assert bench.state.state is State.COMPLETED


def test_a_retry_reopens_only_what_did_not_succeed_with_the_same_keys(make_bench: Make):
    """Recorded steps never run again."""
    bench = make_bench(
        [(), (), (0,), (1,)], continue_on_error=True, steps={1: {"is_optional": False}}
    ).start()
    bench.fail(0)
    bench.complete(1, 3)
    assert bench.states() == ["failed", "completed", "skipped", "completed"]
    bench.started.clear()
    bench.tell(Retry(id="again"))
    bench.complete(0, 2)
    assert bench.started == [0, 2]
    assert bench.state.state is State.COMPLETED
    assert [(run.generation, run.lineage) for run in bench.state.steps] == [(1, 0), (0, 0), (1, 0), (0, 0)]


def test_a_retry_keeps_the_null_of_an_optional_step(make_bench: Make):
    """It counts as settled."""
    bench = make_bench([(), (0,)], steps={0: {"is_optional": True}}).start()
    bench.fail(0)
    bench.fail(1)
    bench.tell(Retry(id="again"))
    assert bench.bodies == {1: (1, 1)}


def test_a_retry_begins_with_fresh_attempts_and_a_fresh_time_limit(make_bench: Make):
    """As often, and as long, as the first time; nothing is left of an earlier pause."""
    bench = make_bench([()], timeout_ms=1_000, steps={0: RETRY}).start()
    bench.tell(Pause(id="p", mode=PauseMode.INTERRUPT))
    bench.now += 900
    bench.unwind()
    bench.tell(Cancel(id="x"))
    assert bench.state.remaining_ms is None
    bench.tell(Retry(id="again"))
    assert bench.state.deadline_at == bench.now + 1_000
    bench.fail(0)
    assert bench.states() == ["waiting"]


def test_a_restore_goes_back_to_the_checkpoint_and_rests_there(make_bench: Make):
    """What settled later is reopened under new keys; the context is as it was then."""
    bench = make_bench([(), (0,), (1,)], context={"a": 1}).start()
    bench.complete(0)
    bench.tell(TakeCheckpoint(id="t", label="early"))
    point = max(bench.rows.checkpoints)
    bench.tell(UpdateContext(id="u", patch={"a": 2}))
    bench.complete(1)
    bench.fail(2)
    answer = bench.tell(Restore(id="r", checkpoint=point))
    assert answer == Answer(State.PAUSED, bench.state.version)
    assert bench.states() == ["completed", "pending", "pending"]
    assert [run.lineage for run in bench.state.steps] == [0, 1, 1]
    assert bench.state.context == {"a": 1}
    bench.started.clear()
    bench.tell(Resume(id="go"))
    bench.complete(1, 2)
    assert bench.started == [1, 2]
    assert bench.state.state is State.COMPLETED


def test_a_restore_gives_a_step_that_had_begun_a_new_key(make_bench: Make):
    """Its effects belong to the time that was taken back."""
    bench = make_bench([(), (0,)]).start()
    bench.complete(0)
    bench.tell(Pause(id="p", mode=PauseMode.INTERRUPT))
    bench.unwind()
    bench.tell(Restore(id="r", checkpoint=min(bench.rows.checkpoints)))
    assert [(run.lineage, run.attempt) for run in bench.state.steps] == [(0, 1), (1, 1)]


def test_a_restore_takes_back_timers_and_outcomes_of_later_generations(make_bench: Make):
    """A step that was retried since gets the outcome it had then."""
    bench = make_bench([(), ()], steps={0: RETRY}, continue_on_error=True).start()
    bench.fail(0)
    bench.advance(100)
    bench.fail(0)
    bench.complete(1)
    bench.tell(Retry(id="again"))
    point = min(bench.rows.checkpoints)
    bench.fail(0)
    bench.tell(Pause(id="p"))
    assert bench.rows.timers
    bench.tell(Restore(id="r", checkpoint=point))
    assert bench.states() == ["failed", "completed"]
    assert not bench.rows.timers


def test_what_a_restore_brings_back_can_be_undone(make_bench: Make):
    """It was done here, if in another generation."""
    bench = make_bench([(), (0,)], undo={0: {}}).start()
    bench.complete(0)
    bench.fail(1)
    bench.tell(Retry(id="again", step="s0"))
    bench.tell(Pause(id="p", mode=PauseMode.INTERRUPT))
    bench.unwind()
    bench.tell(Restore(id="r", checkpoint=min(bench.rows.checkpoints)))
    assert bench.states()[0] == "completed"
    bench.tell(Rollback(id="back"))
    assert list(bench.bodies) == [2]


def test_a_restore_of_a_finished_execution_gives_it_its_whole_time_again(make_bench: Make):
    """From resume on."""
    bench = make_bench([(), (0,)], timeout_ms=1_000).start()
    bench.complete(0)
    bench.advance(1_000)
    bench.unwind()
    bench.tell(Restore(id="r", checkpoint=min(bench.rows.checkpoints)))
    bench.tell(Resume(id="go"))
    assert bench.state.deadline_at == bench.now + 1_000
