"""YAML text to a document, built from the parser's event stream.

Composing a document recurses, and deep input then takes the whole process down. The event stream
does not: here every event is counted as it comes, and the first excess ends the reading. On the way
come what the usual loaders lack: marks, YAML 1.2 scalars, and a refusal of duplicate keys.

Merge keys (`<<`) were dropped from YAML 1.2 and are refused; anchors and aliases are read.
"""

from __future__ import annotations

import json
from typing import Any, Final, NoReturn

import yaml
from yaml import events

from perdure.runtime.language.document import DEPTH_MAX, Document, Mark, number_problem, text_problem
from perdure.runtime.language.scalars import Scalar, resolve
from perdure.runtime.near import quoted

ALIASES_MAX: Final = 1_000  # in one document
ALIASED_CHARACTERS_MAX: Final = 1_000_000  # of text that aliases repeat: as much as a whole file
DIRECTIVES_MAX: Final = 64  # lines beginning with % before the document; the parser is slow at many

QUOTE: Final = "has to stand in quotes"
NO_TAGS: Final = "there are text, numbers, lists and mappings"

_TAG: Final = "tag:yaml.org,2002:"
_COLLECTION_TAGS: Final = {events.MappingStartEvent: "map", events.SequenceStartEvent: "seq"}
_SCALAR_TAGS: Final[dict[str, type | tuple[type, ...]]] = {
    "int": int,
    "float": (int, float),
    "bool": bool,
    "null": type(None),
}
_INDICATORS: Final = {"while scanning an alias": "*", "while scanning an anchor": "&"}
_Loader: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Open:
    """A mapping or list that is being read; `size` and `characters` are what an alias of it costs."""

    __slots__ = ("anchor", "characters", "container", "height", "key", "key_mark", "mark", "size")

    def __init__(self, container: dict[str, Any] | list[Any], anchor: str | None, mark: Any) -> None:
        self.container = container
        self.anchor = anchor
        self.mark = mark
        self.key: str | None = None
        self.key_mark: Any = None
        self.size = 1
        self.characters = 0
        self.height = 1


class _Anchored:
    """What an alias stands for, and what it costs."""

    __slots__ = ("characters", "height", "size", "value")

    def __init__(self, value: Any, *, size: int, characters: int, height: int) -> None:
        self.value = value
        self.size = size
        self.characters = characters
        self.height = height


def read_yaml(text: str, *, source: str) -> Document:
    """Build the one document of a YAML text. Raises DefinitionError with the first fault."""
    reader = _Reader(Document(source))
    reader.check_directives(text)
    try:
        for event in yaml.parse(text, Loader=_Loader):
            reader.take(event)
    except yaml.MarkedYAMLError as error:
        reader.fail(_words(error, text), error.problem_mark or error.context_mark)
    except yaml.YAMLError as error:
        reader.fail(f"not YAML: {str(error).partition(chr(10))[0]}", None)
    return reader.document


