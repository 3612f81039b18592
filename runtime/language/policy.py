"""How Python speaks of time and retries: seconds, timedeltas, text and exception classes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal, TypeVar

import msgspec

from perdure.runtime.agents.signature import Function
from perdure.runtime.arguments import InvalidArgument
from perdure.runtime.durations import duration_ms
from perdure.runtime.language.definition import ForEachDefinition, RepeatDefinition, RetryDefinition

Duration = float | timedelta | str

T = TypeVar("T")


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


def made_of(kind: type[T], value: Any, *, what: str, example: str) -> T:
    """Return the value. Raises InvalidArgument where it is none of that kind."""
    if not isinstance(value, kind):
        raise InvalidArgument(f"{what} is {value!r:.80}: give a {kind.__name__}, such as {example}")
    return value


def retry_definition(retry: Retry) -> RetryDefinition:
    """Return the canonical form of a retry policy. Raises InvalidArgument for anything else."""
    made_of(Retry, retry, what="retry", example="Retry(max_retries=3)")
    errors = [retry.retryable_errors] if isinstance(retry.retryable_errors, str) else retry.retryable_errors
    return RetryDefinition(
        max_retries=retry.max_retries,
        retry_delay_ms=milliseconds(retry.delay),
        retry_backoff_multiplier=float(retry.multiplier),
        retry_max_delay_ms=milliseconds(retry.max_delay),
        jitter=retry.jitter,
        retryable_errors=tuple(each if isinstance(each, str) else each.__name__ for each in errors),
    )


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


def schedules_as_text(schedules: Iterable[Mapping[str, Any]]) -> tuple[Any, ...]:
    """Schedules as a text would have them; in Python, lengths of time may also be timedeltas."""
    return tuple({name: _as_text(value) for name, value in schedule.items()} for schedule in schedules)


def part_as_text(part: Mapping[str, Any] | None) -> Any:
    """A part of the definition, given in the words of the text form; it is checked with the whole."""
    return None if part is None else {name: _as_text(value) for name, value in part.items()}


def _no_duration(given: Any) -> InvalidArgument:
    return InvalidArgument(f"{given!r} is no duration: give seconds, a text like 1m30s or a timedelta")


def _as_text(value: Any) -> Any:
    return value // timedelta(milliseconds=1) if isinstance(value, timedelta) else value
