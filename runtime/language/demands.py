"""What a definition takes from the context of an execution: found out once, asked of each context.

Templates look inputs up, parameters of functions are filled with them. Which they are depends on the
definition and on the agents, not on the context, and executions are started by the thousand.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from perdure.runtime.agents.binding import Convert, converter, missing_input
from perdure.runtime.agents.errors import InputError
from perdure.runtime.agents.registry import Agent, Agents
from perdure.runtime.agents.signature import Parameter
from perdure.runtime.language.beside import EXECUTION, beside_the_graph
from perdure.runtime.language.calls import lookups
from perdure.runtime.language.capable import needs_of, performers_of
from perdure.runtime.language.checking import keys_of, signature_problems, step_taken
from perdure.runtime.language.definition import Definition, StepDefinition
from perdure.runtime.language.errors import TemplateError
from perdure.runtime.language.findings import Findings
from perdure.runtime.language.fitting import calls_of
from perdure.runtime.language.giving import expression_of
from perdure.runtime.language.inputs import problems_of
from perdure.runtime.language.questions import templates_of
from perdure.runtime.language.templates import Path, look_up, parse_template
from perdure.runtime.language.values import paths_in
from perdure.runtime.near import nearest


class Looked(msgspec.Struct, frozen=True):
    """What templates of a step (or of none: the workflow's own) look up; `known` is given to it later."""

    paths: Sequence[Path]
    step: str
    known: frozenset[str]


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """An input that a parameter of a step's function takes, unless it is `known` from elsewhere."""

    parameter: Parameter
    step: str
    convert: Convert
    is_needed: bool
    known: frozenset[str]


class Demands:
    """All of it, of one definition, as long as the agents stay what they are."""

    def __init__(self, definition: Definition, agents: Agents) -> None:
        """Find it out."""
        self._inputs = definition.inputs
        self._agents = agents
        self._changes = agents.changes
        self._keys = keys_of(definition)
        self._looked = tuple(looked for looked in _looked(definition) if looked.paths)
        self._unfit: list[str] = []  # what functions ask for that no context can give
        self._taken: list[Taken] = []
        for step in definition.steps:
            for agent in performers_of(step, agents):
                self._unfit += signature_problems(step, agent, self._keys)
        for call in calls_of(definition, agents):
            for agent in call.agents:
                self._add(call.step, agent, known=call.names)

    def hold_with(self, agents: Agents) -> bool:
        """Whether they are what is demanded with these agents as they are now."""
        return agents is self._agents and agents.changes == self._changes

    def _add(self, step: StepDefinition, agent: Agent, *, known: frozenset[str]) -> None:
        self._taken += [
            Taken(
                parameter=parameter,
                step=step.key,
                convert=converter(parameter, step=step.key),
                is_needed=not parameter.has_default and step_taken(parameter, step, self._keys) is None,
                known=known,
            )
            for parameter in needs_of(step, agent).inputs
        ]

    def check(self, context: Mapping[str, Any], *, missing: Sequence[str] = ()) -> None:
        """Refuse a context with which some step could not run, before any step runs.

        Raises TemplateError where a template finds nothing, else InputError, with all there is to say:
        `missing` agents, too, which alone are an UnknownAgent. Steps whose agents are not registered
        here are checked by their templates only.
        """
        clashes = [
            f"the context key {key!r} is also the key of a step: call the input something else"
            for key in context
            if self._keys.get(key) == key
        ]
        declared = problems_of(self._inputs, context)
        told = {problem.name for problem in declared}
        templates = [text for looked in self._looked for text in self._not_found(looked, context, told)]
        inputs = [problem.message for problem in declared] + self._unfit
        inputs += [text for taken in self._taken for text in _not_given(taken, context, told)]
        unknown = [str(self._agents.unknown(name)) for name in missing]
        if templates:
            raise TemplateError([*clashes, *templates, *inputs, *unknown])
        if clashes or inputs:
            raise InputError([*clashes, *inputs, *unknown])
        if missing:
            raise self._agents.unknown(*missing)

    def _not_found(
        self, looked: Looked, context: Mapping[str, Any], told: Collection[str | None]
    ) -> Iterator[str]:
        """Templates of inputs that the context does not have, but for those that were `told` of."""
        whose = f"step {looked.step!r}" if looked.step else "the outputs"
        for path in looked.paths:
            first = path.segments[0]
            if self._keys.get(first) == first or first in told or first in looked.known:
                continue
            if first not in context:
                near = nearest(first, [*context, *self._keys])
                hint = f" (did you mean {near!r}?)" if near else ""
                yield f"{whose}: {path} is neither a step nor an input of this execution{hint}"
                continue
            try:
                look_up(context, path.segments, path=path, step=looked.step)
            except TemplateError as error:
                yield str(error)


class Contexts:
    """The contexts that executions of one definition are started with."""

    __slots__ = ("_definition", "_demands")

    def __init__(self, definition: Definition) -> None:
        """Nothing is found out before the first of them."""
        self._definition = definition
        self._demands: Demands | None = None

    def check(self, context: Mapping[str, Any], agents: Agents, *, missing: Sequence[str] = ()) -> None:
        """Refuse one with which some step could not run; see `Demands.check`."""
        if self._demands is None or not self._demands.hold_with(agents):
            self._demands = Demands(self._definition, agents)
        self._demands.check(context, missing=missing)


def check_context(
    definition: Definition, context: Mapping[str, Any], agents: Agents, *, missing: Sequence[str] = ()
) -> None:
    """Refuse a context with which some step could not run; see `Demands.check`."""
    Demands(definition, agents).check(context, missing=missing)


def _looked(definition: Definition) -> Iterator[Looked]:
    """What the templates of a definition look up."""
    for step in definition.steps:
        for _, _, text, known in templates_of(step):
            yield Looked(parse_template(text).paths, step.key, known)
        if step.workflow is not None:
            yield Looked([path for _, path in lookups(step, Findings())], step.key, frozenset())
    for each in beside_the_graph(definition):
        if each.step.prompt is not None:
            yield Looked(parse_template(each.step.prompt).paths, each.step.key, frozenset({EXECUTION}))
    for value in (definition.outputs or {}).values():
        if expression_of(value) is None:
            yield Looked([path for _, path in paths_in(value, (), Findings())], "", frozenset())


def _not_given(taken: Taken, context: Mapping[str, Any], told: Collection[str | None]) -> Iterator[str]:
    """What the context lacks for a parameter, or has in another type.

    Not again what was `told` of: that is not as declared, whoever takes it.
    """
    wants = taken.parameter.wants
    if wants in told or wants in taken.known:
        return
    if wants in context:
        try:
            taken.convert(context[wants])
        except InputError as error:
            yield str(error)
    elif taken.is_needed:
        yield missing_input(taken.parameter, step=taken.step)
