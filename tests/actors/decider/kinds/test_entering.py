"""Conditions and policies: what becomes of a step that its needs have let in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.actors.instructions.plan import DependenciesPolicy, Scheduling
from perdure.actors.messages import Cancel, Pause, Resume, Retry, UpdateContext
from perdure.store.errors import PerdureError
from perdure.store.states import State

Make = Callable[..., Any]
EAGER = {"scheduling": Scheduling.EAGER}
BOTH = [{}, EAGER]
NO = {"when": lambda _values: False}


def breaks(_values: Any) -> bool:
    """A condition with a mistake in it."""
    raise KeyError("severity")


@pytest.mark.parametrize("options", BOTH)
def test_a_step_whose_condition_is_false_is_skipped_with_what_depends_on_it(
    make_bench: Make, options: dict[str, Any]
):
    """And the execution completes: nothing has failed."""
    bench = make_bench([(), (0,), (1,), (0,)], steps={1: NO}, **options).start()
    bench.complete(0)
    assert bench.states() == ["completed", "skipped", "pending" if not options else "skipped", "running"]
    bench.complete(3)
    assert bench.states() == ["completed", "skipped", "skipped", "completed"]
    assert bench.state.state is State.COMPLETED
    assert set(bench.state.outputs()) == {"s0", "s3"}


@pytest.mark.parametrize("options", BOTH)
def test_a_condition_sees_the_context_and_what_came_before(make_bench: Make, options: dict[str, Any]):
    """Outputs decoded, states as people read them."""
    seen: list[Any] = []

    def condition(values: Any) -> bool:
        seen.append((dict(values.context), values.output(0), values.state(0)))
        return True

    bench = make_bench([(), (0,)], steps={1: {"when": condition}}, context={"a": 1}, **options).start()
    bench.complete(0, output=b'{"x": [1]}')
    assert seen == [({"a": 1}, {"x": [1]}, "completed")]
    assert bench.bodies.keys() == {1}


@pytest.mark.parametrize("condition", [breaks, lambda _v: None, lambda _v: 1, lambda _v: "false"])
def test_a_condition_without_an_answer_fails_its_step_and_never_counts_as_false(
    make_bench: Make, condition: Any
):
    """Typed, saying which step; the execution fails as after any failed step."""
    bench = make_bench([(), (0,)], steps={1: {"when": condition}}).start()
    bench.complete(0)
    assert bench.states() == ["completed", "failed"]
    assert bench.state.state is State.FAILED
    error = bench.state.steps[1].error
    assert error.type == "ExpressionError"
    assert "the condition of step 's1' could not be evaluated" in error.message
    assert bench.state.error.step == "s1"


@pytest.mark.parametrize(
    "error", [SystemExit(1), KeyboardInterrupt(), GeneratorExit(), RecursionError("deep")]
)
def test_nothing_that_a_condition_raises_leaves_the_planner(make_bench: Make, error: BaseException):
    """It would take the execution's actor with it."""

    def condition(_values: Any) -> bool:
        raise error

    bench = make_bench([()], steps={0: {"when": condition}}).start()
    assert bench.states() == ["failed"]
    assert type(error).__name__ in bench.state.steps[0].error.message


def test_an_error_of_our_own_is_told_in_its_own_words(make_bench: Make):
    """Without the name of a class in front."""

    def condition(_values: Any) -> bool:
        raise PerdureError("no such key")

    bench = make_bench([()], steps={0: {"when": condition}}).start()
    assert bench.state.steps[0].error.message.endswith("could not be evaluated: no such key")


def test_an_optional_step_whose_condition_breaks_lets_its_dependents_run(make_bench: Make):
    """It has failed like any optional step."""
    bench = make_bench([(), (0,)], steps={0: {"when": breaks, "is_optional": True}}).start()
    assert bench.bodies.keys() == {1}


def test_after_a_condition_that_breaks_only_what_depends_on_it_is_skipped_where_errors_may_be(
    make_bench: Make,
):
    """`continueOnError` is about every failure."""
    bench = make_bench([(), (0,), ()], steps={0: {"when": breaks}}, continue_on_error=True, **EAGER).start()
    assert bench.states() == ["failed", "skipped", "running"]


def test_nothing_is_asked_while_a_pause_is_pending_and_the_resume_may_change_the_answer(make_bench: Make):
    """The context it is asked with is the one it runs with."""
    wants = {"when": lambda values: values.context.get("go", False)}
    bench = make_bench([(), (0,)], steps={1: wants}).start()
    bench.tell(Pause(id="p"))
    bench.complete(0)
    assert bench.state.state is State.PAUSED
    assert bench.states()[1] == "pending"
    bench.tell(Resume(id="r", data={"go": True}))
    assert bench.bodies.keys() == {1}