class _Reader:
    """Takes events one by one and puts values together."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self._stack: list[_Open] = []
        self._anchors: dict[str, _Anchored | None] = {}
        self._aliases = 0
        self._aliased_characters = 0
        self._documents = 0

    def check_directives(self, text: str) -> None:
        """Refuse absurdly many directives before the parser sees them."""
        count = 0
        position = 0
        while position < len(text) and text[position] in "%#\r\n \t":
            count += text[position] == "%"
            end = text.find("\n", position)
            position = len(text) if end < 0 else end + 1
            if count > DIRECTIVES_MAX:
                raise self.document.refuse(f"more than {DIRECTIVES_MAX} directives", line=1, column=1)

    def fail(self, message: str, mark: Any) -> NoReturn:
        """Raise DefinitionError for the place of a parser's mark."""
        line, column = (None, None) if mark is None else (mark.line + 1, mark.column + 1)
        raise self.document.refuse(message, line=line, column=column)

    def take(self, event: Any) -> None:
        """Take the next event."""
        match event:
            case events.ScalarEvent():
                self._scalar(event)
            case events.MappingStartEvent() | events.SequenceStartEvent():
                self._start(event)
            case events.MappingEndEvent() | events.SequenceEndEvent():
                self._end()
            case events.AliasEvent():
                self._alias(event)
            case events.DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    self.fail("a second document begins here: one file holds one workflow", event.start_mark)
                if event.version is not None and tuple(event.version) not in {(1, 1), (1, 2)}:
                    self.fail("only YAML 1.1 and 1.2 are read", event.start_mark)
            case _:
                pass  # the ends of documents and of the text need no answer

    def _scalar(self, event: Any) -> None:
        """Resolve a scalar and put it where it belongs."""
        mark = event.start_mark
        self._count(mark)
        if (problem := text_problem(event.value)) is not None:
            self.fail(problem, mark)
        if self._wants_key() and event.value == "<<" and event.implicit[0]:
            self.fail("merge keys (<<) are not part of YAML 1.2: write the fields out", mark)
        value = self._resolved(event)
        characters = len(event.value)
        if event.anchor is not None:
            self._anchors[event.anchor] = _Anchored(value, size=1, characters=characters, height=0)
        self._put(value, mark, size=1, characters=characters, height=0)

    def _resolved(self, event: Any) -> Scalar:
        """Return what a scalar means, by its tag and style."""
        tag = event.tag
        if tag in {"!", f"{_TAG}str"} or (tag is None and not event.implicit[0]):
            return str(event.value)
        kind = tag.removeprefix(_TAG) if tag is not None else None
        if kind is not None and kind not in _SCALAR_TAGS:
            do = f"text that begins with '!' {QUOTE}" if tag.startswith("!") else NO_TAGS
            self.fail(f"the tag {quoted(tag)} is not read: {do}", event.start_mark)
        try:
            value = resolve(event.value)
        except ValueError as error:
            self.fail(f"{error} is not read", event.start_mark)
        if isinstance(value, int | float) and (problem := number_problem(value)) is not None:
            self.fail(problem, event.start_mark)
        if kind is not None and not (
            isinstance(value, _SCALAR_TAGS[kind]) and (kind == "bool") == isinstance(value, bool)
        ):
            self.fail(f"{quoted(event.value)} is not what its tag !!{kind} says", event.start_mark)
        return value

    def _start(self, event: Any) -> None:
        """Begin a mapping or a list."""
        mark = event.start_mark
        self._count(mark)
        if self._wants_key():
            is_template = isinstance(event, events.MappingStartEvent) and event.flow_style
            do = f": text with '{{{{' {QUOTE}" if is_template else ""
            self.fail(f"a key is text, not a list or mapping{do}", mark)
        if event.tag not in {None, "!", _TAG + _COLLECTION_TAGS[type(event)]}:
            self.fail(f"the tag {quoted(event.tag)} is not read: {NO_TAGS}", mark)
        if len(self._stack) >= DEPTH_MAX:
            self.fail(f"nested more than {DEPTH_MAX} levels deep", mark)
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        container: dict[str, Any] | list[Any] = {} if isinstance(event, events.MappingStartEvent) else []
        self._stack.append(_Open(container, event.anchor, mark))

    def _end(self) -> None:
        """End the innermost mapping or list."""
        done = self._stack.pop()
        if done.anchor is not None:
            self._anchors[done.anchor] = _Anchored(
                done.container, size=done.size, characters=done.characters, height=done.height
            )
        self._put(done.container, done.mark, size=done.size, characters=done.characters, height=done.height)

    def _alias(self, event: Any) -> None:
        """Put what an alias stands for, and count it as what it stands for."""
        mark = event.start_mark
        self._aliases += 1
        if self._aliases > ALIASES_MAX:
            self.fail(f"more than {ALIASES_MAX:,} aliases", mark)
        if event.anchor not in self._anchors:
            self.fail(
                f"the alias {quoted('*' + event.anchor)} stands for nothing: no such anchor comes before it",
                mark,
            )
        anchored = self._anchors[event.anchor]
        if anchored is None:
            self.fail(f"the alias {quoted('*' + event.anchor)} stands inside of what it stands for", mark)
        self.document.count_node(mark.line + 1, mark.column + 1, many=anchored.size)
        self._aliased_characters += anchored.characters
        if self._aliased_characters > ALIASED_CHARACTERS_MAX:
            self.fail(f"aliases repeat more than {ALIASED_CHARACTERS_MAX:,} characters", mark)
        if len(self._stack) + anchored.height > DEPTH_MAX:
            self.fail(f"nested more than {DEPTH_MAX} levels deep", mark)
        if self._wants_key() and isinstance(anchored.value, dict | list):
            self.fail("a key is text, not a list or mapping", mark)
        self._put(
            anchored.value, mark, size=anchored.size, characters=anchored.characters, height=anchored.height
        )

    def _put(self, value: Any, mark: Any, *, size: int, characters: int, height: int) -> None:
        """Put a finished value into what is open around it."""
        if not self._stack:
            self.document.value = value
            return
        inner = self._stack[-1]
        inner.size += size
        inner.characters += characters
        inner.height = max(inner.height, height + 1)
        container = inner.container
        line, column = mark.line + 1, mark.column + 1
        if isinstance(container, list):
            self.document.mark(container, len(container), Mark(line, column, line, column))
            container.append(value)
        elif inner.key is None:
            self._put_key(inner, container, value, mark)
        else:
            key_mark = inner.key_mark
            self.document.mark(
                container, inner.key, Mark(line, column, key_mark.line + 1, key_mark.column + 1)
            )
            container[inner.key] = value
            inner.key = None

    def _put_key(self, inner: _Open, container: dict[str, Any], value: Any, mark: Any) -> None:
        """Remember the key whose value comes next."""
        if not isinstance(value, str):
            self.fail(f"the key {json.dumps(value)} is not text: quote it", mark)
        if value in container:
            first = self.document.key_of(container, value)
            self.fail(f"the key {quoted(value)} is there twice, first in line {first.key_line}", mark)
        inner.key = value
        inner.key_mark = mark

    def _wants_key(self) -> bool:
        return (
            bool(self._stack) and isinstance(self._stack[-1].container, dict) and self._stack[-1].key is None
        )

    def _count(self, mark: Any) -> None:
        self.document.count_node(mark.line + 1, mark.column + 1)


def _words(error: yaml.MarkedYAMLError, text: str) -> str:
    """What the parser has to say, on one line."""
    mark = error.problem_mark
    if mark is not None and "cannot start any token" in str(error.problem):
        line = "".join(text.splitlines()[mark.line : mark.line + 1])
        found = line[mark.column : mark.column + 1]
        if found == "\t":
            return "not YAML: a tab stands where only spaces may indent"
        return f"not YAML: text that begins with {found!r} {QUOTE}"
    if (sign := _INDICATORS.get(error.context or "")) is not None:
        return f"not YAML: text that begins with {sign!r} {QUOTE}"
    if "mapping values are not allowed" in str(error.problem):
        return (
            f"not YAML: a ':' cannot stand here: text with ': ' in it {QUOTE}, and the fields of one mapping "
            "begin in the same column"
        )
    context = f" ({error.context})" if error.context else ""
    return f"not YAML: {error.problem or 'unreadable'}{context}"
