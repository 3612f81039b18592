"""From a document to the structs of the definition, with every problem and not only the first.

The structs are the table of fields; this file only walks it. What is wrong is replaced by the
field's default (or nothing), so that the checks that follow see as much of the rest as possible.
"""

from __future__ import annotations

from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, TypeVar, get_args, get_origin

import msgspec
from msgspec import Meta
from msgspec.structs import FieldInfo, fields

from perdure.actors.instructions.plan import ITEMS_MAX
from perdure.runtime.arguments import InvalidArgument
from perdure.runtime.durations import duration_ms
from perdure.runtime.language.definition import Expression, JoinWord, Part, Positive
from perdure.runtime.language.findings import Findings, Path
from perdure.runtime.near import quoted

P = TypeVar("P", bound=Part)

_WORDS: Final = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
_NUMERIC: Final = {int, float}


class Shape(msgspec.Struct, frozen=True):
    """A type of the table, taken apart: what it is, of what, in which limits, and whether null will do."""

    kind: Any  # a Part, tuple, dict, str, int, float, bool or Literal
    of: Any = None
    low: float | None = None
    high: float | None = None
    or_null: bool = False
    is_span: bool = False
    is_items: bool = False
    is_join: bool = False


def decode(document: Any, kind: type[P], findings: Findings) -> P:
    """Return the struct a document describes, adding what is wrong with it."""
    return _part(document if isinstance(document, dict) else {}, kind, (), findings)


@cache
def fields_of(kind: type[Part]) -> dict[str, tuple[FieldInfo, Shape]]:
    """The fields of a struct by their names in text."""
    return {field.encode_name: (field, shape_of(field.type)) for field in fields(kind)}


@cache
def shape_of(annotation: Any) -> Shape:
    """Take a type of the table apart."""
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *metas = get_args(annotation)
        shape = shape_of(inner)
        for meta in metas:
            assert isinstance(meta, Meta)
            low = meta.ge if meta.ge is not None else meta.min_length
            high = meta.le if meta.le is not None else meta.max_length
            flags = meta.extra or {}
            shape = msgspec.structs.replace(shape, low=low, high=high, **flags)
        return shape
    if isinstance(annotation, UnionType) or (origin is not None and NoneType in get_args(annotation)):
        (inner,) = [each for each in get_args(annotation) if each is not NoneType]
        return msgspec.structs.replace(shape_of(inner), or_null=True)
    if origin is tuple:
        return Shape(tuple, get_args(annotation)[0])
    if origin is Literal:
        return Shape(Literal, get_args(annotation))
    return Shape(origin or annotation)


def _part(value: dict[str, Any], kind: type[P], path: Path, findings: Findings) -> P:
    """Read a mapping as a struct."""
    known = fields_of(kind)
    given: dict[str, Any] = {}
    for name, inner in value.items():
        if name not in known:
            findings.add((*path, name), f"unknown field {quoted(name)}", near=(name, known), at_key=True)
            continue
        field, shape = known[name]
        found = _value(inner, shape, (*path, name), findings)
        if found is not msgspec.UNSET:
            given[field.name] = found
    for name, (field, shape) in known.items():
        if field.required and field.name not in given:
            if name not in value:
                findings.add(path, f"{name!r} is missing")
            given[field.name] = () if shape.kind is tuple else ""
    return kind(**given)


def _value(value: Any, shape: Shape, path: Path, findings: Findings) -> Any:
    """Read a value as what the shape says; UNSET when it is not that."""
    if value is None and shape.or_null:
        return None
    kind = shape.kind
    if isinstance(kind, type) and issubclass(kind, Part):
        return (
            _part(value, kind, path, findings)
            if isinstance(value, dict)
            else _wrong(value, shape, path, findings)
        )
    if kind is tuple:
        return _list(value, shape, path, findings)
    if kind is Literal:
        if value not in shape.of or isinstance(value, bool):
            return _wrong(value, shape, path, findings)
        return value
    if shape.is_items:
        return _items(value, shape, path, findings)
    if shape.is_join:
        is_count = isinstance(value, int) and not isinstance(value, bool)
        return _value(value, shape_of(Positive if is_count else JoinWord), path, findings)
    if kind is dict:
        return value if isinstance(value, dict) else _wrong(value, shape, path, findings)
    return _scalar(value, shape, path, findings)


