"""How Python speaks of time and retries: seconds, timedeltas, text and exception classes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal

import msgspec

from perdure.runtime.agents.signature import Function
from perdure.runtime.arguments import InvalidArgument, made_of, mapping, several
from perdure.runtime.durations import Duration, duration_ms
from perdure.runtime.language.definition import ForEachDefinition, RepeatDefinition, RetryDefinition


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """How often and how patiently a failed step is tried again; times are seconds, `1m30s` or a timedelta.

    The delay before retry n is `delay * multiplier ** (n - 1)`, at most `max_delay`; with `jitter` a
    random part of it. `retryable_errors` are exception classes or their names; empty means all.
    """

    max_retries: int = 0
    delay: Duration = 1.0
    multiplier: float = 2.0
    max_delay: Duration = 60.0
    jitter: bool = True
    retryable_errors: Sequence[str | type[BaseException]] = ()


class Repeat(msgspec.Struct, frozen=True, kw_only=True):
    """How often a step is performed: until something holds, or while it does.

    `until` or `while_` is a plain function, or an expression in CEL, of the `output` of the iteration
    that has just ended, its number (`iteration`: 1, 2, …) and what a condition sees. `delay` is
    between two iterations. With `on_exhausted="continue"` the output of iteration number
    `max_iterations` is taken as it is; else the step fails.
    """

    until: str | Function | None = None
    while_: str | Function | None = None
    max_iterations: int = 100
    delay: Duration = 0.0
    on_exhausted: Literal["fail", "continue"] = "fail"


class ForEach(msgspec.Struct, frozen=True, kw_only=True):
    """What a step is performed for.

    `items` is a list, a count, a template or an expression in CEL that gives one, or a plain function
    that does. The step's function takes an item as its parameter `as_`, its number (from 0) as `index`;
    the list of what it gives is the output. At most `max_concurrency` items are in flight. An item that
    fails for good fails the step, or with `continue_on_error` gives None.
    """

    items: Any
    as_: str = "item"
    index: str = "index"
    max_concurrency: int = 100
    continue_on_error: bool = False


def milliseconds(duration: Duration) -> int:
    """Return a duration in whole milliseconds; what is more than nothing is at least one.

    Raises InvalidArgument.
    """
    if isinstance(duration, str):
        try:
            return duration_ms(duration, what="a duration")
        except InvalidArgument:
            raise _no_duration(duration) from None
    seconds: Any = duration.total_seconds() if isinstance(duration, timedelta) else duration
    if not isinstance(seconds, int | float) or not math.isfinite(seconds):
        raise _no_duration(duration)
    rounded = round(seconds * 1_000)
    return 1 if rounded == 0 < seconds else rounded


def optional_milliseconds(duration: Duration | None) -> int | None:
    """Return a duration in milliseconds, None for none."""
    return None if duration is None else milliseconds(duration)


def retry_definition(retry: Retry) -> RetryDefinition:
    """Return the canonical form of a retry policy. Raises InvalidArgument for anything else."""
    made_of(Retry, retry, what="retry", example="Retry(max_retries=3)")
    return RetryDefinition(
        max_retries=retry.max_retries,
        retry_delay_ms=milliseconds(retry.delay),
        retry_backoff_multiplier=_multiplier(retry.multiplier),
        retry_max_delay_ms=milliseconds(retry.max_delay),
        jitter=retry.jitter,
        retryable_errors=tuple(map(_error_name, several(retry.retryable_errors, what="retryable_errors"))),
    )


def _multiplier(value: Any) -> float:
    if not isinstance(value, int | float):
        raise InvalidArgument(f"multiplier is {value!r:.60}: give a number")
    return float(value)


def _error_name(error: Any) -> str:
    if isinstance(error, type):
        return error.__name__
    if not isinstance(error, str):
        raise InvalidArgument(f"retryable_errors has {error!r:.60}: give exception classes, or their names")
    return error


def repeat_definition(repeat: Repeat, *, until: str | None, while_: str | None) -> RepeatDefinition:
    """Return the canonical form of a loop whose condition has this text."""
    return RepeatDefinition(
        until=until,
        while_=while_,
        max_iterations=repeat.max_iterations,
        delay=milliseconds(repeat.delay),
        on_exhausted=repeat.on_exhausted,
    )


def for_each_definition(for_each: ForEach, *, items: Any) -> ForEachDefinition:
    """Return the canonical form of a loop over items that are written so."""
    return ForEachDefinition(
        items=list(items) if isinstance(items, tuple | range) else items,
        as_=for_each.as_,
        index=for_each.index,
        max_concurrency=for_each.max_concurrency,
        continue_on_error=for_each.continue_on_error,
    )


def parts_as_text(parts: Iterable[Mapping[str, Any]], *, what: str) -> tuple[Any, ...]:
    """Parts of the definition as a text would have them, each as `part_as_text` gives it."""
    return tuple(part_as_text(part, what=f"what {what} has") for part in several(parts, what=what))


def part_as_text(part: Mapping[str, Any] | None, *, what: str) -> Any:
    """A part of the definition, given in the words of the text form; it is checked with the whole.

    In Python lengths of time may also be timedeltas. Raises InvalidArgument for what is no mapping.
    """
    if part is None:
        return None
    return {name: _as_text(value) for name, value in mapping(part, what=what).items()}


def _no_duration(given: Any) -> InvalidArgument:
    return InvalidArgument(f"{given!r} is no duration: give seconds, a text like 1m30s or a timedelta")


def _as_text(value: Any) -> Any:
    return value // timedelta(milliseconds=1) if isinstance(value, timedelta) else value