def test_a_step_that_was_interrupted_is_not_asked_again(make_bench: Make):
    """It has begun; the answer stands although the context says otherwise by now."""
    wants = {"when": lambda values: values.context["go"]}
    bench = make_bench([()], steps={0: wants}, context={"go": True}).start()
    bench.tell(UpdateContext(id="u", patch={"go": False}))
    bench.take_up(died=True)
    assert bench.bodies.keys() == {0}


def test_a_retry_asks_again(make_bench: Make):
    """What was skipped or could not be asked is open again."""
    wants = {"when": lambda values: values.context["go"]}
    bench = make_bench([(), ()], steps={0: wants}, context={"go": 0}, continue_on_error=True).start()
    bench.fail(1)
    assert bench.states() == ["failed", "failed"]
    bench.tell(Retry(id="r"))
    assert bench.states() == ["failed", "running"]
    bench.fail(1)
    bench.state.context["go"] = True
    bench.rows.first_context = bench.state.context
    bench.tell(Retry(id="r2"))
    assert bench.states() == ["running", "running"]


def test_conditions_wait_for_a_runner_that_has_the_code(make_bench: Make):
    """A client that cannot perform the plan decides nothing about it."""
    bench = make_bench([()], steps={0: {"when": breaks}}, missing=("perdure[conditions]",)).start()
    assert bench.states() == ["pending"]
    assert bench.state.state is State.SCHEDULING


def test_a_cancel_leaves_unasked_what_was_not_asked(make_bench: Make):
    """Its end does not depend on anybody's condition."""
    bench = make_bench([(), (0,)], steps={1: {"when": breaks}}).start()
    bench.tell(Cancel(id="c"))
    bench.unwind()
    assert bench.state.state is State.CANCELLED


POLICIES = {
    DependenciesPolicy.ALL_SUCCESS: all,
    DependenciesPolicy.ALL_DONE: lambda _met: True,
    DependenciesPolicy.ANY: any,
}


@pytest.mark.parametrize("options", BOTH)
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("ends", ["ccc", "ccs", "cff", "sss", "fso", "ffs", "oss"])
def test_a_policy_says_which_ends_let_a_step_in(
    make_bench: Make, policy: DependenciesPolicy, ends: str, options: dict[str, Any]
):
    """Completed, skipped, failed, failed and optional: in every mixture, once all have settled."""
    single = {no: {"s": NO, "o": {"is_optional": True}}.get(end, {}) for no, end in enumerate(ends)}
    single[3] = {"dependencies": policy}
    bench = make_bench([(), (), (), (0, 1, 2)], steps=single, continue_on_error=True, **options).start()
    for no, end in enumerate(ends):
        if end != "s":
            assert bench.states()[3] == "pending"
            bench.complete(no) if end == "c" else bench.fail(no)
    may_run = POLICIES[policy]([end in "co" for end in ends])
    assert bench.states()[3] == ("running" if may_run else "skipped")


@settings(max_examples=150, deadline=None)
@given(data=st.data(), eager=st.booleans(), continues=st.booleans())
def test_whatever_conditions_say_every_step_settles_and_the_rows_tell_the_same(
    make_bench: Make, *, data: Any, eager: bool, continues: bool
):
    """After each turn the bench folds its rows; in the end the states are those a plain walk gives."""
    size = data.draw(st.integers(1, 7))
    needs = [
        tuple(sorted(data.draw(st.sets(st.integers(0, no - 1), max_size=3)))) if no else ()
        for no in range(size)
    ]
    answers = [data.draw(st.sampled_from(["none", "yes", "no", "breaks"])) for _ in range(size)]
    policies = [data.draw(st.sampled_from(list(DependenciesPolicy))) for _ in range(size)]
    conditions = {"none": None, "yes": lambda _v: True, "no": NO["when"], "breaks": breaks}
    single = {no: {"when": conditions[answers[no]], "dependencies": policies[no]} for no in range(size)}
    options = {"scheduling": Scheduling.EAGER} if eager else {}
    bench = make_bench(needs, steps=single, continue_on_error=continues, **options).start()
    while bench.bodies:
        if data.draw(st.booleans()):
            bench.take_up(died=False)
        bench.complete(data.draw(st.sampled_from(sorted(bench.bodies))))
    assert bench.state.state in {State.COMPLETED, State.FAILED}
    if not continues and "failed" in bench.states():
        return
    ends = []
    for no in range(size):
        met = [ends[need] == "completed" for need in needs[no]]
        lets_in = POLICIES[policies[no]](met) or not met
        ends.append(
            "skipped"
            if not lets_in
            else {"none": "completed", "yes": "completed", "no": "skipped", "breaks": "failed"}[answers[no]]
        )
    assert bench.states() == ends
