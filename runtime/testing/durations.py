"""Durations as people write them: "23h", "1h 30m", "250ms", seconds, or a timedelta."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

from perdure.runtime.arguments import InvalidArgument

SECONDS_IN: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0, "w": 604_800.0}
_PART: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)")


def seconds(duration: str | float | timedelta) -> float:
    """Seconds of a duration. Raises InvalidArgument for a text that is none, and below zero."""
    if isinstance(duration, timedelta):
        duration = duration.total_seconds()
    if not isinstance(duration, str):
        if duration < 0:
            raise InvalidArgument(f"{duration} seconds: time goes one way")
        return float(duration)
    parts = _PART.findall(duration)
    if not parts or _PART.sub("", duration).strip():
        raise InvalidArgument(f"{duration!r} is no duration: write it as '90s', '1h 30m', '250ms' or '2d'")
    return sum(float(number) * SECONDS_IN[unit] for number, unit in parts)
