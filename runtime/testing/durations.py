"""Durations as people write them: "23h", "1h 30m", "250ms", seconds, or a timedelta."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

from perdure.runtime.arguments import InvalidArgument
from perdure.runtime.durations import duration_ms


def seconds(duration: str | float | timedelta) -> float:
    """Seconds of a duration. Raises InvalidArgument for what is none, and below zero."""
    given: Any = duration.total_seconds() if isinstance(duration, timedelta) else duration
    if isinstance(given, str):
        return duration_ms(given.replace(" ", ""), what="a duration") / 1_000
    if not isinstance(given, int | float) or math.isnan(given):
        raise InvalidArgument(f"{given!r:.60} is no duration: give seconds, a text like 1m30s or a timedelta")
    if given < 0:
        raise InvalidArgument(f"{given} seconds: time goes one way")
    return float(given)
