"""The inputs a workflow declares: a JSON Schema that fills in defaults and checks the context at start."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import msgspec

from perdure.runtime.arguments import InvalidArgument
from perdure.runtime.language.outputs import make_validator
from perdure.runtime.near import nearest, quoted

if TYPE_CHECKING:
    from jsonschema_rs import ValidationError, Validator

SCHEMAS_MAX: Final = 1_000  # compiled schemas kept; as many as compiled revisions
OPENING: Final = frozenset(  # what may let names in that `properties` does not have
    {"additionalProperties", "patternProperties", "unevaluatedProperties", "allOf", "anyOf", "oneOf", "$ref"}
)
KINDS: Final = frozenset({"string", "number", "integer", "boolean", "array", "object", "null"})
MAPPINGS: Final = frozenset(  # what else of a schema is a mapping
    {"$defs", "definitions", "default", "const", "not", "if", "then", "else", "propertyNames"}
    | {"dependencies", "dependentRequired", "dependentSchemas"}
)

Schema = Mapping[str, Any]


class Problem(msgspec.Struct, frozen=True):
    """What is wrong with one input, in a sentence; no name where it is none of them in particular."""

    name: str | None
    message: str


def names_of(schema: Schema) -> frozenset[str] | None:
    """The declared names; None where the schema does not tell all of them."""
    if "properties" not in schema or any(schema.get(word, False) is not False for word in OPENING):
        return None
    return frozenset(schema["properties"])


def misplaced(schema: Schema) -> list[str]:
    """The names that stand in a schema as if they were inputs, which are read under `properties` alone."""
    if "properties" in schema or not OPENING.isdisjoint(schema):
        return []
    return [
        name
        for name, value in schema.items()
        if (isinstance(value, Mapping) and name not in MAPPINGS)
        or (isinstance(value, str) and value in KINDS and name != "type")
    ]


def schema_of(declared: Schema | type | None) -> dict[str, Any] | None:
    """Inputs as they are declared in Python: a schema, or a type with fields."""
    if declared is None or isinstance(declared, Mapping):
        return None if declared is None else dict(declared)
    try:
        schema = msgspec.json.schema(declared)
    except TypeError as error:
        why = f"inputs is {declared!r:.60}: give a JSON Schema, or a type with fields"
        raise InvalidArgument(why) from error
    parts = dict(schema.get("$defs", {}))
    if "$ref" not in schema:
        return schema
    root = parts.pop(schema["$ref"].removeprefix("#/$defs/"))
    return {**root, "$defs": parts} if parts else dict(root)


def filled(schema: Schema | None, context: dict[str, Any], *, whole: Schema | None = None) -> dict[str, Any]:
    """The context with the declared defaults of what it does not have, also inside mappings.

    `whole` is the schema that `schema` is a part of, and that its references lead into.
    """
    if schema is None:
        return context
    whole = schema if whole is None else whole
    properties = schema.get("properties")
    if not isinstance(properties, Mapping):
        return context
    found = dict(context)
    for name, declared in properties.items():
        if not isinstance(declared, Mapping):
            continue
        inner = _followed(declared, whole)
        if name not in found and "default" in inner:
            found[name] = inner["default"]
        elif isinstance(found.get(name), dict):
            found[name] = filled(inner, found[name], whole=whole)
    return found


def _followed(part: Schema, whole: Schema) -> Schema:
    """The part with the words that its reference leads to, as a type within a type is written."""
    reference = part.get("$ref")
    if not isinstance(reference, str) or not reference.startswith("#/"):
        return part
    found: Any = whole
    for segment in reference.removeprefix("#/").split("/"):
        name = segment.replace("~1", "/").replace("~0", "~")
        found = found.get(name) if isinstance(found, Mapping) else None
    return {**found, **part} if isinstance(found, Mapping) else part


def problems_of(schema: Schema | None, context: Mapping[str, Any]) -> list[Problem]:
    """Everything that is wrong with a context."""
    if schema is None:
        return []
    errors = _validator(msgspec.json.encode(schema)).iter_errors(context)
    found = [problem for error in errors for problem in _told(error, schema, context)]
    return sorted(found, key=lambda problem: problem.message)


def typed(schema: Schema | None, name: str, text: str) -> Any:
    """What a text given for an input stands for: JSON where that fits its declared type, else text.

    Without a declaration whatever is JSON is that JSON.
    """
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return text
    declared = {} if schema is None else schema.get("properties", {}).get(name, {})
    kinds = declared.get("type") if isinstance(declared, Mapping) else None
    allowed = {kinds} if isinstance(kinds, str) else set(kinds or ())
    if "string" in allowed and not (_kinds_of(value) & allowed):
        return text
    return value


def _kinds_of(value: Any) -> set[str]:
    """The names JSON Schema has for the type of a value."""
    match value:
        case None:
            return {"null"}
        case bool():
            return {"boolean"}
        case int():
            return {"integer", "number"}
        case float():
            return {"number", *(["integer"] if value.is_integer() else [])}
        case str():
            return {"string"}
        case list():
            return {"array"}
        case _:
            return {"object"}


def _told(error: ValidationError, schema: Schema, context: Mapping[str, Any]) -> Iterator[Problem]:
    """What a person can do about an error of the validator."""
    kind, path = error.kind.name, error.instance_path
    if kind == "required" and not path:
        name = str(error.kind.value)
        near = nearest(name, set(context) - set(schema.get("properties", ())))
        hint = f" (is {near!r} meant to be it?)" if near else ""
        yield Problem(name, f"input {quoted(name)} is missing{_expected(schema, name)}{hint}")
    elif kind == "additionalProperties" and not path:
        known = set(schema.get("properties", ()))
        for name in sorted(error.kind.value):
            near = nearest(name, known - set(context)) or nearest(name, known)
            hint = f" (did you mean {near!r}?)" if near else ""
            yield Problem(name, f"input {quoted(name)} is not declared{hint}")
    elif path:
        yield Problem(str(path[0]), f"input {_written(path)}: {error.message}")
    else:
        yield Problem(None, f"the inputs: {error.message}")


def _expected(schema: Schema, name: str) -> str:
    declared = schema.get("properties", {}).get(name, {})
    about = [] if not isinstance(declared, Mapping) else [declared.get("type"), declared.get("description")]
    told = ", ".join(str(each) for each in about if each)
    return f": {told}" if told else ""


def _written(path: list[str | int]) -> str:
    """A place in the inputs as people write it: `'order.lines[2]'`."""
    first, *rest = path
    return quoted(str(first) + "".join(f"[{each}]" if isinstance(each, int) else f".{each}" for each in rest))


@lru_cache(maxsize=SCHEMAS_MAX)
def _validator(schema: bytes) -> Validator:
    return make_validator(msgspec.json.decode(schema))
