"""Lengths of time as people write them: `90s`, `15m`, `1h30m`, `3d`."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any, Final

from perdure.runtime.arguments import MILLISECONDS_MAX, InvalidArgument

Duration = float | timedelta | str  # of time, as Python speaks of it: seconds, or a text as below

RETENTION: Final = "90d"  # a quarter: what nobody has looked at for so long nobody looks for
OFF: Final = "off"
RETENTION_MS_MIN: Final = 3_600_000  # an hour: a shorter one is a slip, and would take what people wait for

UNITS_MS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
PART: Final = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)(ms|s|m|h|d|w)", re.ASCII)


def duration_ms(value: Any, *, what: str) -> int:
    """A text such as `1h30m`, a whole number of milliseconds or a timedelta. Raises InvalidArgument."""
    if isinstance(value, timedelta):
        found = value / timedelta(milliseconds=1)
    elif isinstance(value, int) and not isinstance(value, bool):
        found = float(value)
    elif isinstance(value, str) and (parts := PART.findall(value)) and "".join(map("".join, parts)) == value:
        found = sum(float(number) * UNITS_MS[unit] for number, unit in parts)
    else:
        raise InvalidArgument(
            f"{what} is {value!r}: give a length of time such as 30s, 15m, 1h30m, 2d or 4w, or milliseconds"
        )
    if not 0 <= found <= MILLISECONDS_MAX:
        raise InvalidArgument(f"{what} is {value!r}: give 0 or more, and less than a century")
    return round(found)


def duration_text(ms: int) -> str:
    """The shortest such text for that many milliseconds."""
    if ms == 0:
        return "0s"
    parts = []
    for unit in ("d", "h", "m", "s", "ms"):
        count, ms = divmod(ms, UNITS_MS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)


def retention_ms(value: str | timedelta | None) -> int | None:
    """How long what has ended is kept; None for ever. Raises InvalidArgument."""
    if value is None or value == OFF:
        return None
    found = duration_ms(value, what="retention")
    if found < RETENTION_MS_MIN:
        raise InvalidArgument(
            f"retention is {value!r}: give 1h or more, such as 90d, or off to keep everything"
        )
    return found
