"""Steps as they are declared in Python, and how their dependencies are told from their parameters.

Parameters can name steps that are declared later, so nothing is decided before the definition is
asked for: then every step and every key is known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from perdure.runtime.agents.errors import BadSignature
from perdure.runtime.agents.registry import PYTHON, mode_of
from perdure.runtime.agents.signature import (
    Function,
    Parameter,
    is_async,
    parameters_of,
    place_of,
    qualified_name,
)
from perdure.runtime.arguments import any_text, made_of, several
from perdure.runtime.language.definition import StepDefinition
from perdure.runtime.language.findings import Findings, Path, Place, nowhere
from perdure.runtime.language.policy import ForEach, Repeat, for_each_definition, repeat_definition

When = str | Function | None
After = Sequence[str | Function]
NAMELESS: Final = {"", "<lambda>"}  # what functions without a name are called


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A function that is asked something for a step: where in the step it is named, and how."""

    path: Path
    name: str
    function: Function


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """A declared step: everything that is known of it alone; `after` names steps or their functions."""

    step: StepDefinition
    function: Function | None = None
    asked: tuple[Asked, ...] = ()
    acting: tuple[Asked, ...] = ()
    after: tuple[str | Function, ...] = ()


def after_of(after: After | str | Function) -> tuple[str | Function, ...]:
    """What a step is ordered after; a single key or function is taken as one. Raises InvalidArgument."""
    return (after,) if callable(after) else several(after, what="after")


def agent_name(function: Function, *, workflow: str, key: str) -> str:
    """The agent name of a step's function.

    Lambdas and local functions share their qualified names, also those of several workflows that one
    function makes; so the workflow's name and the step's key are added to theirs.
    """
    name = f"{PYTHON}{qualified_name(function)}"
    return f"{name}#{workflow}.{key}" if "<" in name else name


def with_questions(
    draft: Draft,
    *,
    workflow: str,
    when: When = None,
    repeat: Repeat | None = None,
    for_each: ForEach | None = None,
    criteria: Sequence[str | Function] = (),
) -> Draft:
    """The draft with what is asked for it: an expression as it is, a function by its name.

    `criteria` are those of its gate, which has their reasons already.
    """
    any_text(draft.step.key, what="the key of a step")
    functions: list[Asked] = []

    def text(question: Any, *path: str | int) -> Any:
        if not callable(question):
            return question
        place = [str(part) for part in path if isinstance(part, int) or part == path[0]]
        name = agent_name(question, workflow=workflow, key=".".join([draft.step.key, *place]))
        functions.append(Asked(path=path, name=name, function=question))
        return name

    step = msgspec.structs.replace(draft.step, when=text(when, "when"))
    if repeat is not None:
        made_of(Repeat, repeat, what="repeat", example='Repeat(until="output > 3")')
        until, while_ = text(repeat.until, "repeat", "until"), text(repeat.while_, "repeat", "while")
        step = msgspec.structs.replace(step, repeat=repeat_definition(repeat, until=until, while_=while_))
    if step.gate is not None:
        texts = [text(each, "gate", "criteria", no, "when") for no, each in enumerate(criteria)]
        judged = zip(texts, step.gate.criteria, strict=True)
        found = tuple(msgspec.structs.replace(criterion, when=when) for when, criterion in judged)
        step = msgspec.structs.replace(step, gate=msgspec.structs.replace(step.gate, criteria=found))
    if for_each is not None:
        made_of(ForEach, for_each, what="for_each", example="ForEach(items=[1, 2])")
        items = text(for_each.items, "forEach", "items")
        step = msgspec.structs.replace(step, for_each=for_each_definition(for_each, items=items))
    return msgspec.structs.replace(draft, step=step, asked=tuple(functions))


class DraftPlaces:
    """Places a problem at the function of the step it is about."""

    def __init__(self, drafts: Sequence[Draft]) -> None:
        """`drafts` are the steps, in their order."""
        self._drafts = drafts

    def __call__(self, path: Path, *, at_key: bool) -> Place:
        """Return the file and line of the function, where the step has one."""
        match path:
            case ("steps", int(no), *_) if no < len(self._drafts):
                function = self._drafts[no].function
                place = place_of(function) if function is not None else None
                if place is not None:
                    return Place(place[0], place[1], None)
            case _:
                pass
        return nowhere(path, at_key=at_key)


