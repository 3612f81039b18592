"""What is told before any step runs: agents that are missing, inputs that are."""

from __future__ import annotations

import msgspec
import pytest

from perdure.runtime.agents import Agents
from perdure.runtime.language import InputError, TemplateError, Workflow, check_agents, check_context
from perdure.runtime.language.checking import misspelt_inputs

REVIEW = Workflow.parse(
    """
    name: review
    steps:
      - {key: parse-changes, agent: parser, prompt: "Parse {{filePath}}"}
      - key: report
        agent: writer
        dependencies: [parse-changes]
        prompt: "{{parse-changes.n}} {{user.name}}"
    """
).definition


@pytest.fixture
def agents() -> Agents:
    """A parser and a writer."""
    registry = Agents()

    @registry.agent("parser")
    def parse(prompt: str) -> dict:
        return {"n": prompt}

    @registry.agent("writer")
    def write(prompt: str, parse_changes: dict, lines: int, style: str = "plain") -> str:
        return f"{prompt} {parse_changes} {lines} {style}"

    return registry


def test_a_context_with_all_inputs_passes(agents):
    """Defaults need not be given."""
    check_context(REVIEW, {"filePath": "a.py", "user": {"name": "Jo"}, "lines": 3}, agents)


@pytest.mark.parametrize(
    ("context", "words"),
    [
        ({"user": {"name": "x"}, "lines": 1}, "{{filePath}} is neither a step nor an input"),
        ({"filepath": "a", "user": {"name": "x"}, "lines": 1}, "(did you mean 'filepath'?)"),
        ({"filePath": "a", "user": {}, "lines": 1}, "{{user.name}} has no 'name': it is empty there"),
    ],
)
def test_templates_are_checked_against_the_context(agents, context, words):
    """The path, and what is there."""
    with pytest.raises(TemplateError) as caught:
        check_context(REVIEW, context, agents)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({}, "parameter 'lines' takes the input 'lines'"),
        ({"lines": "many"}, "cannot take 'many': Expected `int`"),
        ({"lines": 1, "report": 2}, "the context key 'report' is also the key of a step"),
    ],
)
def test_parameters_are_checked_against_the_context(agents, extra, words):
    """Missing ones, wrong ones, and keys that are steps."""
    with pytest.raises(InputError) as caught:
        check_context(REVIEW, {"filePath": "a.py", "user": {"name": "Jo"}} | extra, agents)
    assert words in str(caught.value)


def test_everything_is_reported_at_once(agents):
    """One error, one line for each."""
    with pytest.raises(TemplateError) as caught:
        check_context(REVIEW, {"report": 1}, agents)
    assert len(caught.value.problems) == 4


def test_without_agents_only_templates_are_checked():
    """A client that cannot perform the steps can still start them."""
    check_context(REVIEW, {"filePath": "a.py", "user": {"name": "Jo"}}, Agents())
    with pytest.raises(TemplateError):
        check_context(REVIEW, {}, Agents())


def test_unknown_agents_are_problems_with_the_nearest_name(agents):
    """As many as there are."""
    definition = Workflow.parse("name: w\nsteps: [{key: a, agent: writr}, {key: b, agent: '?'}]").definition
    problems = check_agents(definition, agents)
    assert [problem.path for problem in problems] == ["steps[0].agent", "steps[1].agent"]
    assert "did you mean 'writer'" in str(problems[0])


def test_an_output_that_is_not_among_the_dependencies_is_a_problem(agents):
    """The agent's parameter is called like a step that need not have run."""
    definition = Workflow.parse(
        "name: w\nsteps:\n- {key: parse-changes, agent: parser}\n- {key: b, agent: writer}\n"
    ).definition
    (problem,) = check_agents(definition, agents)
    assert "takes the output of 'parse-changes', which is not among its dependencies" in str(problem)


def test_a_workflow_whose_agents_are_here_has_no_problems(agents):
    """Nothing to say."""
    assert check_agents(REVIEW, agents) == []


@pytest.mark.parametrize(
    ("extra", "found"),
    [
        ({"styl": "terse"}, [("styl", "style")]),
        ({"style": "terse", "styl": "x"}, []),
        ({"branch": "main"}, []),
        ({}, []),
    ],
)
def test_an_input_that_nearly_has_the_name_of_one_not_given_is_found(agents, extra, found):
    """What nothing reads and looks like nothing is left in peace: a context may hold more."""
    context = {"filePath": "a.py", "user": {"name": "Jo"}, "lines": 3} | extra
    assert list(misspelt_inputs(REVIEW, context, agents)) == found


def test_an_input_that_nearly_has_the_name_of_a_declared_one_is_found(agents):
    """A declared default would otherwise stand in for what was given, without a word."""
    definition = Workflow.parse("""
        name: declared
        inputs: {properties: {env: {type: string, default: dev}}}
        steps: [{key: nap, sleep: 1s}]
    """).definition
    assert list(misspelt_inputs(definition, {"evn": "prod"}, agents)) == [("evn", "env")]
    assert list(misspelt_inputs(definition, {"env": "prod"}, agents)) == []


def test_an_input_that_the_definition_mentions_is_not_misspelt(agents):
    """A condition may read what no function asks for."""
    (parse, write) = REVIEW.steps
    definition = msgspec.structs.replace(
        REVIEW, steps=(parse, msgspec.structs.replace(write, when="styl == 'terse'"))
    )
    assert list(misspelt_inputs(definition, {"styl": "terse"}, agents)) == []
