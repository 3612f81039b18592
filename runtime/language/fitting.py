"""What functions, as they are here, ask of the executions of a revision, which may be older than they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from perdure.actors.instructions.plan import Demand
from perdure.runtime.agents.registry import Agent, Agents
from perdure.runtime.language.beside import EXECUTION, beside_the_graph, looking_at, spellings
from perdure.runtime.language.capable import asked_by, performers_of
from perdure.runtime.language.definition import Definition, StepDefinition
from perdure.runtime.language.questions import names_of, questions_of

REVISION_SHOWN: Final = 12  # characters of one that has no version


class Call(msgspec.Struct, frozen=True):
    """A step calls one of these functions, which it gives `names` beside the inputs."""

    step_no: int
    step: StepDefinition
    agents: Sequence[Agent]
    names: frozenset[str]


def calls_of(definition: Definition, agents: Agents) -> Iterator[Call]:
    """Every call of a function that is here, of the graph first, numbered as in the plan."""
    for no, step in enumerate(definition.steps):
        yield Call(no, step, performers_of(step, agents), names_of(step))
        for question in questions_of(step):
            asked = agents.find(question.text) if question.is_python else None
            if asked is not None:
                yield Call(no, step, (asked,), frozenset(question.names))
    keys = spellings(step.key for step in definition.steps)
    for no, each in enumerate(beside_the_graph(definition), start=len(definition.steps)):
        agent = agents.find(each.agent)
        if agent is not None:
            yield Call(no, looking_at(each, agent.parameters, keys), (agent,), frozenset({EXECUTION}))


def compile_demands(definition: Definition, agents: Agents, *, revision: str) -> tuple[Demand, ...]:
    """What is asked of the context by those calls that cannot do without it."""
    version = f"revision {revision[:REVISION_SHOWN]}" if definition.version is None else definition.version
    found = []
    for call in calls_of(definition, agents):
        choices = {agent.name: asked_by(call.step, agent, names=call.names) for agent in call.agents}
        if choices and all(choices.values()):
            place = f"step {call.step.key!r} of {definition.name} {version}"
            found.append(Demand(step_no=call.step_no, place=place, choices=choices))
    return tuple(found)
