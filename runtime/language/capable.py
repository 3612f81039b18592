"""Steps that ask for capabilities instead of an agent: who may perform them here."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from perdure.actors.instructions.plan import Candidate, Inputs, Mode, Perform
from perdure.runtime.agents.binding import Needs, sort_parameters
from perdure.runtime.agents.registry import Agent, Agents, capable_of
from perdure.runtime.language import names
from perdure.runtime.language.definition import StepDefinition
from perdure.runtime.language.findings import Path
from perdure.runtime.language.questions import names_of
from perdure.runtime.near import quoted

Closures = Callable[[Agent], tuple[Inputs, Perform, Mode]]


def odd_performers(step: StepDefinition) -> Iterator[tuple[Path, str]]:
    """What is wrong with who is to perform a step: where in the step, and a sentence."""
    if step.agent is not None and "{{" in step.agent:
        told = "is a template, and an agent is a name: to have one chosen, say capabilities: […] instead"
        yield ("agent",), f"{quoted(step.agent)} {told}"
    elif step.agent is not None and not names.is_label(step.agent):
        yield ("agent",), f"{quoted(step.agent)} is not an agent name, expected visible text"
    for no, capability in enumerate(step.capabilities or ()):
        if not names.is_label(capability):
            yield ("capabilities", no), f"{quoted(capability)} is not a capability, expected visible text"
        elif capability in (step.capabilities or ())[:no]:
            yield ("capabilities", no), f"{quoted(capability)} is there twice"


def performers_of(step: StepDefinition, agents: Agents) -> Sequence[Agent]:
    """The agents that may perform a step here: the one it names, or all that are capable, by name."""
    if step.capabilities is not None:
        return sorted(agents.by_capability(*step.capabilities), key=lambda agent: agent.name)
    found = None if step.agent is None else agents.find(step.agent)
    return () if found is None else (found,)


def needs_of(step: StepDefinition, agent: Agent) -> Needs:
    """Where each parameter of the agent's function comes from, in that step."""
    return sort_parameters(
        agent.parameters, dependencies=step.dependencies, has_prompt=step.prompt is not None
    )


def asked_by(step: StepDefinition, agent: Agent, *, names: Collection[str]) -> Mapping[str, str]:
    """The inputs without which the agent's function cannot be called in that step, and who takes each.

    `names` are what the step gives it besides.
    """
    inputs = [each for each in needs_of(step, agent).inputs if not each.has_default]
    return {each.wants: each.name for each in inputs if each.wants not in names}


def missing_performer(step: StepDefinition, agents: Agents) -> str | None:
    """What a step lacks here, as it is called in messages; None where somebody can perform it."""
    if step.agent is None and step.capabilities is None:
        return None
    if performers_of(step, agents):
        return None
    return step.agent if step.capabilities is None else capable_of(step.capabilities)


def compile_candidates(
    step: StepDefinition, agents: Agents, *, closures: Closures
) -> Callable[[], Sequence[Candidate]] | None:
    """Who may be chosen at the moment it is asked, agents that were registered later among them."""
    if step.capabilities is None:
        return None
    known: dict[str, tuple[Agent, Candidate]] = {}

    def candidates() -> Sequence[Candidate]:
        found = []
        for agent in performers_of(step, agents):
            if agent.name not in known or known[agent.name][0] is not agent:
                inputs, perform, mode = closures(agent)
                candidate = Candidate(
                    agent=agent.name,
                    asks=frozenset(asked_by(step, agent, names=names_of(step))),
                    inputs=inputs,
                    perform=perform,
                    mode=mode,
                    guard=agent.guard,
                )
                known[agent.name] = (agent, candidate)
            found.append(known[agent.name][1])
        return found

    return candidates
