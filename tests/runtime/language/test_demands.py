"""What is told before any step runs: inputs that are missing or not as they have to be."""

from __future__ import annotations

import pytest

from perdure.runtime.agents import Agents
from perdure.runtime.language import InputError, TemplateError, Workflow, check_context
from perdure.runtime.language.demands import Contexts


def test_a_context_with_all_inputs_passes(review, agents):
    """Defaults need not be given."""
    check_context(review, {"filePath": "a.py", "user": {"name": "Jo"}, "lines": 3}, agents)


@pytest.mark.parametrize(
    ("context", "words"),
    [
        ({"user": {"name": "x"}, "lines": 1}, "{{filePath}} is neither a step nor an input"),
        ({"filepath": "a", "user": {"name": "x"}, "lines": 1}, "(did you mean 'filepath'?)"),
        ({"filePath": "a", "user": {}, "lines": 1}, "{{user.name}} has no 'name': it is empty there"),
    ],
)
def test_templates_are_checked_against_the_context(review, agents, context, words):
    """The path, and what is there."""
    with pytest.raises(TemplateError) as caught:
        check_context(review, context, agents)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({}, "parameter 'lines' takes the input 'lines'"),
        ({"lines": "many"}, "cannot take 'many': Expected `int`"),
        ({"lines": 1, "report": 2}, "the context key 'report' is also the key of a step"),
    ],
)
def test_parameters_are_checked_against_the_context(review, agents, extra, words):
    """Missing ones, wrong ones, and keys that are steps."""
    with pytest.raises(InputError) as caught:
        check_context(review, {"filePath": "a.py", "user": {"name": "Jo"}} | extra, agents)
    assert words in str(caught.value)


def test_everything_is_reported_at_once(review, agents):
    """One error, one line for each."""
    with pytest.raises(TemplateError) as caught:
        check_context(review, {"report": 1}, agents)
    assert len(caught.value.problems) == 4


def test_without_agents_only_templates_are_checked(review):
    """A client that cannot perform the steps can still start them."""
    check_context(review, {"filePath": "a.py", "user": {"name": "Jo"}}, Agents())
    with pytest.raises(TemplateError):
        check_context(review, {}, Agents())


def test_agents_that_are_registered_later_are_asked_for_what_they_take(agents):
    """What was found out before is found out again, and only then."""
    contexts = Contexts(Workflow.parse("name: w\nsteps: [{key: a, agent: late}]").definition)
    contexts.check({}, agents)

    @agents.agent("late")
    def late(depth: int) -> int:
        return depth

    with pytest.raises(InputError, match="'depth'"):
        contexts.check({}, agents)
    contexts.check({"depth": 1}, agents)
    contexts.check({}, Agents())
