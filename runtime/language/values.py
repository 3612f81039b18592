"""JSON values with templates in their texts: what a workflow gives back, what a child is started with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from perdure.actors.instructions.plan import Values
from perdure.runtime.language.findings import Findings
from perdure.runtime.language.findings import Path as Place
from perdure.runtime.language.templates import BadTemplate, Path, compile_template, parse_template

Render = Callable[[Values], Any]


def paths_in(value: Any, place: Place, findings: Findings) -> Iterator[tuple[Place, Path]]:
    """The paths that the texts of a value look up, each with its place; what cannot be read is a finding."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from paths_in(inner, (*place, name), findings)
    elif isinstance(value, list | tuple):
        for no, inner in enumerate(value):
            yield from paths_in(inner, (*place, no), findings)
    elif isinstance(value, str):
        try:
            template = parse_template(value)
        except BadTemplate as error:
            findings.add(place, str(error))
        else:
            for path in template.paths:
                yield place, path


def compile_value(value: Any, *, numbers: Mapping[str, int], step: str = "") -> Render:
    """Return the closure that renders every text of a value. It raises TemplateError, naming `step`.

    A text that is one template becomes what was looked up, of whatever type; the keys of mappings are
    literal.
    """
    if isinstance(value, Mapping):
        fields = {name: compile_value(inner, numbers=numbers, step=step) for name, inner in value.items()}
        return lambda values: {name: render(values) for name, render in fields.items()}
    if isinstance(value, list | tuple):
        items = [compile_value(inner, numbers=numbers, step=step) for inner in value]
        return lambda values: [render(values) for render in items]
    if isinstance(value, str):
        return compile_template(parse_template(value), step=step, numbers=numbers)
    return lambda _values: value
