"""`perdure describe`: what a workflow file takes, does and gives back, and how it is called."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from perdure.runtime.cli.options import Reading
from perdure.runtime.cli.render import value
from perdure.runtime.cli.session import Session, open_session

DEFAULTS: Final = Reading()


def describe(file: str, /, *, options: Reading = DEFAULTS) -> int:
    """Tell what a workflow takes and gives back, and how to run it.

    Args:
        file: Workflow definition, YAML or JSON.
    """
    from perdure.runtime import Workflow

    session = open_session(options)
    workflow = Workflow.load(file)
    definition = workflow.definition
    rows = input_rows(definition.inputs)
    if session.out.format != "table":
        session.out.json(
            {
                "name": definition.name,
                "version": definition.version,
                "description": definition.description,
                "revision": workflow.revision,
                "inputs": rows,
                "outputs": definition.outputs,
                "steps": [step.key for step in definition.steps],
            }
        )
        return 0
    head = f"{definition.name} {definition.version or ''}".rstrip()
    session.out.write(head + (f": {definition.description}" if definition.description else "") + "\n")
    _show(session, rows, definition.outputs or {})
    needed = [word for row in rows if row["required"] for word in ("-i", _example(row))]
    session.out.write(f"\nrun it with: {shlex.join(['perdure', 'run', file, *needed])}\n")
    return 0


def input_rows(schema: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Each declared input: its type in words, whether it is needed, its default, what it is."""
    declared = {} if schema is None else schema.get("properties", {})
    required = set(() if schema is None else schema.get("required", ()))
    return [
        {
            "name": name,
            "type": _type(part),
            "required": name in required and not (isinstance(part, Mapping) and "default" in part),
            "default": part.get("default") if isinstance(part, Mapping) else None,
            "description": part.get("description") if isinstance(part, Mapping) else None,
        }
        for name, part in declared.items()
    ]


def _show(session: Session, rows: list[dict[str, Any]], outputs: Mapping[str, Any]) -> None:
    if rows:
        session.out.write("\n")
        session.out.table(
            ("INPUT", "TYPE", "DEFAULT", "MEANING"),
            [
                (
                    row["name"],
                    row["type"],
                    "required" if row["required"] else value(row["default"]),
                    row["description"] or "",
                )
                for row in rows
            ],
        )
    if outputs:
        session.out.write("\n")
        session.out.table(("OUTPUT", "VALUE"), [(name, value(each)) for name, each in outputs.items()])


def _type(part: Any) -> str:
    """The type of an input in words: `string`, `one of "a", "b"`, `array of string`."""
    if not isinstance(part, Mapping):
        return "any"
    if "enum" in part:
        return "one of " + ", ".join(msgspec.json.encode(each).decode() for each in part["enum"])
    kinds = part.get("type", "any")
    text = " or ".join(kinds) if isinstance(kinds, list) else str(kinds)
    return f"{text} of {_type(part['items'])}" if text == "array" and "items" in part else text


def _example(row: Mapping[str, Any]) -> str:
    return f"{row['name']}={row['name'].upper()}"
