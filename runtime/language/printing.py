"""A definition as YAML or JSON: canonical order of fields, defaults left out, reads back equal."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import yaml

from perdure.runtime.agents.registry import PYTHON
from perdure.runtime.language.definition import Definition, plain
from perdure.runtime.language.scalars import resolve
from perdure.store.errors import PerdureError

LINE_MAX: Final = 100  # characters after which long text is folded
FOREIGN_BREAKS: Final = "\r\x85\u2028\u2029"  # line breaks to YAML 1.1; escaped they stay themselves


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
    return str(
        yaml.dump(_printable(definition), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=LINE_MAX)
    )


def _printable(definition: Definition) -> Any:
    """Return the definition as plain values, if every function has a name."""
    local = [step.key for step in definition.steps if any(map(_is_local, (step.agent, step.when or "")))]
    if local:
        raise NotPrintable(local)
    return plain(definition)


def _is_local(name: str) -> bool:
    return name.startswith(PYTHON) and "<" in name


class _Dumper(yaml.SafeDumper):
    """Quotes what YAML 1.2 would read as something else, and writes long text as blocks."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the dumper asks for each value
        """Write everything out."""
        return True

    def represent_text(self, data: str) -> yaml.ScalarNode:
        """Write text in the plainest style that reads back as the same text."""
        style = None
        if any(mark in data for mark in FOREIGN_BREAKS):
            style = '"'
        elif "\n" in data and not data.startswith((" ", "\n", "\t")):
            style = "|"
        elif data == "<<" or not _reads_as_text(data):
            style = "'"
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)

    def represent_number(self, data: float) -> yaml.ScalarNode:
        """Write a number so that YAML 1.1 and 1.2 read the same."""
        text = repr(data)
        if "e" in text and "." not in text:
            text = text.replace("e", ".0e", 1)
        return self.represent_scalar("tag:yaml.org,2002:float", text)


def _reads_as_text(data: str) -> bool:
    try:
        return isinstance(resolve(data), str)
    except ValueError:
        return False


_Dumper.add_representer(str, _Dumper.represent_text)
_Dumper.add_representer(float, _Dumper.represent_number)
