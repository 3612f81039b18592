r"""Templates: a text with places, `{{ path }}`, each a path into the inputs or an earlier output.

A template is parsed and compiled once. Rendering is one pass of look-ups in decoded JSON: no calls,
no attributes, and what was looked up is never read as a template again. `\{{` stands for `{{`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from perdure.actors.instructions.plan import Values
from perdure.runtime.language.errors import TemplateError

SEGMENTS_MAX: Final = 64  # of one path; JSON that deep is not data anybody navigates
PLACES_MAX: Final = 1_000  # of one template
RENDERED_CHARACTERS_MAX: Final = 1_048_576  # a rendered prompt is kept like any other payload
WHOLE: Final = "result"  # `KEY.result` is the whole output, unless the output has such a field

_OPENING: Final = re.compile(r"\\?\{\{")
_SEGMENT: Final = re.compile(r"[^{}.\s]{1,256}")  # longer names are not names of fields
_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,9}")


class BadTemplate(Exception):
    """A template cannot be read; the message says which part and why."""


class Path(msgspec.Struct, frozen=True):
    """What stands between the braces, cut at the dots."""

    segments: tuple[str, ...]

    def __str__(self) -> str:
        """As it is written."""
        return "{{" + ".".join(self.segments) + "}}"


class Template(msgspec.Struct, frozen=True):
    """A text, cut into literal parts and paths."""

    parts: tuple[str | Path, ...]

    @property
    def paths(self) -> tuple[Path, ...]:
        """Return the paths it looks up, in order."""
        return tuple(part for part in self.parts if isinstance(part, Path))


def parse_template(text: str) -> Template:
    """Cut a text into literal parts and paths. Raises BadTemplate."""
    parts: list[str | Path] = []
    literal: list[str] = []
    position = 0
    while (opening := _OPENING.search(text, position)) is not None:
        literal.append(text[position : opening.start()])
        position = opening.end()
        if opening.group().startswith("\\"):
            literal.append("{{")
            continue
        closing = text.find("}}", position)
        if closing < 0:
            raise BadTemplate(
                f"'{_excerpt(text, opening.start())}' is not closed by '}}}}'; a literal is '\\{{{{'"
            )
        if len(parts) >= 2 * PLACES_MAX:
            raise BadTemplate(f"more than {PLACES_MAX:,} templates in one text")
        parts += ["".join(literal), _parse_path(text[position:closing])]
        literal = []
        position = closing + 2
    parts.append("".join([*literal, text[position:]]))
    return Template(tuple(part for part in parts if part != ""))


def _parse_path(inner: str) -> Path:
    """Cut what stands between the braces at its dots."""
    text = inner.strip()
    if not text:
        raise BadTemplate("'{{}}' is empty: write a path such as '{{step-key.field}}'")
    if text.count(".") >= SEGMENTS_MAX:
        raise BadTemplate(f"'{{{{{_excerpt(text, 0)}}}}}' has more than {SEGMENTS_MAX} segments")
    segments = tuple(text.split("."))
    for segment in segments:
        if not _SEGMENT.fullmatch(segment):
            raise BadTemplate(
                f"'{{{{{_excerpt(text, 0)}}}}}' is not a path: segments are joined by dots and hold no "
                "braces, dots or spaces and at most 256 characters; there are no expressions"
            )
    return Path(segments)


def _excerpt(text: str, start: int, *, characters_max: int = 40) -> str:
    """A piece of the text as it fits into a message."""
    piece = text[start : start + characters_max]
    return piece + "…" if len(text) > start + characters_max else piece


Look = Callable[[Values], Any]


def compile_template(
    template: Template, *, step: str, numbers: Mapping[str, int], or_null: bool = False
) -> Look:
    """Return the closure that renders a template for `step`; `numbers` maps step keys to numbers.

    A template that is one path keeps the value's type; inside text, what is not a string becomes
    compact JSON. The closure raises TemplateError. `or_null`: what is looked up in the output of a step
    that has none is null.
    """
    looks = [
        part if isinstance(part, str) else _compile_path(part, step, numbers, or_null=or_null)
        for part in template.parts
    ]
    if len(looks) == 1 and not isinstance(looks[0], str):
        return looks[0]

    def render(values: Values) -> str:
        text = "".join([each if isinstance(each, str) else rendered(each(values)) for each in looks])
        if len(text) > RENDERED_CHARACTERS_MAX:
            raise TemplateError(
                f"{_of(step)}the rendered text has {len(text):,} characters, the limit is "
                f"{RENDERED_CHARACTERS_MAX:,}: look up a smaller part, or pass the data as a parameter"
            )
        return text

    return render


def _compile_path(path: Path, step: str, numbers: Mapping[str, int], *, or_null: bool) -> Look:
    """Return the closure that looks one path up."""
    first, *rest = path.segments
    no = numbers.get(first)
    if no is None:
        return lambda values: look_up(values.context, path.segments, path=path, step=step)

    def look(values: Values) -> Any:
        output = values.output(no)
        if output is None and or_null:
            return None
        if rest and rest[0] == WHOLE and not (isinstance(output, Mapping) and WHOLE in output):
            return look_up(output, rest[1:], path=path, step=step)
        return look_up(output, rest, path=path, step=step)

    return look


def look_up(value: Any, segments: tuple[str, ...] | list[str], *, path: Path, step: str) -> Any:
    """Follow segments through mappings and lists. Raises TemplateError with what was there."""
    for segment in segments:
        if isinstance(value, Mapping) and segment in value:
            value = value[segment]
        elif isinstance(value, list) and _INDEX.fullmatch(segment) and int(segment) < len(value):
            value = value[int(segment)]
        else:
            raise TemplateError(f"{_of(step)}{path} has no {segment!r}: {_what_was_there(value)}")
    return value


def _of(step: str) -> str:
    """Whose template it is; one of the whole workflow is no step's."""
    return f"step {step!r}: " if step else ""


def rendered(value: Any) -> str:
    """A value as it stands inside text."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _what_was_there(value: Any, *, names_max: int = 10) -> str:
    """Describe the value a path could not go on from."""
    if isinstance(value, Mapping):
        names = [str(name) for name in value][:names_max]
        return (
            f"there is {', '.join(names)}{' …' * (len(value) > names_max)}" if names else "it is empty there"
        )
    if isinstance(value, list):
        return f"there is a list of {len(value)}"
    return "there is null" if value is None else f"there is a {type(value).__name__}"
