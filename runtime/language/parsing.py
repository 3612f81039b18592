"""From bytes to a checked definition: limits, encoding, format, types, then everything else."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from perdure.runtime.arguments import any_text
from perdure.runtime.language.checks import check
from perdure.runtime.language.definition import Definition
from perdure.runtime.language.document import DEPTH_MAX, Document, number_problem, text_problem
from perdure.runtime.language.errors import DefinitionError, Problem
from perdure.runtime.language.findings import Findings
from perdure.runtime.language.findings import Path as Parts
from perdure.runtime.language.json_reader import read_json
from perdure.runtime.language.schema import decode, fields_of
from perdure.runtime.near import quoted

Format = Literal["yaml", "json"]

DEFINITION_BYTES_MAX: Final = 1_000_000  # of a file; ten thousand steps fit, and it parses in a second
FOREIGN_MIN: Final = 2  # unknown fields: one alone is a slip of the keyboard
FOREIGN_SHOWN: Final = 5  # of them; by then everybody knows what he has in front of him

WORDS: Final = {str: "text", list: "a list", bool: "true or false", int: "a number", float: "a number"}


def read(path: Path) -> Definition:
    """Read a definition from a file. Raises DefinitionError with all its problems."""
    return define(read_file(path))


def read_file(path: Path) -> Document:
    """Read a file as values that know their places. Raises DefinitionError."""
    try:
        with path.open("rb") as file:
            content = file.read(DEFINITION_BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise DefinitionError([Problem(message=f"the file cannot be read: {why}", file=str(path))]) from None
    return read_document(content, source=str(path))


def parse(text: str | bytes, *, source: str = "<text>", format: Format | None = None) -> Definition:
    """Read a definition from text. Raises DefinitionError with all its problems."""
    return define(read_document(text, source=source, format=format))


def define(document: Document) -> Definition:
    """Check everything there is to check without agents. Raises DefinitionError with all its problems."""
    if not isinstance(document.value, dict):
        what = "empty" if document.value is None else WORDS[type(document.value)]
        raise document.refuse(
            f"the document is {what}", line=1, column=1, expected="a mapping with name and steps"
        )
    if foreign := _foreign(document.value):
        raise document.refuse(foreign, line=1, column=1, expected="a mapping with name and steps")
    findings = Findings(document.locate)
    definition = decode(document.value, Definition, findings)
    check(definition, findings)
    findings.raise_if_any()
    return definition


def _foreign(value: dict[str, Any]) -> str:
    """Why it looks like the document of another program, so that its fields are not worth a problem each."""
    known = fields_of(Definition)
    foreign = [quoted(name) for name in value if name not in known]
    if "name" in value or "steps" in value or len(foreign) < FOREIGN_MIN:
        return ""
    shown, more = ", ".join(foreign[:FOREIGN_SHOWN]), len(foreign) - FOREIGN_SHOWN
    but = f"{shown} and {more} more" if more > 0 else shown
    return f"this is no workflow as perdure writes them: there is neither 'name' nor 'steps', but {but}"


def read_document(text: str | bytes, *, source: str, format: Format | None = None) -> Document:
    """Read YAML or JSON, told apart by `format`, the extension, or the content."""
    decoded = _decoded(text, any_text(source, what="source"))
    if format == "json" or (format is None and source.lower().endswith(".json")):
        return read_json(decoded, source=source)
    if format is None and decoded.lstrip(" \t\r\n").startswith("{"):
        try:
            return read_json(decoded, source=source)
        except DefinitionError:
            pass  # a flow mapping of YAML begins like JSON; whatever is wrong with it, YAML says so too
    from perdure.runtime.language.yaml_reader import read_yaml

    return read_yaml(decoded, source=source)


def _decoded(text: str | bytes, source: str) -> str:
    """Decode bytes; refuse what is too long, is not UTF-8 or cannot be kept."""
    if isinstance(text, str) and (problem := text_problem(text)) is not None:
        raise _refusal(problem, source)
    encoded = text if isinstance(text, bytes) else any_text(text, what="text").encode()
    if len(encoded) > DEFINITION_BYTES_MAX:
        raise _refusal(f"longer than {DEFINITION_BYTES_MAX:,} bytes: split the workflow", source)
    try:
        decoded = encoded.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = encoded.count(b"\n", 0, error.start) + 1
        raise _refusal(
            f"byte {error.start} is not UTF-8: save the file as UTF-8", source, line=line
        ) from None
    if (problem := text_problem(decoded)) is not None:
        raise _refusal(problem, source, line=decoded.count("\n", 0, decoded.find("\x00")) + 1)
    return decoded


def _refusal(message: str, source: str, *, line: int | None = None) -> DefinitionError:
    return DefinitionError([Problem(message=message, file=source, line=line)])


def check_values(definition: Definition, findings: Findings) -> Definition:
    """Check a definition that was made in Python like one that was read.

    Raises DefinitionError with all its problems, those in `findings` among them.
    """
    try:
        document = msgspec.to_builtins(definition)
    except (TypeError, ValueError, RecursionError) as error:
        findings.add((), f"the definition has parts that JSON cannot hold: {error}")
        findings.raise_if_any()
        raise
    _check_plain(document, findings)
    findings.raise_if_any()
    checked = decode(document, Definition, findings)
    check(checked, findings)
    findings.raise_if_any()
    return checked


def _check_plain(document: Any, findings: Findings) -> None:
    """Refuse what a text could not have held: deep nesting, odd text and numbers, other keys."""
    open_parts: list[tuple[Parts, Any]] = [((), document)]
    while open_parts:
        path, value = open_parts.pop()
        if isinstance(value, dict):
            entries = list(value.items())
        elif isinstance(value, list | tuple):
            entries = list(enumerate(value))
        else:
            _check_plain_scalar(path, value, findings)
            continue
        if len(path) >= DEPTH_MAX:
            findings.add(path[:4], f"nested more than {DEPTH_MAX} levels deep")
            continue
        for part, inner in entries:
            if isinstance(value, dict) and not isinstance(part, str):
                findings.add(path, f"the key {part!r} is not text")
            elif isinstance(part, str) and (problem := text_problem(part)) is not None:
                findings.add(path, problem)
            else:
                open_parts.append(((*path, part), inner))


def _check_plain_scalar(path: Parts, value: Any, findings: Findings) -> None:
    problem = None
    if isinstance(value, str):
        problem = text_problem(value)
    elif isinstance(value, int | float):
        problem = number_problem(value)
    if problem is not None:
        findings.add(path, problem)
