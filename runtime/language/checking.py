"""What can only be told once the agents are known: whether the steps and they fit together."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from perdure.runtime.agents.errors import BadSignature
from perdure.runtime.agents.registry import Agent, Agents, mode_of
from perdure.runtime.agents.signature import Parameter
from perdure.runtime.language.beside import beside_the_graph, spellings
from perdure.runtime.language.capable import missing_performer, needs_of, performers_of
from perdure.runtime.language.definition import Definition, StepDefinition
from perdure.runtime.language.errors import Problem
from perdure.runtime.language.findings import Findings, Locate, nowhere
from perdure.runtime.language.fitting import calls_of
from perdure.runtime.language.printing import to_json
from perdure.runtime.near import nearest

Keys = Mapping[str, str]


def check_agents(definition: Definition, agents: Agents, *, locate: Locate = nowhere) -> list[Problem]:
    """Return what is wrong between the steps and the agents: unknown ones, parameters nothing fills."""
    findings = Findings(locate)
    keys = keys_of(definition)
    for no, step in enumerate(definition.steps):
        path = ("steps", no, "agent" if step.capabilities is None else "capabilities")
        lack = missing_performer(step, agents)
        if lack is not None:
            message = f"step {step.key!r}: {agents.unknown(lack)}"
            findings.add(path, message.partition("; ")[0])
        for agent in performers_of(step, agents):
            for message in signature_problems(step, agent, keys):
                findings.add(path, message)
    for each in beside_the_graph(definition):
        if agents.find(each.agent) is None:
            message = f"{each.step.key}: {agents.unknown(each.agent)}"
            findings.add((*each.path, "agent"), message.partition("; ")[0])
    return list(findings.problems)


def misspelt_inputs(
    definition: Definition, context: Mapping[str, Any], agents: Agents
) -> Iterator[tuple[str, str]]:
    """Context keys that nothing reads, each with the input not given whose name is nearly the same.

    Such a key is no error: a context may hold what only `StepContext.context` is asked for. A key that the
    definition mentions anywhere, as in a condition, counts as read.
    """
    keys, wanted = keys_of(definition), set[str]()
    for call in calls_of(definition, agents):
        for agent in call.agents:
            wanted |= {parameter.wants for parameter in needs_of(call.step, agent).inputs}
    wanted |= set((definition.inputs or {}).get("properties", ()))
    mentioned = set(re.findall(r"\w+", to_json(definition)))
    for key in context:
        if key in wanted or key in mentioned:
            continue
        near = nearest(key, wanted - set(context) - set(keys))
        if near is not None:
            yield key, near


def keys_of(definition: Definition) -> Keys:
    """Return the step keys by every spelling a parameter may have for them; their own comes first."""
    return spellings(step.key for step in definition.steps)


def step_taken(parameter: Parameter, step: StepDefinition, keys: Keys) -> str | None:
    """The other step whose output the parameter takes."""
    key = keys.get(parameter.wants)
    return key if key is not None and key != step.key and parameter.takes(key) else None


def signature_problems(step: StepDefinition, agent: Agent, keys: Keys) -> Iterator[str]:
    """What the agent's function asks for that the step cannot give."""
    if step.process:
        try:
            mode_of(agent.function, process=True)
        except BadSignature as error:
            yield f"step {step.key!r}: {error}"
    for parameter in needs_of(step, agent).inputs:
        taken = step_taken(parameter, step, keys)
        if taken is not None and not parameter.has_default:
            yield (
                f"step {step.key!r}: parameter {parameter.name!r} of agent {agent.name!r} "
                f"takes the output of {taken!r}, which is not among its dependencies"
            )
