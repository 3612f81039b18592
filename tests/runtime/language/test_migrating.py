"""Which executions may move to another version, and what will be different."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.runtime.changes import Change
from perdure.runtime.language import Workflow
from perdure.runtime.language.definition import Definition
from perdure.runtime.language.migrating import judge
from perdure.store.states import StepState

DONE = StepState.COMPLETED


def definition(*steps: dict[str, Any], **fields: Any) -> Definition:
    """A workflow of those steps; who performs a step is `worker` unless it says otherwise."""
    document = {"name": "w", "steps": [{"agent": "worker"} | step for step in steps]} | fields
    return Workflow.parse(msgspec.json.encode(document), format="json").definition


A, B = {"key": "a"}, {"key": "b", "dependencies": ["a"]}


def blockers(new: Definition, standing: dict[str, StepState], **options: Any) -> tuple[str, ...]:
    """What stands in the way of moving from `a → b`."""
    return judge(definition(A, B), new, standing=standing, **options).blockers


def test_a_completed_step_has_to_be_there_and_to_do_the_same():
    """How patiently it was tried is of no more interest."""
    assert blockers(definition(A, B), {"a": DONE, "b": DONE}) == ()
    assert blockers(definition(A | {"timeoutMs": 5, "retryPolicy": {"maxRetries": 9}}, B), {"a": DONE}) == ()
    assert blockers(definition(A | {"agent": "other"}, B), {"a": DONE}) == (
        "step 'a' is completed and differs in agent",
    )
    assert blockers(definition({"key": "c"}), {"a": DONE}) == (
        "step 'a' is completed and is not there any more",
    )


def test_a_step_put_before_a_completed_one_stands_in_its_way():
    """Its outcome would rest on something that has not happened."""
    new = definition({"key": "z"}, A | {"dependencies": ["z"]}, B)
    assert blockers(new, {"a": DONE}) == ("step 'a' is completed and differs in dependencies",)
    assert blockers(new, {}) == ()


def test_what_has_not_settled_well_may_be_anything_else():
    """It failed, was cancelled or cut off, or has not begun."""
    new = definition(A, {"key": "other", "dependencies": ["a"], "agent": "new"})
    for state in (StepState.FAILED, StepState.CANCELLED, StepState.PENDING, StepState.RUNNING):
        assert blockers(new, {"a": DONE, "b": state}) == ()
    for state in (StepState.WAITING, StepState.SKIPPED, StepState.COMPENSATED):
        assert blockers(new, {"a": DONE, "b": state}) != ()


def test_a_step_that_is_cut_off_in_its_body_may_not_become_one_that_waits():
    """There would be nothing to run again."""
    new = definition(A, {"key": "b", "agent": None, "sleep": 5, "dependencies": ["a"]})
    bodiless = frozenset({"b"})
    assert blockers(new, {"b": StepState.PENDING}, bodiless=bodiless) == (
        "step 'b' is pending and would have nothing to run any more",
    )
    assert blockers(new, {"b": StepState.FAILED}, bodiless=bodiless) == ()


def test_a_step_that_is_in_the_middle_of_its_items_goes_over_the_same_ones():
    """Those that are done are kept, by their places."""
    each = {"key": "b", "dependencies": ["a"], "forEach": {"items": "{{inputs.files}}", "as": "file"}}
    old = definition(A, each)
    other = definition(A, each | {"forEach": {"items": "{{inputs.other}}", "as": "file"}})
    assert judge(old, other, standing={"b": StepState.FAILED}).blockers == (
        "step 'b' is failed and has begun, and differs in forEach",
    )
    assert judge(old, definition(A), standing={"b": StepState.FAILED}).blockers == ()
    assert judge(old, other, standing={}).blockers == ()


def test_the_null_of_an_optional_step_is_an_outcome():
    """Dependents have built on it."""
    old = definition(A | {"optional": True}, B)
    assert judge(old, definition(A, B), standing={"a": StepState.FAILED}).blockers == (
        "step 'a' is failed and differs in optional",
    )


def test_what_will_be_different_is_told_path_by_path():
    """Fields, then config, then steps."""
    new = definition(A | {"agent": "other"}, {"key": "c"}, version="2", config={"parallelism": 3})
    assert judge(definition(A, B), new, standing={}).changes == (
        Change(path="version", before=None, after="2"),
        Change(path="config.parallelism", before=None, after=3),
        Change(path="steps.a.agent", before="worker", after="other"),
        Change(path="steps.b", before=B | {"agent": "worker"}, after=None),
        Change(path="steps.c", before=None, after={"key": "c", "agent": "worker"}),
    )


@st.composite
def graphs(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Steps of five keys in one order, with any needs among the earlier ones and one of two agents."""
    steps: list[dict[str, Any]] = []
    for key in "abcde":
        if draw(st.booleans()) or (key == "e" and not steps):
            needs = (
                draw(st.lists(st.sampled_from([step["key"] for step in steps]), unique=True)) if steps else []
            )
            steps.append({"key": key, "agent": draw(st.sampled_from("xy")), "dependencies": needs})
    return steps


@given(old=graphs(), new=graphs(), data=st.data())
def test_nothing_moves_whose_past_would_become_untrue(
    old: list[dict[str, Any]], new: list[dict[str, Any]], data: st.DataObject
):
    """Each completed step is there with its agent and its needs, or the move is blocked; and only then."""
    keys = [step["key"] for step in old]
    done = data.draw(st.sets(st.sampled_from(keys)))
    verdict = judge(definition(*old), definition(*new), standing=dict.fromkeys(done, DONE))
    then = {step["key"]: (step["agent"], set(step["dependencies"])) for step in old}
    now = {step["key"]: (step["agent"], set(step["dependencies"])) for step in new}
    assert verdict.may_move is all(now.get(key) == then[key] for key in done)
    assert len(verdict.blockers) == sum(now.get(key) != then[key] for key in done)


@given(graph=graphs())
def test_every_execution_may_move_to_the_version_it_has(graph: list[dict[str, Any]]):
    """Whatever it has done, and nothing differs."""
    same = definition(*graph)
    verdict = judge(same, same, standing={step["key"]: DONE for step in graph})
    assert (verdict.blockers, verdict.changes) == ((), ())


@pytest.mark.parametrize("field", ["when", "prompt", "outputSchema"])
def test_what_a_step_does_is_more_than_its_agent(field: str):
    """Its condition, its prompt, what it promises."""
    given_ = {"when": "true", "prompt": "do", "outputSchema": {"type": "string"}}[field]
    assert blockers(definition(A | {field: given_}, B), {"a": DONE}) == (
        f"step 'a' is completed and differs in {field}",
    )
