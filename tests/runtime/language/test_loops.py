"""Steps that are performed more than once, as they are written: what is refused, where, and round trips."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.runtime import Agents, DefinitionError, ForEach, Repeat, Workflow
from perdure.runtime.language import InputError, check_context
from perdure.runtime.language.printing import NotPrintable

BEGINNING = "name: w\nsteps:\n  - key: poll\n    agent: a\n    repeat: "


def problems(text: str) -> list[str]:
    """What is wrong with a workflow, each with its line and path."""
    with pytest.raises(DefinitionError) as caught:
        Workflow.parse(text)
    return [f"{problem.line}: {problem.path}: {problem.message}" for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("repeat", "told"),
    [
        ("{}", "5: steps[0].repeat: step 'poll' has neither until nor while: repeat has one of them"),
        ('{until: "true", while: "true"}', "has both until and while"),
        (
            '{until: "outputs == 1"}',
            "5: steps[0].repeat.until: not a condition: `outputs` is not known (character 1",
        ),
        ('{while: "output + "}', "steps[0].repeat.while: not a condition: it ends too early after `+`"),
        ('{until: "size(output)"}', "it gives INT, not true or false"),
        ('{until: "steps.pol.output"}', "the repeat condition looks at step 'pol', which does not exist"),
        ('{until: "steps.poll.output"}', "is the output of step 'poll' itself"),
        ('{until: "output", maxIterations: 0}', "steps[0].repeat.maxIterations: 0 does not fit here"),
        ('{until: "output", maxIterations: 10001}', "steps[0].repeat.maxIterations: 10001 does not fit here"),
        ('{until: "output", delay: soon}', "steps[0].repeat.delay"),
        ('{until: "output", onExhausted: skip}', "steps[0].repeat.onExhausted"),
        ('{untill: "output"}', "unknown field 'untill'"),
    ],
)
def test_what_is_no_loop_is_a_problem_with_its_place(repeat: str, told: str):
    """Told when the workflow is read."""
    assert any(told in problem for problem in problems(BEGINNING + repeat + "\n"))


@pytest.mark.parametrize("kind", ["sleep: 3s", "waitFor: {signal: s}", "until: '2030-01-01T00:00:00Z'"])
def test_a_step_that_waits_cannot_be_repeated(kind: str):
    """It performs nothing."""
    text = f"name: w\nsteps:\n  - key: s\n    {kind}\n    repeat: {{until: 'true'}}\n"
    (problem,) = problems(text)
    assert problem == "5: steps[0].repeat: step 's' waits and runs nothing: repeat means nothing to it"


EACH = "name: w\nsteps:\n  - {key: s, agent: a}\n  - key: each\n    agent: a\n    forEach: "


@pytest.mark.parametrize(
    ("for_each", "told"),
    [
        ("{}", "6: steps[1].forEach: 'items' is missing"),
        ("{items: true}", "6: steps[1].forEach.items: true does not fit here"),
        ("{items: -1}", "steps[1].forEach.items: -1 does not fit here"),
        ("{items: 1000001}", "steps[1].forEach.items: 1000001 does not fit here"),
        ("{items: ''}", "steps[1].forEach.items"),
        ("{items: {a: 1}}", "steps[1].forEach.items: a mapping does not fit here"),
        ("{items: '{{s.files}'}", "steps[1].forEach.items: '{{s.files}' is not closed"),
        ("{items: '{{s.files}}'}", "the list of items looks up 's', which need not run before 'each'"),
        ("{items: 'steps.x.output'}", "the list of items looks at step 'x', which does not exist"),
        ("{items: 'inputs.a == 1'}", "not a list or a count: it gives BOOL, not a list or a count"),
        ("{items: 'file + '}", "steps[1].forEach.items: not a list or a count"),
        ("{items: 3, as: s}", "steps[1].forEach.as: 's' is the key of a step"),
        ("{items: 3, as: a-b}", "'a-b' is no name"),
        ("{items: 3, as: i, index: i}", "an item and its number cannot both be called 'i'"),
        ("{items: 3, maxConcurrency: 0}", "steps[1].forEach.maxConcurrency"),
        ("{items: 3}\n    repeat: {until: 'true'}", "step 'each' has forEach and repeat"),
    ],
)
def test_what_cannot_be_gone_over_is_a_problem_with_its_place(for_each: str, told: str):
    """Told when the workflow is read."""
    found = problems(EACH + for_each + "\n")
    assert any(told in problem for problem in found), found


@pytest.mark.parametrize("kind", ["sleep: 3s", "waitFor: {signal: s}", "workflow: {name: other}"])
def test_a_step_that_runs_nothing_cannot_be_performed_for_each_item(kind: str):
    """Nor one that starts a child."""
    found = problems(f"name: w\nsteps:\n  - key: s\n    {kind}\n    forEach: {{items: 3}}\n")
    assert any("forEach means nothing to it" in problem for problem in found), found


@pytest.mark.parametrize("items", ["{{scan.files}}", "inputs.files", 7, [1, {"a": [2]}]])
def test_a_step_with_items_reads_the_same_however_it_is_written(items: object):
    """YAML, JSON and Python come to one revision."""
    for_each = ForEach(items=items, as_="file", index="no", max_concurrency=5, continue_on_error=True)
    workflow = Workflow("w").agent_step("scan", agent="a")
    workflow.agent_step("each", agent="a", prompt="{{file.a}} {{no}}", after="scan", for_each=for_each)
    for text in (workflow.to_yaml(), workflow.to_json()):
        assert Workflow.parse(text).revision == workflow.revision
    assert "as: file" in workflow.to_yaml()


def test_a_loop_reads_the_same_however_it_is_written():
    """YAML, JSON and Python come to one revision."""
    text = BEGINNING + "{until: 'output.done', delay: 30s, maxIterations: 7, onExhausted: continue}\n"
    from_yaml = Workflow.parse(text)
    repeat = Repeat(until="output.done", delay=30, max_iterations=7, on_exhausted="continue")
    from_python = Workflow("w").agent_step("poll", agent="a", repeat=repeat)
    assert from_yaml.revision == from_python.revision
    assert Workflow.parse(from_yaml.to_yaml()).revision == from_yaml.revision
    assert Workflow.parse(from_yaml.to_json(), format="json").revision == from_yaml.revision
    other = Workflow.parse(text.replace("until", "while"))
    assert other.revision != from_yaml.revision
    assert "while: output.done" in other.to_yaml()


def is_over(output: int, limit: int) -> bool:
    """A condition that can be printed, and has an input."""
    return output >= limit


def test_a_condition_that_is_a_function_is_named_by_where_it_is_defined():
    """Its parameters are inputs and steps, as those of a step are; what the loop gives is no input."""
    workflow = Workflow("w")

    @workflow.step
    async def first() -> int:
        return 1

    @workflow.step(repeat=Repeat(until=lambda output, iteration, first: output > first + iteration))
    async def poll(previous: Any, iteration: int) -> int:
        return iteration

    workflow.agent_step("third", agent="a", repeat=Repeat(until=is_over))
    definition = workflow.definition
    assert definition.steps[1].dependencies == ("first",)
    assert definition.steps[2].repeat is not None
    assert definition.steps[2].repeat.until == f"python:{__name__}:is_over"
    assert set(workflow.functions.values()) > {is_over}
    with pytest.raises(NotPrintable, match="poll"):
        workflow.to_yaml()


def test_what_a_loop_lacks_is_told_before_anything_runs():
    """An input of its condition; not what it is given after each iteration."""
    agents = Agents()

    @agents.agent("a")
    async def perform(prompt: str) -> str:
        return prompt

    workflow = Workflow("w").agent_step(
        "poll", agent="a", prompt="{{iteration}} {{previous}}", repeat=Repeat(until=is_over)
    )
    agents.add(f"python:{__name__}:is_over", is_over)
    with pytest.raises(InputError) as caught:
        check_context(workflow.definition, {}, agents)
    (problem,) = caught.value.problems
    assert problem.startswith("step 'poll': parameter 'limit' takes the input 'limit'")


def test_a_condition_must_be_a_plain_function():
    """Nothing could await it."""

    async def waits(output: int) -> bool:
        return output > 1

    workflow = Workflow("w").agent_step("poll", agent="a", repeat=Repeat(until=waits))
    with pytest.raises(DefinitionError, match="a condition is a plain def"):
        _ = workflow.definition