def _list(value: Any, shape: Shape, path: Path, findings: Findings) -> Any:
    """Read a list, each item by itself."""
    if not isinstance(value, list | tuple):
        return _wrong(value, shape, path, findings)
    if not _is_within(len(value), shape):
        findings.add(path, f"{path[-1]} has {len(value):,} items", expected=f"{_range(shape)} of them")
        return () if shape.high is not None and len(value) > shape.high else tuple(value)
    inner = shape_of(shape.of)
    items = [_value(item, inner, (*path, no), findings) for no, item in enumerate(value)]
    return tuple(item for item in items if item is not msgspec.UNSET)


def _items(value: Any, shape: Shape, path: Path, findings: Findings) -> Any:
    """Read what a step is performed for."""
    if isinstance(value, bool) or not isinstance(value, int | str | list | tuple):
        return _wrong(value, shape, path, findings)
    if isinstance(value, str):
        return _value(value, shape_of(Expression), path, findings)
    if not 0 <= (value if isinstance(value, int) else len(value)) <= ITEMS_MAX:
        return _wrong(value, shape, path, findings)
    return value if isinstance(value, int) else list(value)


def _scalar(value: Any, shape: Shape, path: Path, findings: Findings) -> Any:
    """Read text, a number or a truth value; converted are whole numbers to numbers, and lengths of time."""
    kind = shape.kind
    if shape.is_span and isinstance(value, str):
        try:
            value = duration_ms(value, what="it")
        except InvalidArgument:
            return _wrong(value, shape, path, findings)
    if kind is float and type(value) is int:
        value = float(value) if abs(value) <= 2**53 else value
    if type(value) is float and kind is int and value.is_integer():
        value = int(value)
    if type(value) is not kind:
        return _wrong(value, shape, path, findings)
    size = len(value) if kind is str else value
    if kind is not bool and not _is_within(size, shape):
        return _wrong(value, shape, path, findings)
    return value


def _is_within(size: float, shape: Shape) -> bool:
    return (shape.low is None or size >= shape.low) and (shape.high is None or size <= shape.high)


def _wrong(value: Any, shape: Shape, path: Path, findings: Findings) -> msgspec.UnsetType:
    """Note that a value is not what it should be."""
    what = written_value(value)
    if shape.kind is str and isinstance(value, bool | int | float):
        findings.add(path, f"{what} is {_kind(value)}, not text: quote it", expected=f'"{what}"')
    else:
        near = (value, shape.of) if shape.kind is Literal and isinstance(value, str) else None
        findings.add(path, f"{what} does not fit here", expected=describe(shape), near=near)
    return msgspec.UNSET


def describe(shape: Shape) -> str:
    """What a shape takes, in words."""
    kind, limits = shape.kind, _range(shape)
    if kind is Literal:
        return " or ".join(repr(each) for each in shape.of)
    if kind is tuple:
        return "a list"
    if kind is dict or (isinstance(kind, type) and issubclass(kind, Part)):
        return "a mapping"
    if shape.is_items:
        return f"a list, a count up to {ITEMS_MAX:,}, or text that gives one"
    if shape.is_span:
        return "a length of time such as 90s, 1h30m or 3d, or milliseconds"
    text = _WORDS[kind]
    if kind in _NUMERIC and limits:
        return f"{text}, {limits}"
    return f"{text} of {limits} characters" if limits else text


def _range(shape: Shape) -> str:
    """The limits of a shape, in words."""
    if shape.low is not None and shape.high is not None:
        return f"{shape.low:,} to {shape.high:,}"
    if shape.high is not None:
        return f"at most {shape.high:,}"
    return f"at least {shape.low:,}" if shape.low is not None else ""


def written_value(value: Any) -> str:
    """A value as it stands in a definition, cut to what fits into a message."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else quoted(value)


def _kind(value: Any) -> str:
    return "true or false" if isinstance(value, bool) else "a number"