def settle(drafts: Sequence[Draft], findings: Findings) -> tuple[StepDefinition, ...]:
    """Return the steps with their dependencies, adding what is wrong with their functions."""
    keys = [draft.step.key for draft in drafts]
    by_name = _by_parameter_name(drafts, findings)
    by_function = {id(draft.function): draft.step.key for draft in drafts if draft.function is not None}
    steps = []
    for no, draft in enumerate(drafts):
        wanted: dict[str, None] = dict.fromkeys(draft.step.dependencies)
        if draft.function is not None:
            wanted |= dict.fromkeys(_taken(no, draft, by_name, keys, findings))
        for asked in draft.asked:
            taken = _asked(no, draft, asked=asked, by_name=by_name, keys=keys, findings=findings)
            wanted |= dict.fromkeys(taken)
        wanted |= dict.fromkeys(_after(no, draft, by_function, findings))
        steps.append(msgspec.structs.replace(draft.step, dependencies=tuple(wanted)))
    return tuple(steps)


def _by_parameter_name(drafts: Sequence[Draft], findings: Findings) -> dict[str, str]:
    """The keys by the names parameters have for them; two keys with one such name are refused."""
    found: dict[str, str] = {}
    has_functions = any(draft.function is not None for draft in drafts)
    for no, draft in enumerate(drafts):
        key = draft.step.key
        if key in NAMELESS and draft.function is not None:
            findings.add(("steps", no, "key"), "the function has no name: give the step a key, key=…")
        other = found.setdefault(key.replace("-", "_"), key)
        if other != key and has_functions:
            findings.add(
                ("steps", no, "key"),
                f"steps {other!r} and {key!r} would be one and the same parameter name; rename one of them",
            )
    return found


def _taken(
    no: int, draft: Draft, by_name: Mapping[str, str], keys: Sequence[str], findings: Findings
) -> list[str]:
    """The steps whose outputs the function's parameters take. Its own name is an input."""
    function = draft.function
    assert function is not None
    try:
        mode_of(function, process=draft.step.process)
        parameters = parameters_of(function)
    except BadSignature as error:
        findings.add(("steps", no), f"step {draft.step.key!r}: {error}")
        return []
    return _steps_among(parameters, draft, by_name, keys)


def _asked(
    no: int,
    draft: Draft,
    *,
    asked: Asked,
    by_name: Mapping[str, str],
    keys: Sequence[str],
    findings: Findings,
) -> list[str]:
    """The steps whose outputs the parameters of what is asked take."""
    try:
        parameters = parameters_of(asked.function)
        if is_async(asked.function) or any(parameter.is_context for parameter in parameters):
            what = "what gives items" if asked.path[0] == "forEach" else "a condition"
            raise BadSignature(  # noqa: TRY301 - reported with those of its parameters
                qualified_name(asked.function), why=f"{what} is a plain def without a StepContext"
            )
    except BadSignature as error:
        findings.add(("steps", no, *asked.path), f"step {draft.step.key!r}: {error}")
        return []
    return _steps_among(parameters, draft, by_name, keys)


def _steps_among(
    parameters: Sequence[Parameter], draft: Draft, by_name: Mapping[str, str], keys: Sequence[str]
) -> list[str]:
    """The keys of the steps that parameters are named after."""
    taken = []
    exact = set(keys) if any(parameter.is_exact for parameter in parameters) else set()
    for parameter in parameters:
        key = by_name.get(parameter.wants) if not parameter.is_exact else None
        if parameter.is_exact and parameter.wants in exact:
            key = parameter.wants
        if key is not None and key != draft.step.key and not parameter.is_context:
            taken.append(key)
    return taken


def _after(no: int, draft: Draft, by_function: Mapping[int, str], findings: Findings) -> list[str]:
    """The keys of the steps this one is ordered after."""
    keys = []
    for each in draft.after:
        key = each if isinstance(each, str) else by_function.get(id(each))
        if key is None:
            findings.add(
                ("steps", no, "after"),
                f"step {draft.step.key!r}: after= names {each!r}, which is no step of this workflow",
                expected="keys of steps, or their functions",
            )
        else:
            keys.append(key)
    return keys
