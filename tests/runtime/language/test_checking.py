"""What is told of steps and agents that do not fit together, and of inputs that are misspelt."""

from __future__ import annotations

import msgspec
import pytest

from perdure.runtime.language import Workflow, check_agents
from perdure.runtime.language.checking import misspelt_inputs


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


def test_a_workflow_whose_agents_are_here_has_no_problems(review, agents):
    """Nothing to say."""
    assert check_agents(review, agents) == []


@pytest.mark.parametrize(
    ("extra", "found"),
    [
        ({"styl": "terse"}, [("styl", "style")]),
        ({"style": "terse", "styl": "x"}, []),
        ({"branch": "main"}, []),
        ({}, []),
    ],
)
def test_an_input_that_nearly_has_the_name_of_one_not_given_is_found(review, agents, extra, found):
    """What nothing reads and looks like nothing is left in peace: a context may hold more."""
    context = {"filePath": "a.py", "user": {"name": "Jo"}, "lines": 3} | extra
    assert list(misspelt_inputs(review, context, agents)) == found


def test_an_input_that_nearly_has_the_name_of_a_declared_one_is_found(agents):
    """A declared default would otherwise stand in for what was given, without a word."""
    definition = Workflow.parse("""
        name: declared
        inputs: {properties: {env: {type: string, default: dev}}}
        steps: [{key: nap, sleep: 1s}]
    """).definition
    assert list(misspelt_inputs(definition, {"evn": "prod"}, agents)) == [("evn", "env")]
    assert list(misspelt_inputs(definition, {"env": "prod"}, agents)) == []


def test_an_input_that_the_definition_mentions_is_not_misspelt(review, agents):
    """A condition may read what no function asks for."""
    (parse, write) = review.steps
    definition = msgspec.structs.replace(
        review, steps=(parse, msgspec.structs.replace(write, when="styl == 'terse'"))
    )
    assert list(misspelt_inputs(definition, {"styl": "terse"}, agents)) == []
