"""Times as earlier systems wrote them, as milliseconds since 1970. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

SECONDS_MAX: Final = (
    100_000_000_000  # from here on a number is milliseconds: as seconds it were the year 5138
)
MILLISECONDS_MAX: Final = SECONDS_MAX * 1_000  # from here on it is microseconds
YEAR_MAX_MS: Final = 253_402_300_799_999  # the last moment of the year 9999


def milliseconds_of(value: Any) -> int | None:
    """The moment in a column: ISO 8601 with a zone or in UTC, or a number of seconds, ms or µs; else None."""
    if isinstance(value, str):
        value = _number(value.strip())
    if isinstance(value, str):
        return _of_text(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        return None
    if value >= MILLISECONDS_MAX:
        value = value / 1_000
    elif value < SECONDS_MAX:
        value = value * 1_000
    return round(value) if value <= YEAR_MAX_MS else None


def _number(text: str) -> str | float:
    """A text that is a number, as one; a year alone is no time, and eight digits may be a date."""
    is_date = len(text) == len("20250131") and _of_text(text) is not None
    try:
        return float(text) if len(text) > len("2025") and not is_date else text
    except ValueError:
        return text


def _of_text(text: str) -> int | None:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at
    found = max(0, round(at.timestamp() * 1_000))
    return found if found <= YEAR_MAX_MS else None
