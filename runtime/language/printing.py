"""A definition as YAML or JSON: canonical order of fields, defaults left out, reads back equal."""

from __future__ import annotations

from typing import Any

import msgspec

from perdure.runtime.agents.registry import PYTHON
from perdure.runtime.language.beside import beside_the_graph
from perdure.runtime.language.definition import Definition, StepDefinition, plain
from perdure.runtime.language.questions import questions_of
from perdure.store.errors import PerdureError


class NotPrintable(PerdureError):
    """The workflow has steps whose functions no file can name."""

    def __init__(self, steps: list[str]) -> None:
        """`steps` are the keys of the steps that are lambdas or local functions."""
        super().__init__(
            f"steps {', '.join(map(repr, steps))} are lambdas or local functions, which a file cannot name: "
            "define them with def at the top of a module to print the workflow; it runs as it is"
        )
        self.steps = tuple(steps)


def to_json(definition: Definition) -> str:
    """Return the definition as indented JSON. Raises NotPrintable."""
    return msgspec.json.format(msgspec.json.encode(_printable(definition)), indent=2).decode() + "\n"


def to_yaml(definition: Definition) -> str:
    """Return the definition as YAML. Raises NotPrintable."""
    from perdure.runtime.language.yaml_writer import write_yaml

    return write_yaml(_printable(definition))


def _printable(definition: Definition) -> Any:
    """Return the definition as plain values, if every function has a name."""
    local = [step.key for step in definition.steps if any(map(_is_local, _names(step)))]
    local += [each.step.key for each in beside_the_graph(definition) if _is_local(each.agent)]
    if local:
        raise NotPrintable(local)
    return plain(definition)


def _names(step: StepDefinition) -> list[str]:
    """The functions of a step, and whatever else may be one."""
    return [step.agent or "", *(question.text for question in questions_of(step))]


def _is_local(name: str) -> bool:
    return name.startswith(PYTHON) and "<" in name
