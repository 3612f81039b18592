"""Conditions in CEL: what is refused when a workflow is read, and what they answer when it runs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from perdure.runtime import Agents, DefinitionError, Workflow
from perdure.runtime.language import compile_plan, conditions
from perdure.runtime.language.conditions import (
    BadCondition,
    ConditionsNotInstalled,
    compile_condition,
    inputs_taken,
    references,
)

NEEDS: list[list[int]] = [[], [0], [1]]
NUMBERS = {"parse": 0, "to-scan": 1, "report": 2}
DEEP = '"' + "(" * 50 + "true" + ")" * 50 + '"'
TWO = """
  - {key: parse, agent: a}
  - {key: scan, agent: a, dependencies: [parse], when: %s}
"""


@pytest.fixture
def ask(seen: Callable[..., Any]) -> Callable[..., Any]:
    """Evaluate a condition of the third step."""

    def evaluate(text: str, *, outputs: dict[int, Any] | None = None, **context: Any) -> Any:
        closure = compile_condition(text, no=2, numbers=NUMBERS, needs=NEEDS)
        return closure(seen(context, outputs or {0: None, 1: None}))

    return evaluate


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("inputs.severity >= 3 && size(inputs.files) > 0", True),
        ("inputs.severity > inputs.limit", True),
        ("inputs.severity == 3.0", True),
        ("has(inputs.nothing) || inputs.note == null", True),
        ("inputs.files.exists(f, f.endsWith('.py'))", True),
        ("steps.parse.output.functions[0].name == 'main'", True),
        ("steps['to-scan'].state == \"skipped\"", True),
        ("steps['to-scan'].output == null", True),
        ("steps.all(key, steps[key].state != 'failed')", True),
        ("'steps.nobody' == inputs.word", False),
        ("inputs.word.startsWith('é')", True),
        ("steps.parse.error == null && steps['to-scan'].error.type == 'LookupError'", True),
        ("steps['to-scan'].error.message.contains('404')", True),
    ],
)
def test_a_condition_is_cel_over_inputs_and_steps(ask: Callable[..., Any], text: str, *, answer: bool):
    """JSON values, as they are kept."""
    context = {"severity": 3, "limit": 1.5, "files": ["a.py"], "note": None, "word": "école"}

    closure = compile_condition(text, no=2, numbers=NUMBERS, needs=NEEDS)

    class Values:
        pass

    values = Values()
    values.context = context  # type: ignore[attr-defined]
    values.output = lambda no: [{"functions": [{"name": "main"}]}, None][no]  # type: ignore[attr-defined]
    values.state = lambda no: ["completed", "skipped"][no]  # type: ignore[attr-defined]
    values.error = lambda no: [None, {"type": "LookupError", "message": "404 no pet"}][no]  # type: ignore[attr-defined]
    assert closure(values) is answer


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("inputs.nothing == 1", "inputs has no 'nothing'"),
        ("inputs.severity * 1.5 > 2.0", "cannot be asked of a whole number and a number"),
        ("1 / inputs.zero == 1", "divides by zero"),
        (
            "inputs.many.all(a, inputs.many.all(b, inputs.many.all(c, a + b + c > -1)))",
            "Iteration budget exceeded",
        ),
    ],
)
def test_an_error_of_cel_is_an_error_and_says_what_it_was(ask: Callable[..., Any], text: str, why: str):
    """Also one that costs too much: it is cut off, and the loop goes on."""
    with pytest.raises(BadCondition, match=why):
        ask(text, severity=3, zero=0, many=list(range(300)))


def test_only_the_outputs_that_are_named_are_looked_at(seen: Callable[..., Any]):
    """A large output of another step costs nothing."""
    looked: list[int] = []

    class Values(seen):  # type: ignore[misc,valid-type]
        def output(self, step_no: int) -> Any:
            looked.append(step_no)
            return 1

    closure = compile_condition("steps.parse.output == 1", no=2, numbers=NUMBERS, needs=NEEDS)
    assert closure(Values())
    assert looked == [0]


@pytest.mark.parametrize(
    ("when", "told"),
    [
        ('"foo == 1"', "`foo` is not known (character 1, at `foo == 1`)"),
        ('"inputs.a +"', "it ends too early after `+`"),
        ('"size(inputs)"', "it gives INT, not true or false"),
        ('"steps.parze.output == 1"', "step 'parze', which does not exist"),
        ("\"steps.scan.state == 'x'\"", "is the output of step 'scan' itself"),
        (DEEP, "recursion limit exceeded"),
        ('""', "expected text of 1 to 10,000 characters"),
    ],
)
def test_what_is_no_condition_is_a_problem_with_its_place(
    refused: Callable[..., DefinitionError], when: str, told: str
):
    """Told when the workflow is read, not when the step is reached."""
    error = refused(f"name: w\nsteps:{TWO % when}")
    assert told in str(error)
    assert error.problems[0].path == "steps[1].when"
    assert error.problems[0].line == 4


def test_a_condition_may_only_look_at_what_comes_before(refused: Callable[..., DefinitionError]):
    """As a template may."""
    error = refused(
        "name: w\nsteps:\n  - {key: a, agent: x}\n"
        "  - {key: b, agent: x, when: \"steps.a.state == 'failed'\"}\n"
    )
    assert "the condition looks up 'a', which need not run before 'b'" in str(error)


@pytest.mark.parametrize(
    "text",
    [
        "true // it's said of steps.nobody\n && steps.parse.state == 'completed'",
        "// steps.nobody, steps[key], inputs.nobody\nsteps.parse.state == 'completed'",
        "'// no comment' != '' && steps.parse.state == 'completed'",
    ],
)
def test_what_a_comment_says_is_not_asked_for(ask: Callable[..., Any], text: str):
    """Nor does an apostrophe in it begin a text."""
    assert references(text) == ({"parse"}, False)
    assert inputs_taken(text) == set()
    assert ask(text) is True


def test_a_misspelt_step_is_told_with_the_nearest(refused: Callable[..., DefinitionError]):
    """Whoever meant another one sees it at once."""
    error = refused(f"name: w\nsteps:{TWO % 'steps.parze.output'}")
    assert error.problems[0].suggestion == "parse"


def test_without_the_library_there_is_one_clear_problem(
    monkeypatch: pytest.MonkeyPatch, refused: Callable[..., DefinitionError]
):
    """However many conditions there are; and a stored plan says what is missing."""
    text = f"name: w\nsteps:{TWO % 'inputs.a'}  - {{key: c, agent: a, when: inputs.b}}\n"
    definition = Workflow.parse(text).definition
    monkeypatch.setitem(sys.modules, "cel_expr_python", None)
    conditions._environment.cache_clear()
    conditions._compile.cache_clear()
    try:
        (problem,) = refused(text).problems
        assert problem.message == 'conditions need an extra: pip install "perdure[conditions]"'
        plan = compile_plan(definition, agents=Agents(), workflow_no=1, revision="r")
        assert "perdure[conditions]" in plan.missing
        with pytest.raises(ConditionsNotInstalled):
            conditions.check_condition("true")
    finally:
        monkeypatch.undo()
        conditions._environment.cache_clear()


def test_a_condition_is_part_of_the_revision_and_prints_as_it_was_read():
    """Another condition is another workflow."""
    text = f"name: w\nsteps:{TWO % 'inputs.a'}"
    workflow = Workflow.parse(text)
    assert Workflow.parse(workflow.to_yaml()).revision == workflow.revision
    assert workflow.revision != Workflow.parse(text.replace("inputs.a", "inputs.b")).revision


async def waits(a: int) -> bool:
    """No condition: it would have to be awaited."""
    return a > 1


def test_a_condition_in_python_is_a_plain_function_whose_parameters_are_dependencies():
    """Named like the steps; the others are inputs."""
    workflow = Workflow("w")

    @workflow.step
    def first() -> int:
        return 1

    @workflow.step(when=lambda first, limit=0: first > limit)
    def second() -> int:
        return 2

    (step,) = workflow.definition.steps[1:]
    assert step.dependencies == ("first",)
    assert step.when is not None
    assert step.when.endswith("<lambda>#w.second.when")
    assert set(workflow.functions) == {step.when, *(each.agent for each in workflow.definition.steps)}
    workflow.agent_step("third", agent="x", when=waits)
    with pytest.raises(DefinitionError, match="a condition is a plain def without a StepContext"):
        _ = workflow.definition
