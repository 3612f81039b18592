"""Which steps start, which wait, which are skipped: level by level, or eagerly."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.actors.instructions.plan import RetryPolicy, Scheduling
from perdure.store.states import State

Make = Callable[..., Any]
EAGER = {"scheduling": Scheduling.EAGER}
DIAMOND = [(), (0,), (0,), (1, 2)]


def test_a_level_starts_when_every_step_below_it_has_settled(make_bench: Make):
    """The barrier: a fast branch waits for the slow one."""
    bench = make_bench([(), (), (0,), (1,)]).start()
    assert bench.started == [0, 1]
    bench.complete(0)
    assert bench.started == [0, 1]
    bench.complete(1)
    assert bench.started == [0, 1, 2, 3]


def test_an_eager_step_starts_when_its_own_needs_are_met(make_bench: Make):
    """No barrier: it overtakes the slow branch."""
    bench = make_bench([(), (), (0,), (1,)], **EAGER).start()
    bench.complete(0)
    assert bench.started == [0, 1, 2]
    bench.complete(2, 1, 3)
    assert bench.state.state is State.COMPLETED


@pytest.mark.parametrize("options", [{}, EAGER])
def test_a_join_waits_for_all_it_needs(make_bench: Make, options: dict[str, Any]):
    """The end of a diamond starts once, after both sides."""
    bench = make_bench(DIAMOND, **options).start()
    bench.complete(0, 1)
    assert bench.bodies.keys() == {2}
    bench.complete(2, 3)
    assert bench.started == [0, 1, 2, 3]
    assert bench.state.state is State.COMPLETED


def test_a_join_may_start_when_enough_have_come(make_bench: Make):
    """Once, before the others have settled; the execution ends when they have."""
    bench = make_bench([(), (), (), (0, 1, 2), (3,)], steps={3: {"dependencies": 2}}, **EAGER).start()
    bench.complete(1)
    assert bench.states()[3] == "pending"
    bench.complete(2)
    assert bench.states()[3] == "running"
    bench.take_up()
    assert sorted(bench.bodies) == [0, 3]
    bench.complete(3)
    bench.complete(4)
    assert bench.state.state is State.EXECUTING
    bench.take_up()
    bench.complete(0)
    assert bench.state.state is State.COMPLETED
    assert bench.started.count(4) == 1


@pytest.mark.parametrize("options", [{}, EAGER])
def test_a_join_for_which_too_few_come_is_skipped(make_bench: Make, options: dict[str, Any]):
    """When the last one that could has settled."""
    steps = {0: {"is_optional": True}, 1: {"when": lambda _: False}, 3: {"dependencies": 3}}
    bench = make_bench([(), (), (), (0, 1, 2)], steps=steps, **options).start()
    bench.fail(0)
    assert bench.states()[3] == "pending"
    bench.complete(2)
    assert (bench.states()[3], bench.state.state) == ("skipped", State.COMPLETED)


def test_level_by_level_a_join_waits_for_its_level(make_bench: Make):
    """And then asks whether enough have come."""
    steps = {1: {"is_optional": True}, 2: {"dependencies": 1}}
    bench = make_bench([(), (), (0, 1)], steps=steps).start()
    bench.complete(0)
    assert bench.states()[2] == "pending"
    bench.fail(1)
    assert bench.states()[2] == "running"


@given(
    wanted=st.integers(1, 4),
    moves=st.lists(
        st.tuples(st.integers(0, 5), st.sampled_from(["give", "give", "fail", "crash"])), max_size=20
    ),
    parallelism=st.sampled_from([None, 2]),
    last_is_required=st.booleans(),
)
@settings(deadline=None, max_examples=150)
def test_whatever_comes_in_whatever_order_a_join_starts_once(
    make_bench: Make,
    wanted: int,
    moves: list[tuple[int, str]],
    parallelism: int | None,
    last_is_required: bool,  # noqa: FBT001
):
    """With the rows, after every turn, saying what memory says."""
    steps: dict[int, dict[str, Any]] = {
        no: {"is_optional": no < 3 or not last_is_required} for no in range(4)
    }
    steps[4] = {"dependencies": wanted}
    options = EAGER | ({} if parallelism is None else {"parallelism": parallelism})
    bench = make_bench([(), (), (), (), (0, 1, 2, 3), (4,)], steps=steps, **options).start()
    for pick, move in [*moves, *[(0, "give")] * 6]:
        bodies = sorted(bench.bodies)
        if not bodies:
            break
        if move == "crash":
            bench.take_up()
        elif move == "give":
            bench.complete(bodies[pick % len(bodies)])
        else:
            bench.fail(bodies[pick % len(bodies)])
    assert bench.state.state in {State.COMPLETED, State.FAILED}


def test_parallelism_bounds_how_many_steps_run_beside_each_other(make_bench: Make):
    """A place that gets free is taken by the next in order."""
    bench = make_bench([()] * 5, parallelism=2).start()
    assert bench.started == [0, 1]
    bench.complete(1)
    assert bench.started == [0, 1, 2]


def test_a_step_that_is_not_parallel_runs_alone(make_bench: Make):
    """Nothing starts beside it, and it starts beside nothing."""
    bench = make_bench([()] * 4, steps={1: {"is_parallel": False}}).start()
    assert bench.started == [0]
    bench.complete(0)
    assert bench.bodies.keys() == {1}
    bench.complete(1)
    assert bench.bodies.keys() == {2, 3}


def test_a_step_that_is_not_parallel_is_not_starved_by_those_behind_it(make_bench: Make):
    """Once it is at the front nothing overtakes it."""
    bench = make_bench([()] * 6, parallelism=2, steps={2: {"is_parallel": False}}).start()
    bench.complete(0)
    assert bench.bodies.keys() == {1}
    bench.complete(1)
    assert bench.bodies.keys() == {2}


def test_under_continue_on_error_only_descendants_are_skipped(make_bench: Make):
    """And theirs in turn; all else runs, and the end is `failed` with every output kept."""
    bench = make_bench([(), (), (0,), (1,), (2,), (3,)], continue_on_error=True).start()
    bench.fail(0)
    bench.complete(1, 3, 5)
    assert bench.states() == ["failed", "completed", "skipped", "completed", "skipped", "completed"]
    assert bench.state.state is State.FAILED
    assert set(bench.state.outputs()) == {"s1", "s3", "s5"}


@pytest.mark.parametrize("options", [{}, EAGER])
def test_skipping_cascades_through_whole_levels_at_once(make_bench: Make, options: dict[str, Any]):
    """A chain behind a failure needs no turn of its own."""
    chain = [()] + [(no,) for no in range(20)]
    bench = make_bench(chain, continue_on_error=True, **options).start()
    bench.fail(0)
    assert bench.states() == ["failed"] + ["skipped"] * 20
    assert bench.state.state is State.FAILED


def test_a_step_is_skipped_only_once_all_its_needs_have_settled(make_bench: Make):
    """It waits for the slow need although the fast one has failed."""
    bench = make_bench([(), (), (0, 1)], continue_on_error=True, **EAGER).start()
    bench.fail(0)
    assert bench.states()[2] == "pending"
    bench.complete(1)
    assert bench.states()[2] == "skipped"


def test_an_optional_step_that_fails_lets_its_dependents_run_with_null(make_bench: Make):
    """It counts as settled; its value is an explicit null."""
    bench = make_bench([(), (0,)], steps={0: {"is_optional": True}}).start()
    bench.fail(0)
    assert bench.bodies.keys() == {1}
    assert bench.state.output(0) is None
    bench.complete(1)
    assert bench.state.state is State.COMPLETED
    assert bench.state.outputs() == {"s0": None, "s1": "done"}


def test_a_step_waits_for_the_thread_of_its_timed_out_attempt(make_bench: Make):
    """No two attempts run beside each other; others are not held up."""
    retry = RetryPolicy(max_retries=1, delay_ms=0)
    bench = make_bench([(), ()], parallelism=2, steps={0: {"retry": retry}}).start()
    generation, attempt = bench.bodies[0]
    bench.fail(0, lingers=True)
    assert bench.state.state is State.EXECUTING
    assert bench.bodies.keys() == {1}
    bench.complete(1)
    assert bench.state.state is State.EXECUTING  # no timer would wake the next owner
    bench.end_thread(0)
    assert bench.bodies == {0: (generation, attempt + 1)}


def test_nothing_starts_beside_the_lingering_thread_of_a_step_that_runs_alone(make_bench: Make):
    """The thread is still at work, whatever became of the attempt."""
    bench = make_bench([(), ()], steps={0: {"is_parallel": False}}, continue_on_error=True).start()
    bench.fail(0, lingers=True)
    assert not bench.bodies
    bench.end_thread(0)
    assert bench.bodies.keys() == {1}


def test_a_plan_without_steps_completes_at_once(make_bench: Make):
    """Nothing to do is done."""
    assert make_bench([]).start().state.state is State.COMPLETED


@pytest.mark.parametrize("options", [{}, EAGER])
@pytest.mark.parametrize("shape", ["wide", "deep", "fan"])
def test_the_work_per_step_does_not_grow_with_the_graph(
    make_bench: Make, options: dict[str, Any], shape: str
):
    """Eight times the steps take about eight times the time, not sixty-four."""

    def seconds(size: int) -> float:
        needs: list[Any] = {
            "wide": [()] * size,
            "deep": [()] + [(no,) for no in range(size - 1)],
            "fan": [()] + [(0,)] * (size - 2) + [tuple(range(1, size - 1))],
        }[shape]
        bench = make_bench(needs, parallelism=8, **options)
        bench.check_fold = lambda: None
        begun = time.process_time()
        bench.start()
        while bench.bodies:
            bench.complete(next(iter(bench.bodies)))
        assert bench.state.state is State.COMPLETED
        return time.process_time() - begun

    small = min(seconds(100) for _ in range(3))
    assert min(seconds(800) for _ in range(2)) < 8 * small * 4
