"""A document: plain JSON values, and where in its text each of them stands."""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

from perdure.runtime.language.errors import DefinitionError, Problem
from perdure.runtime.language.findings import Path, Place

DEPTH_MAX: Final = 64  # levels of nesting; definitions have six, schemas some more
NODES_MAX: Final = 100_000  # values in one document, aliases counted as what they stand for
INTEGER_MIN: Final = -(2**63)  # what every reader of JSON and every database can hold
INTEGER_MAX: Final = 2**64 - 1

_SURROGATE: Final = re.compile("[\ud800-\udfff]")


class Mark(NamedTuple):
    """Where an entry of a mapping or list stands: its value and, in a mapping, its key; from 1."""

    line: int
    column: int
    key_line: int
    key_column: int


class Document:
    """Values built from a text. Marks are kept per container, so aliases share theirs."""

    def __init__(self, source: str) -> None:
        """`source` is the file, or what stands in for its name."""
        self.source = source
        self.value: Any = None
        self.nodes = 0
        self._marks: dict[int, dict[str | int, Mark]] = {}

    def mark(self, container: Any, part: str | int, mark: Mark) -> None:
        """Remember where the entry `part` of a container stands."""
        self._marks.setdefault(id(container), {})[part] = mark

    def key_of(self, container: Any, part: str | int) -> Mark:
        """Where an entry stands that is there already."""
        return self._marks[id(container)][part]

    def locate(self, path: Path, *, at_key: bool) -> Place:
        """Return the place of the part at `path`, or of the innermost part around it that exists."""
        value, found = self.value, Mark(1, 1, 1, 1)
        is_exact = True
        for part in path:
            mark = self._marks.get(id(value), {}).get(part)
            if mark is None:
                is_exact = False
                break
            value, found = value[part], mark
        if at_key and is_exact:
            return Place(self.source, found.key_line, found.key_column)
        return Place(self.source, found.line, found.column)

    def refuse(
        self, message: str, *, line: int | None = None, column: int | None = None, expected: str | None = None
    ) -> DefinitionError:
        """Return the error for a text that cannot be read on."""
        return DefinitionError(
            [Problem(message=message, file=self.source, line=line, column=column, expected=expected)]
        )

    def count_node(self, line: int, column: int, *, many: int = 1) -> None:
        """Count values. Raises DefinitionError past the limit."""
        self.nodes += many
        if self.nodes > NODES_MAX:
            raise self.refuse(f"more than {NODES_MAX:,} values in one document", line=line, column=column)


def text_problem(text: str) -> str | None:
    """Say what makes a text impossible to keep: NUL and half surrogate pairs."""
    if "\x00" in text:
        return "text with a NUL character cannot be kept"
    if not text.isascii() and _SURROGATE.search(text):
        return "text with half a surrogate pair is not Unicode"
    return None


def number_problem(number: float) -> str | None:
    """Say what makes a number impossible to keep."""
    if isinstance(number, int):
        return None if INTEGER_MIN <= number <= INTEGER_MAX else "the number is outside of 64 bits"
    return (
        None
        if abs(number) < float("inf")
        else "the number is infinite or not a number, which JSON cannot hold"
    )
