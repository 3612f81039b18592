"""How a function's parameters are filled: from the prompt, the steps before it, the context.

The rules are the same for agents and for Python steps. `bind` decides once, at compile time, where
each argument comes from; the closure it returns only picks them up.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import Any, Final

import msgspec

from perdure.actors.instructions.plan import Values
from perdure.runtime.agents.errors import InputError
from perdure.runtime.agents.signature import Parameter

PROMPT: Final = "prompt"  # the parameter that receives the rendered prompt of a step that has one

Render = Callable[[Values], Any]
Convert = Callable[[Any], Any]


class Needs(msgspec.Struct, frozen=True, kw_only=True):
    """Where each parameter of one step's function comes from."""

    prompt: Parameter | None
    steps: tuple[tuple[Parameter, str], ...]
    inputs: tuple[Parameter, ...]


def sort_parameters(
    parameters: tuple[Parameter, ...], *, dependencies: tuple[str, ...], has_prompt: bool
) -> Needs:
    """Decide for each parameter whether it is the prompt, a step's output or an input."""
    prompt: Parameter | None = None
    steps: list[tuple[Parameter, str]] = []
    inputs: list[Parameter] = []
    for parameter in parameters:
        if parameter.is_context:
            continue
        if has_prompt and parameter.wants == PROMPT and not parameter.is_exact:
            prompt = parameter
        elif (key := _dependency(parameter, dependencies)) is not None:
            steps.append((parameter, key))
        else:
            inputs.append(parameter)
    return Needs(prompt=prompt, steps=tuple(steps), inputs=tuple(inputs))


def bind(
    parameters: tuple[Parameter, ...],
    *,
    step: str,
    dependencies: Mapping[str, int],
    render: Render | None = None,
) -> Callable[[Values], dict[str, Any]]:
    """Return the closure that picks up the arguments of one step.

    `dependencies` maps keys to step numbers; `render` is the step's prompt. The closure raises
    InputError naming the step, the parameter, what was expected and what was there.
    """
    needs = sort_parameters(parameters, dependencies=tuple(dependencies), has_prompt=render is not None)
    prompts = (
        [(needs.prompt.name, render, converter(needs.prompt, step=step))] if needs.prompt and render else []
    )
    outputs = [(p.name, dependencies[key], converter(p, step=step)) for p, key in needs.steps]
    inputs = [(p, converter(p, step=step)) for p in needs.inputs]

    def pick_up(values: Values) -> dict[str, Any]:
        bound: dict[str, Any] = {}
        for name, rendered, convert in prompts:
            bound[name] = convert(_own(rendered(values)))
        for name, no, convert in outputs:
            bound[name] = convert(values.output(no))
        context = values.context
        for parameter, convert in inputs:
            if parameter.wants in context:
                bound[parameter.name] = convert(_own(context[parameter.wants]))
            elif not parameter.has_default:
                raise InputError([missing_input(parameter, step=step)])
        return bound

    return pick_up


def converter(parameter: Parameter, *, step: str) -> Convert:
    """Return what turns decoded JSON into the type the parameter is annotated with."""
    kind = parameter.annotation
    if kind is Any or not _is_convertible(kind):
        return _as_it_is

    def convert(value: Any) -> Any:
        try:
            return msgspec.convert(value, kind, dec_hook=_from_json)
        except (msgspec.ValidationError, TypeError, ValueError) as error:
            raise InputError([_mismatch(parameter, value, str(error), step=step)]) from None

    return convert


def missing_input(parameter: Parameter, *, step: str) -> str:
    """Say that an input is needed and not there."""
    return (
        f"step {step!r}: parameter {parameter.name!r} takes the input {parameter.wants!r}, "
        "which the context does not have: give it, or give the parameter a default"
    )


def _dependency(parameter: Parameter, dependencies: tuple[str, ...]) -> str | None:
    """The dependency whose output the parameter takes; an exact name comes first."""
    if parameter.wants in dependencies:
        return parameter.wants
    return next((key for key in dependencies if parameter.takes(key)), None)


def _own(value: Any) -> Any:
    """A body may change what it is given; the execution's context must not change with it."""
    return copy.deepcopy(value) if isinstance(value, dict | list) else value


def _as_it_is(value: Any) -> Any:
    return value


def _is_convertible(kind: Any) -> bool:
    """Whether the annotation describes data; whatever else it is, the value is passed as it is."""
    try:
        described = msgspec.inspect.type_info(kind)
    except Exception:  # noqa: BLE001 - annotations are other people's objects and raise anything
        return False
    return not (isinstance(described, msgspec.inspect.CustomType) and not _is_path(described.cls))


def _is_path(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, PurePath)


def _from_json(kind: type, value: Any) -> Any:
    """Make what JSON has no form for: paths. Others are left to msgspec to refuse."""
    return kind(value) if _is_path(kind) and isinstance(value, str) else value


def _mismatch(parameter: Parameter, value: Any, why: str, *, step: str) -> str:
    """Say what was expected and what was there."""
    return (
        f"step {step!r}: parameter {parameter.name!r} (from {parameter.wants!r}) cannot take "
        f"{_short(value)}: {why}"
    )


def _short(value: Any, *, characters_max: int = 60) -> str:
    """A value as it fits into a message."""
    text = repr(value)
    return text if len(text) <= characters_max else f"{text[: characters_max - 1]}…"
