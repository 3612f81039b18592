"""What can only be told once the agents or the context of an execution are known."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from perdure.runtime.agents.binding import Needs, converter, missing_input, sort_parameters
from perdure.runtime.agents.errors import BadSignature, InputError
from perdure.runtime.agents.registry import Agent, Agents, mode_of
from perdure.runtime.agents.signature import Parameter
from perdure.runtime.language.beside import EXECUTION, beside_the_graph, looking_at, spellings
from perdure.runtime.language.calls import lookups
from perdure.runtime.language.capable import missing_performer, performers_of
from perdure.runtime.language.definition import Definition, StepDefinition
from perdure.runtime.language.errors import Problem, TemplateError
from perdure.runtime.language.findings import Findings, Locate, nowhere
from perdure.runtime.language.giving import expression_of
from perdure.runtime.language.inputs import problems_of
from perdure.runtime.language.printing import to_json
from perdure.runtime.language.questions import names_of, questions_of, templates_of
from perdure.runtime.language.templates import Path, look_up, parse_template
from perdure.runtime.language.values import paths_in
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
            for message in _signature_problems(step, agent, keys):
                findings.add(path, message)
    for each in beside_the_graph(definition):
        if agents.find(each.agent) is None:
            message = f"{each.step.key}: {agents.unknown(each.agent)}"
            findings.add((*each.path, "agent"), message.partition("; ")[0])
    return list(findings.problems)


def check_context(
    definition: Definition, context: Mapping[str, Any], agents: Agents, *, missing: Sequence[str] = ()
) -> None:
    """Refuse a context with which some step could not run, before any step runs.

    Raises TemplateError where a template finds nothing, else InputError, with all there is to say:
    `missing` agents, too, which alone are an UnknownAgent. Steps whose agents are not registered
    here are checked by their templates only.
    """
    keys = keys_of(definition)
    clashes = [
        f"the context key {key!r} is also the key of a step: call the input something else"
        for key in context
        if keys.get(key) == key
    ]
    templates: list[str] = []
    declared = problems_of(definition.inputs, context)
    inputs = [problem.message for problem in declared]
    told = {problem.name for problem in declared}
    for paths, step_key, known in _lookups(definition):
        templates += _template_problems(paths, step_key, keys, context, told=told | known)
    for step in definition.steps:
        for agent in performers_of(step, agents):
            inputs += _signature_problems(step, agent, keys)
            inputs += _values_problems(step, agent, keys, context, told=told | names_of(step))
        for question in questions_of(step):
            asked = agents.find(question.text) if question.is_python else None
            if asked is not None:
                inputs += _values_problems(step, asked, keys, context, told=told | {*question.names})
    inputs += _problems_beside(definition, agents, keys, context, told=told | {EXECUTION})
    unknown = [str(agents.unknown(name)) for name in missing]
    if templates:
        raise TemplateError([*clashes, *templates, *inputs, *unknown])
    if clashes or inputs:
        raise InputError([*clashes, *inputs, *unknown])
    if missing:
        raise agents.unknown(*missing)


def _problems_beside(
    definition: Definition,
    agents: Agents,
    keys: Keys,
    context: Mapping[str, Any],
    *,
    told: Collection[str | None],
) -> Iterator[str]:
    """What the context lacks for hooks and compensations."""
    for each in beside_the_graph(definition):
        agent = agents.find(each.agent)
        if agent is not None:
            step = looking_at(each, agent.parameters, keys)
            yield from _values_problems(step, agent, keys, context, told=told)


def misspelt_inputs(
    definition: Definition, context: Mapping[str, Any], agents: Agents
) -> Iterator[tuple[str, str]]:
    """Context keys that nothing reads, each with the input not given whose name is nearly the same.

    Such a key is no error: a context may hold what only `StepContext.context` is asked for. A key that the
    definition mentions anywhere, as in a condition, counts as read.
    """
    keys, wanted = keys_of(definition), set[str]()
    for step in definition.steps:
        asked = (agents.find(question.text) for question in questions_of(step))
        for agent in (*performers_of(step, agents), *asked):
            if agent is not None:
                wanted |= {parameter.wants for parameter in _needs(step, agent).inputs}
    for each in beside_the_graph(definition):
        agent = agents.find(each.agent)
        if agent is not None:
            wanted |= {parameter.wants for parameter in _needs(each.step, agent).inputs}
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


def _step_taken(parameter: Parameter, step: StepDefinition, keys: Keys) -> str | None:
    """The other step whose output the parameter takes."""
    key = keys.get(parameter.wants)
    return key if key is not None and key != step.key and parameter.takes(key) else None


def _needs(step: StepDefinition, agent: Agent) -> Needs:
    return sort_parameters(
        agent.parameters, dependencies=step.dependencies, has_prompt=step.prompt is not None
    )


def _signature_problems(step: StepDefinition, agent: Agent, keys: Keys) -> Iterator[str]:
    """What the agent's function asks for that the step cannot give."""
    if step.process:
        try:
            mode_of(agent.function, process=True)
        except BadSignature as error:
            yield f"step {step.key!r}: {error}"
    for parameter in _needs(step, agent).inputs:
        taken = _step_taken(parameter, step, keys)
        if taken is not None and not parameter.has_default:
            yield (
                f"step {step.key!r}: parameter {parameter.name!r} of agent {agent.name!r} "
                f"takes the output of {taken!r}, which is not among its dependencies"
            )


def _lookups(definition: Definition) -> Iterator[tuple[Sequence[Path], str, frozenset[str]]]:
    """What templates look up, of which step they are, and what is given to it when the time comes.

    The workflow's own are of none.
    """
    for step in definition.steps:
        for _, _, text, known in templates_of(step):
            yield parse_template(text).paths, step.key, known
        if step.workflow is not None:
            yield [path for _, path in lookups(step, Findings())], step.key, frozenset()
    for each in beside_the_graph(definition):
        if each.step.prompt is not None:
            yield parse_template(each.step.prompt).paths, each.step.key, frozenset({EXECUTION})
    for value in (definition.outputs or {}).values():
        if expression_of(value) is None:
            yield [path for _, path in paths_in(value, (), Findings())], "", frozenset()


def _template_problems(
    paths: Sequence[Path], step: str, keys: Keys, context: Mapping[str, Any], *, told: Collection[str | None]
) -> Iterator[str]:
    """Templates of inputs that the context does not have, but for those that were `told` of."""
    whose = f"step {step!r}" if step else "the outputs"
    for path in paths:
        first = path.segments[0]
        if keys.get(first) == first or first in told:
            continue
        if first not in context:
            near = nearest(first, [*context, *keys])
            hint = f" (did you mean {near!r}?)" if near else ""
            yield f"{whose}: {path} is neither a step nor an input of this execution{hint}"
            continue
        try:
            look_up(context, path.segments, path=path, step=step)
        except TemplateError as error:
            yield str(error)


def _values_problems(
    step: StepDefinition,
    agent: Agent,
    keys: Keys,
    context: Mapping[str, Any],
    *,
    told: Collection[str | None],
) -> Iterator[str]:
    """What the context lacks for the parameters that take inputs, or has in another type.

    Not again what was `told` of: that is not as declared, whoever takes it, or comes from elsewhere.
    """
    for parameter in _needs(step, agent).inputs:
        if parameter.wants in told:
            continue
        if parameter.wants in context:
            try:
                converter(parameter, step=step.key)(context[parameter.wants])
            except InputError as error:
                yield str(error)
        elif not parameter.has_default and _step_taken(parameter, step, keys) is None:
            yield missing_input(parameter, step=step.key)
