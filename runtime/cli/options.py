"""The options that commands share, and how their texts become values."""

from __future__ import annotations

import functools
import json
import sys
from codecs import BOM_UTF8
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from cyclopts import Parameter

from perdure.runtime.arguments import InvalidArgument, at_least_one, milliseconds
from perdure.runtime.durations import duration_ms
from perdure.runtime.near import quoted
from perdure.store.errors import PerdureError

CONTEXT_BYTES_MAX: Final = 1_048_576  # what the store keeps of one context
BUDGET_PARTS: Final = frozenset({"cost", "tokens"})

Flag = Annotated[bool, Parameter(negative="")]


def check_seconds(_type: Any, value: float | None) -> None:
    """Refuse a time that cannot be waited for. Raises InvalidArgument."""
    milliseconds(value, what="the time")


def check_count(_type: Any, value: int) -> None:
    """Refuse to show nothing. Raises InvalidArgument."""
    at_least_one(value, what="the number")


Seconds = Annotated[float | None, Parameter(negative="", validator=check_seconds)]
Inputs = Annotated[tuple[str, ...], Parameter(name=["--input", "-i"], negative="")]
Limit = Annotated[int, Parameter(name=["--limit", "-n"], negative="", validator=check_count)]


class UsageError(PerdureError):
    """The command line asks for something that cannot be; nothing was done."""


# Dataclasses, not structs: cyclopts takes options apart along dataclass fields.
@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Common:
    """What every command understands."""

    db: str | None = None
    """Database file or URL (PERDURE_DB; default perdure.db)."""
    color: Literal["auto", "always", "never"] = "auto"
    """When to use colour; NO_COLOR and FORCE_COLOR are honoured."""
    debug: Flag = False
    """Show tracebacks."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Reading(Common):
    """What commands that print data understand."""

    format: Literal["table", "json", "jsonl"] = "table"
    """How data is printed."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Choosing:
    """What commands understand that may be given to many executions at once."""

    where: str | None = None
    """Instead of an ID: a filter such as 'state=failed workflow=x last=7d'."""
    dry_run: Flag = False
    """With --where: say what would become of it; nothing is done."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Performing(Reading):
    """What commands that may perform steps understand."""

    agents: str | None = None
    """Where agents come from: module:registry or path/to/file.py:registry (PERDURE_AGENTS)."""
    timeout: Seconds = None
    """Leave with code 124 after that many seconds; the execution is paused, not lost."""


def read_inputs(context: str | None, inputs: Sequence[str]) -> dict[str, Any]:
    """The context of an execution: `--context` (JSON, @FILE or - for stdin), then each `-i name=value`.

    A value that is JSON is that JSON, anything else is text: `-i n=2` is a number, `-i n='"2"'` a
    text. Raises UsageError.
    """
    values = read_json(context, what="--context") if context is not None else {}
    if not isinstance(values, dict):
        raise UsageError('--context: must be a JSON object, such as \'{"name": "value"}\'')
    return values | read_values(inputs, what="-i")


def read_values(pairs: Sequence[str], *, what: str) -> dict[str, Any]:
    """Each NAME=VALUE as a value: JSON where it is, else text. Raises UsageError."""
    return {name: _value(text) for name, text in _pairs(pairs, what=what)}


def typed_inputs(inputs: Sequence[str], declared: Mapping[str, Any] | None) -> dict[str, Any]:
    """Each `-i name=value` as what the workflow has declared for that name."""
    from perdure.runtime.language.inputs import typed

    return {name: typed(declared, name, text) for name, text in _pairs(inputs, what="-i")}


def _pairs(inputs: Sequence[str], *, what: str) -> list[tuple[str, str]]:
    """The names and texts of `-i name=value`. Raises UsageError."""
    pairs = []
    for pair in inputs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise UsageError(f"{what} {pair}: must be NAME=VALUE")
        pairs.append((name, text))
    return pairs


def read_json(text: str, *, what: str) -> Any:
    """JSON given on the command line, in a file (`@FILE`) or on stdin (`-`). Raises UsageError."""
    try:
        if text == "-":
            raw = sys.stdin.buffer.read(CONTEXT_BYTES_MAX + 1)
        elif text.startswith("@"):
            with Path(text[1:]).open("rb") as file:
                raw = file.read(CONTEXT_BYTES_MAX + 1)
        else:
            raw = text.encode()
        if len(raw) > CONTEXT_BYTES_MAX:
            raise UsageError(
                f"{what}: larger than {CONTEXT_BYTES_MAX:,} bytes; pass the address of large data"
            )
        raw = raw.removeprefix(BOM_UTF8)
        decoded = msgspec.json.decode(raw)
        json.loads(raw, object_pairs_hook=functools.partial(_refuse_twins, what))
        return decoded
    except OSError as error:
        raise UsageError(f"{what} {text}: cannot be read: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise UsageError(f"{what}: not valid JSON: {error}") from error


def _refuse_twins(what: str, pairs: list[tuple[str, Any]]) -> None:
    """Raise UsageError for a key that an object has twice: whichever counted, it would be a guess."""
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            raise UsageError(f"{what}: the key {quoted(name)} is there twice: remove one of them")
        seen.add(name)


def read_budget(text: str | None) -> dict[str, Any] | None:
    """What `--budget cost=2.5,tokens=50000` says; one of them may be left out. Raises UsageError."""
    if text is None:
        return None
    limits: dict[str, Any] = {}
    for pair in text.split(","):
        name, equals, amount = pair.partition("=")
        value = _value(amount.strip())
        if not equals or name.strip() not in BUDGET_PARTS or not isinstance(value, int | float):
            raise UsageError(f"--budget {text}: must be cost=NUMBER, tokens=NUMBER or both with a comma")
        limits[name.strip()] = value
    return limits


def read_period(text: str, *, what: str) -> timedelta:
    """A length of time such as 30s, 15m, 1h30m, 7d or 4w. Raises UsageError."""
    try:
        return timedelta(milliseconds=duration_ms(text, what=what))
    except InvalidArgument:
        message = f"{what} {text}: must be a length of time such as 30s, 15m, 1h30m, 7d or 4w"
        raise UsageError(message) from None


def read_moment(text: str, *, what: str) -> datetime | timedelta:
    """A time with its zone (ISO 8601), or a length of time from now. Raises UsageError."""
    with suppress(UsageError):
        return read_period(text, what=what)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise UsageError(
            f"{what} {text}: must be a time with its zone such as 2026-03-01T09:00+01:00, "
            "or in so long, such as 2h"
        )
    return found


def _value(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return text
