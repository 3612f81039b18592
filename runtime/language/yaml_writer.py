"""Plain values as YAML that YAML 1.1 and 1.2 read as the same values."""

from __future__ import annotations

from typing import Any, Final

import yaml

from perdure.runtime.language.scalars import resolve

LINE_MAX: Final = 100  # characters after which long text is folded
FOREIGN_BREAKS: Final = "\r\x85\u2028\u2029"  # line breaks to YAML 1.1; escaped they stay themselves


def write_yaml(value: Any) -> str:
    """Return a document with the fields in the order they have."""
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=LINE_MAX))


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
