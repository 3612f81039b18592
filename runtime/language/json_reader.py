"""JSON text to a document: strict (RFC 8259), with marks, without recursion, no key twice."""

from __future__ import annotations

import re
from bisect import bisect_right
from json import JSONDecodeError
from json.decoder import scanstring  # type: ignore[attr-defined]  # the C scanner of text, not in typeshed
from typing import Any, Final, NoReturn

from perdure.runtime.language.document import DEPTH_MAX, Document, Mark, number_problem, text_problem
from perdure.runtime.language.scalars import DIGITS_MAX
from perdure.runtime.near import quoted

_SPACE: Final = re.compile(r"[ \t\n\r]*")
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_WORDS: Final = (("null", None), ("true", True), ("false", False))


def read_json(text: str, *, source: str) -> Document:
    """Build the document of a JSON text. Raises DefinitionError with the first fault."""
    reader = _Reader(text, Document(source))
    reader.read()
    return reader.document


class _Reader:
    """Walks through the text with a stack of the containers that are open."""

    def __init__(self, text: str, document: Document) -> None:
        self.document = document
        self._text = text
        self._position = 0
        self._lines = [0, *(found.end() for found in re.finditer("\n", text))]
        self._stack: list[dict[str, Any] | list[Any]] = []

    def read(self) -> None:
        """Read the whole text."""
        self.document.value = self._value()
        if self._stack:
            self._fill()
        self._skip_space()
        if self._position != len(self._text):
            self._fail("there is more after the end of the document")

    def _fill(self) -> None:
        """Read entries until no container is open."""
        while self._stack:
            container = self._stack[-1]
            closing = "}" if isinstance(container, dict) else "]"
            self._skip_space()
            if self._peek() == closing:
                self._position += 1
                self._stack.pop()
                continue
            if container:
                self._expect(",")
                self._skip_space()
            self._entry(container)

    def _entry(self, container: dict[str, Any] | list[Any]) -> None:
        """Read one entry; a container that begins in it is filled later."""
        key_line, key_column = self._place()
        part: str | int = len(container)
        if isinstance(container, dict):
            if self._peek() != '"':
                self._fail("a key in double quotes belongs here")
            part = self._string()
            if part in container:
                first = self.document.key_of(container, part).key_line
                raise self.document.refuse(
                    f"the key {quoted(part)} is there twice, first in line {first}",
                    line=key_line,
                    column=key_column,
                )
            self._skip_space()
            self._expect(":")
            self._skip_space()
        line, column = self._place()
        self.document.mark(container, part, Mark(line, column, key_line, key_column))
        value = self._value()
        if isinstance(container, dict):
            assert isinstance(part, str)
            container[part] = value
        else:
            container.append(value)

    def _value(self) -> Any:
        """Read a scalar, or begin a container."""
        self._skip_space()
        self.document.count_node(*self._place())
        match self._peek():
            case "{" | "[" as opening:
                if len(self._stack) >= DEPTH_MAX:
                    self._fail(f"nested more than {DEPTH_MAX} levels deep")
                self._position += 1
                container: dict[str, Any] | list[Any] = {} if opening == "{" else []
                self._stack.append(container)
                return container
            case '"':
                return self._string()
            case _:
                return self._word_or_number()

    def _string(self) -> str:
        """Read a text in double quotes."""
        try:
            value, end = scanstring(self._text, self._position + 1, True)  # noqa: FBT003 - positional in C
        except JSONDecodeError as error:
            self._position = error.pos
            self._fail(error.msg)
        if (problem := text_problem(value)) is not None:
            self._fail(problem)
        self._position = end
        return str(value)

    def _word_or_number(self) -> Any:
        """Read null, true, false or a number."""
        for word, value in _WORDS:
            if self._text.startswith(word, self._position):
                self._position += len(word)
                return value
        found = _NUMBER.match(self._text, self._position)
        if found is None:
            self._fail("a value belongs here" if self._peek() else "the text ends too early")
        if found.end() - found.start() > DIGITS_MAX:
            self._fail("a number of absurd length is not read")
        whole = found.group(1) is None and found.group(2) is None
        number = int(found.group()) if whole else float(found.group())
        if (problem := number_problem(number)) is not None:
            self._fail(problem)
        self._position = found.end()
        return number

    def _expect(self, character: str) -> None:
        if self._peek() != character:
            self._fail(f"{character!r} belongs here" if self._peek() else "the text ends too early")
        self._position += 1

    def _peek(self) -> str:
        return self._text[self._position : self._position + 1]

    def _skip_space(self) -> None:
        found = _SPACE.match(self._text, self._position)
        assert found is not None
        self._position = found.end()

    def _place(self) -> tuple[int, int]:
        line = bisect_right(self._lines, self._position)
        return line, self._position - self._lines[line - 1] + 1

    def _fail(self, message: str) -> NoReturn:
        line, column = self._place()
        raise self.document.refuse(f"not JSON: {message}", line=line, column=column)
