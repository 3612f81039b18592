"""Durations as people write them: "23h", "1h 30m", "250ms", seconds, or a timedelta."""

from __future__ import annotations

from datetime import timedelta

from perdure.runtime.arguments import InvalidArgument
from perdure.runtime.durations import duration_ms


def seconds(duration: str | float | timedelta) -> float:
    """Seconds of a duration. Raises InvalidArgument for a text that is none, and below zero."""
    if isinstance(duration, timedelta):
        duration = duration.total_seconds()
    if isinstance(duration, str):
        return duration_ms(duration.replace(" ", ""), what="a duration") / 1_000
    if duration < 0:
        raise InvalidArgument(f"{duration} seconds: time goes one way")
    return float(duration)
