"""What CEL says of an expression that fails over its values, in words: which value, what to do.

The library names types and overloads, and never the place. So the values that the expression looks up
by plain paths are looked up here once more, after the failure only, and told beside what was said.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from perdure.runtime.language.cel_errors import TYPES
from perdure.runtime.near import nearest

EXPRESSION_MAX: Final = 80  # characters of the expression that are told
VALUE_MAX: Final = 30  # characters of a value
VALUES_MAX: Final = 3  # values that are told

_PATH: Final = re.compile(
    r"""(?<![\w.\])"'])[A-Za-z_]\w*(?:\s*\.\s*[A-Za-z_]\w*\b(?!\s*\()|\[\s*(?:"[^"\\]*"|'[^'\\]*'|\d+)\s*\])*"""
)
_SEGMENT: Final = re.compile(r"""([A-Za-z_]\w*)|\[\s*["']([^"']*)["']\s*\]|\[\s*(\d+)\s*\]""")


class Looked(NamedTuple):
    """One path of an expression: how far it led, what is there, and where it could not go on."""

    path: str
    value: Any
    lacks: str | int | None = None

    @property
    def told(self) -> str:
        """What is there: the type, and the value where it is short."""
        kind = _kind(self.value)
        if kind in {"a list", "a mapping", "null"}:
            return f"{self.path} is {kind}"
        text = msgspec.json.encode(self.value).decode()
        shown = text if len(text) <= VALUE_MAX else f"{text[:VALUE_MAX]}…"
        return f"{self.path} is {shown}" if kind == TYPES["bool"] else f"{self.path} is {kind}: {shown}"


Tell = Callable[[re.Match[str], Sequence[Looked]], str]


def failed(said: str, text: str, data: Mapping[str, Any]) -> str:
    """What was `said` of the expression `text` over `data`, in words."""
    looked = _looked(text, data)
    what = next((tell(match, looked) for pattern, tell in _TOLD if (match := pattern.match(said))), said)
    values = "; ".join(each.told for each in looked if each.lacks is None)
    shown = " ".join(text.split())
    shown = shown if len(shown) <= EXPRESSION_MAX else f"{shown[:EXPRESSION_MAX]}…"
    return f"`{shown}`: {what}" + (f" ({values})" if values else "")


def _looked(text: str, data: Mapping[str, Any]) -> list[Looked]:
    """What the plain paths of an expression lead to, each once."""
    paths = dict.fromkeys(found[0] for found in _PATH.finditer(text))
    return [_look_up(path, data) for path in paths if _SEGMENT.match(path)[1] in data][:VALUES_MAX]  # type: ignore[index]


def _look_up(path: str, data: Mapping[str, Any]) -> Looked:
    value: Any = data
    end = 0
    for found in _SEGMENT.finditer(path):
        key: str | int = int(found[3]) if found[3] is not None else found[1] or found[2] or ""
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            return Looked(path[:end], value, key)
        end = found.end()
    return Looked(path, value)


def _kind(value: Any) -> str:
    """What people call the type of a value."""
    match value:
        case None:
            return "null"
        case bool():
            return TYPES["bool"]
        case int():
            return TYPES["int"]
        case float():
            return TYPES["double"]
        case str():
            return TYPES["string"]
        case list() | tuple():
            return TYPES["list"]
        case _:
            return TYPES["map"]


def _missing(match: re.Match[str], looked: Sequence[Looked]) -> str:
    name = match[1].strip('"')
    for each in looked:
        if str(each.lacks) == name and isinstance(each.value, Mapping):
            near = nearest(name, list(each.value))
            hint = f"did you mean {near!r}? Else ask" if near else "ask"
            asked = f"has({each.path}.{name})" if name.isidentifier() else f'"{name}" in {each.path}'
            return f"{each.path} has no {name!r}: {hint} {asked} first"
    return f"there is no {name!r}: ask has(….{name}) first"


def _no_fields(_match: re.Match[str], looked: Sequence[Looked]) -> str:
    for each in looked:
        if each.lacks is not None and not isinstance(each.value, Mapping):
            do = f"ask {each.path} != null first" if each.value is None else "only a mapping has names in it"
            return f"{each.told}, and has no {each.lacks!r}: {do}"
    return "what stands before a dot is no mapping: only a mapping has names in it"


def _overload(match: re.Match[str], looked: Sequence[Looked]) -> str:
    kinds = [
        TYPES.get(kind.strip().removesuffix("64"), kind.strip())
        for kind in (match[2] or "").split(",")
        if kind
    ]
    name = match[1]
    if name in {"_&&_", "_||_", "!_", "<jump_condition>"}:
        sign = "?" if name.startswith("<") else name.strip("_")
        return f"`{sign}` asks for true or false: compare the value with something"
    if name == "@in":
        return "what stands after `in` has to be a list or a mapping"
    if member := re.match(r"\((\w+)\)\.(\w+)", name):
        owner = TYPES.get(member[1].removesuffix("64"), member[1])
        what = f"`{member[2]}` cannot be asked of {owner}" + (f" with {' and '.join(kinds)}" if kinds else "")
        kinds = [owner, *kinds]
    else:
        what = f"`{name.strip('_')}` cannot be asked of {' and '.join(kinds)}"
    return f"{what}: {_remedy(kinds, looked)}"


def _remedy(kinds: Sequence[str], looked: Sequence[Looked]) -> str:
    """What usually helps where types do not go together."""

    def one(kind: str) -> str:
        return next((each.path for each in looked if each.lacks is None and _kind(each.value) == kind), "…")

    numbers = {TYPES["int"], TYPES["double"]} & set(kinds)
    if "null" in kinds:
        return f"ask {one('null')} != null first"
    if {TYPES["list"], TYPES["map"]} & set(kinds):
        return "lists and mappings take only ==, in and size(), two lists also +"
    if TYPES["string"] in kinds and numbers:
        text, number = one(TYPES["string"]), one(*numbers)
        return f"convert the text, with int({text}) or double({text}), or the number, with string({number})"
    if len(numbers) > 1:
        return f"convert the whole number, with double({one(TYPES['int'])}), or write it as 1.0"
    return "convert it, with string(…), int(…) or double(…)"


def _told(text: str) -> Tell:
    return lambda match, _: match.expand(text)


_TOLD: Final[list[tuple[re.Pattern[str], Tell]]] = [
    (re.compile(pattern), tell)
    for pattern, tell in (
        (r"No matching overloads found : ((?:\(\w+\)\.)?[^(\s]+)(?:\((.*)\))?$", _overload),
        (r"Key not found in map : (.*)", _missing),
        (r"Applying SELECT to non-message type", _no_fields),
        (
            r"Index error: index=(-?\d+) size=(\d+)",
            _told(r"there is no place \1 in a list of \2: places count from 0; ask size(…) first"),
        ),
        (r"Index error: expected integer", _told("a list has places, counted from 0, and no names")),
        (
            r"cannot convert string to (\w+)",
            _told(r"\1(…) cannot read this text: it is no number; ask text.matches('^[0-9]+$') first"),
        ),
        (r"(?:divide|modulus) by zero", _told("it divides by zero: ask whether the divisor is 0 first")),
        (
            r"integer overflow",
            _told("the result is too large: whole numbers have 64 bits; double(…) goes further"),
        ),
        (
            r"String to Timestamp conversion failed",
            _told("timestamp(…) cannot read this text: a time is written 2030-01-31T09:00:00Z"),
        ),
        (
            r"String to Duration conversion failed",
            _told("duration(…) cannot read this text: a length of time is written 90s or 1h30m"),
        ),
    )
]
