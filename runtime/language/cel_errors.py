"""What CEL says of an expression that it cannot compile, in words: what is wrong, where, what to do.

The parser speaks of tokens and sets of tokens it expected, and goes on to complain about what follows
from its first complaint. So only the first is taken, told in terms of what people write, with a remedy
where there is a usual one; what is not known here is passed on as it was said.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NamedTuple

EXCERPT_MAX: Final = 24  # characters of the expression that are shown at the place
VALUES: Final = "a value, such as inputs.name, 3 or 'text'"

_FIRST: Final = re.compile(r"ERROR: <input>:(?P<line>-?\d+):(?P<column>-?\d+): (?P<said>.*)")
_INSTEAD: Final = {  # what people write who know other languages: what to write here
    "and": "write && for and",
    "or": "write || for or",
    "not": "write ! for not",
    "is": "to compare, write ==",
    "=": "to compare, write ==",
    "<>": "for not equal, write !=",
    "&": "write && for and",
    "|": "write || for or",
    "#": "a comment begins with //",
    "True": "write true",
    "False": "write false",
    "None": "write null",
    "nil": "write null",
    "undefined": "ask has(inputs.name) whether something is there",
    "if": "write condition ? one : other",
    "then": "write condition ? one : other",
    "else": "write condition ? one : other",
    "matches": "write text.matches('pattern')",
    "contains": "write text.contains('part')",
    "like": "write text.matches('pattern')",
}
TYPES: Final = {
    "int": "a whole number",
    "uint": "a whole number",
    "double": "a number",
    "string": "a text",
    "bool": "true or false",
    "dyn": "any value",
    "null": "null",
    "null_type": "null",
    "bytes": "bytes",
    "list": "a list",
    "map": "a mapping",
}
_TYPE: Final = re.compile(r"[^\s,(]+(?:\(.*?\)+)?")  # `int`, `list(int)`, `map(string, list(int))`


class Place(NamedTuple):
    """Where in an expression a complaint points, and what stands there."""

    text: str
    offset: int
    line: int
    column: int

    @property
    def before(self) -> str:
        """What stands before it."""
        return self.text[: self.offset]

    @property
    def after(self) -> str:
        """What stands there."""
        return self.text[self.offset :]

    @property
    def last_word(self) -> str:
        """The last word or sign before it."""
        found = re.search(r"(\w+|[^\w\s]+)\s*$", self.before)
        return found[1] if found else ""

    def __str__(self) -> str:
        """As people count, with what stands there."""
        line = f"line {self.line}, " if "\n" in self.text else ""
        shown = self.after.split("\n")[0].strip()
        excerpt = shown if len(shown) <= EXCERPT_MAX else f"{shown[:EXCERPT_MAX]}…"
        return f"{line}character {self.column}" + (f", at `{excerpt}`" if excerpt else "")


def explained(raw: str, text: str, *, names: tuple[str, ...]) -> str | None:
    """The first complaint about `text` in words, or None where it is about no place in it.

    `names` are what the expression may speak of.
    """
    found = _FIRST.search(raw)
    if found is None or int(found["line"]) < 1:
        return None
    line, column = int(found["line"]), int(found["column"])
    offset = sum(len(each) + 1 for each in text.split("\n")[: line - 1]) + column - 1
    place = Place(text, offset, line, column)
    said = re.sub(r" \[[A-Z_]+\]$", "", found["said"]).removesuffix(" (in container '')")
    for pattern, tell in _TOLD:
        if match := pattern.match(said):
            return tell(match, place, names)
    return f"{said} ({place})"


def _ends(match: re.Match[str], place: Place, _names: tuple[str, ...]) -> str:
    if match[1] == "':'":
        return f"`:` is missing (at the end): {_INSTEAD['if']}"
    after = f" after `{place.last_word}`" if place.last_word else ""
    return f"it ends too early{after}: there has to follow {VALUES}"


def _lacks(match: re.Match[str], place: Place, _names: tuple[str, ...]) -> str:
    return f"`{match[1]}` is missing ({place if place.after else 'at the end'}): close what is open"


def _sign(match: re.Match[str], place: Place, _names: tuple[str, ...]) -> str:
    sign = match[1].strip()[:1]
    if sign in {'"', "'"}:
        return f"a text is not closed ({place}): end it with {sign}"
    if sign == "=" and place.before.endswith("="):
        return f"`===` is no operator ({place}): {_INSTEAD['=']}"
    do = _INSTEAD.get(sign, 'a name with such a character is written inputs["name"]')
    return f"`{sign}` means nothing ({place}): {do}"


def _too_much(match: re.Match[str], place: Place, _names: tuple[str, ...]) -> str:
    word, before = match[1], place.last_word
    if word in {")", "]", "}"}:
        return f"there is a `{word}` too many ({place}): nothing is open there"
    for each in (before + word, word, before):
        if each in _INSTEAD:
            return f"`{each}` is no word of CEL ({place}): {_INSTEAD[each]}"
    if not before:
        return f"`{word}` cannot stand here ({place}): there has to be {VALUES}"
    return f"`{word}` cannot follow `{before}` ({place}): put an operator between them, such as && or =="


def _reserved(match: re.Match[str], place: Place, _names: tuple[str, ...]) -> str:
    word = match[1].lstrip(".")
    if word in _INSTEAD:
        return f"`{word}` is no word of CEL ({place}): {_INSTEAD[word]}"
    do = f'as a name it is written inputs["{word}"]' if word.isidentifier() else "look at what stands there"
    return f"`{match[1]}` cannot stand here ({place}): {do}"


def _unknown(match: re.Match[str], place: Place, names: tuple[str, ...]) -> str:
    name = match[1]
    if place.after.startswith("("):
        return f"`{name}` is no function, or takes no such arguments ({place})"
    if name in _INSTEAD:
        return f"`{name}` is not known ({place}): {_INSTEAD[name]}"
    if place.before.removesuffix(name.partition(".")[0]).rstrip().endswith("-"):
        return f'`{name}` is not known ({place}): a name with - is written in brackets, steps["a-b"]'
    seen = " and ".join(f"`{each}`" for each in names)
    root = name.partition(".")[0]
    such = f"as in inputs.{root} or steps.{root}.output"
    return f"`{name}` is not known ({place}): there are {seen}, {such}; a text stands in quotes"


def _types(match: re.Match[str], place: Place, _names: tuple[str, ...]) -> str:
    operator = match[1].replace("_", "").replace("@", "") or match[1]
    given = [_type_name(kind) for kind in _TYPE.findall(match[2])]
    do = "convert one of them, with string(…), int(…) or double(…)"
    if operator == "?:":
        condition, *given = given
        if condition in {TYPES["bool"], TYPES["dyn"]}:
            do = "both have to be of one type; write dyn(…) around one of them"
            return f"`?:` gives either {' or '.join(given)} ({place}): {do}"
        given = [condition]
    if operator in {"&&", "||", "!", "?:"}:
        do = "compare it with something, so that it is true or false"
    elif {"a list", "a mapping"} & set(given):
        do = "lists and mappings take only ==, in and size(), two lists also +"
    return f"`{operator}` cannot be asked of {' and '.join(given)} ({place}): {do}"


def _type_name(kind: str) -> str:
    """What people call a type of CEL, whatever is in it."""
    outer = kind.partition("(")[0]
    return TYPES.get(outer, outer)


def _number(_match: re.Match[str], place: Place, _names: tuple[str, ...]) -> str:
    return f"the number is too large ({place}): whole numbers have 64 bits; write it as 1e20, or as a text"


_TOLD: Final[list[tuple[re.Pattern[str], Callable[[re.Match[str], Place, tuple[str, ...]], str]]]] = [
    (re.compile(pattern, re.DOTALL), tell)
    for pattern, tell in (
        (r"Syntax error: (?:mismatched|extraneous) input '<EOF>' expecting (.*)", _ends),
        (r"Syntax error: missing '(.*?)' at", _lacks),
        (r"Syntax error: token recognition error at: '(.*)'", _sign),
        (r"Syntax error: (?:mismatched|extraneous) input '(.*?)' expecting", _too_much),
        (r"Syntax error: no viable alternative at input '(.*?)'", _reserved),
        (r"reserved identifier: (\w+)", _reserved),
        (r"undeclared reference to '(.*?)'", _unknown),
        (r"found no matching overload for '(.*?)' applied to '\((.*?)\)'", _types),
        (r"invalid u?int literal", _number),
    )
]
