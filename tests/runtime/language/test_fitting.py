"""What functions ask of the executions of a revision: only what nothing but the context could give them."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.actors.instructions.plan import Demand
from perdure.runtime.agents import Agents
from perdure.runtime.language import Workflow
from perdure.runtime.language.fitting import compile_demands

HEAD = "name: w\nversion: '3'\nsteps:\n- {key: read, agent: quiet}\n"


def demands(steps: str, **functions: Any) -> list[tuple[int, dict[str, dict[str, str]]]]:
    """What is asked of the context, by the number of the step."""
    agents = Agents()
    agents.add("quiet", lambda: None)
    for name, function in functions.items():
        agents.add(name, function, capabilities={"post"})
    definition = Workflow.parse(HEAD + steps).definition
    found = compile_demands(definition, agents, revision="a" * 64)
    return [(each.step_no, {name: dict(asked) for name, asked in each.choices.items()}) for each in found]


@pytest.mark.parametrize(
    ("step", "function"),
    [
        ("agent: f, dependencies: [read], prompt: hello", lambda read, prompt: None),
        ("agent: f", lambda read=1, **others: None),
        ("agent: f, forEach: {items: [1], as: page}", lambda page, index: None),
        ("agent: f, repeat: {while: 'iteration < 2', maxIterations: 3}", lambda iteration, previous: None),
        ("agent: quiet, compensate: {agent: f}", lambda read, execution: None),
        ("agent: somebody", lambda read: None),
    ],
    ids=["dependency", "default", "item", "iteration", "beside", "missing"],
)
def test_what_a_step_gives_is_not_asked_for(step: str, function: Any):
    """Nor what has a default; and of code that is not here nothing is known."""
    assert demands(f"- {{key: a, {step}}}", f=function) == []


def test_what_only_the_context_could_give_is():
    """Also the output of a step that is not among the dependencies; beside the graph all of them are."""
    steps = "- {key: a, agent: f, compensate: {agent: g}}\nhooks: {finally: {agent: g}}\n"
    found = demands(steps, f=lambda read, page: None, g=lambda read, page: None)
    assert found == [
        (1, {"f": {"read": "read", "page": "page"}}),
        (2, {"g": {"page": "page"}}),
        (3, {"g": {"page": "page"}}),
    ]


def test_of_several_who_are_capable_one_has_to_find_what_it_asks_for():
    """Where one of them asks for nothing, nothing is asked."""
    step = "- {key: a, capabilities: [post]}"
    assert demands(step, f=lambda page: None, g=lambda ink: None) == [
        (1, {"f": {"page": "page"}, "g": {"ink": "ink"}})
    ]
    assert demands(step, f=lambda page: None, g=lambda: None) == []


def test_a_demand_is_told_of_each_who_could_be_called_or_of_nobody():
    """Any one of them is enough."""
    demand = Demand(
        step_no=0, place="step 'a' of w 3", choices={"f": {"x": "x", "y": "of y"}, "g": {"z": "z"}}
    )
    assert demand.lacks({"x": 1}) == (
        "f as it was for step 'a' of w 3 (the one here needs 'of y', which nothing gives it there)",
        "g as it was for step 'a' of w 3 (the one here needs 'z', which nothing gives it there)",
    )
    assert demand.lacks({"z": 1}) == ()
    assert demand.inputs == {"x", "y", "z"}
