"""How an agent's registration says what guards it: a limit, a rate, a circuit breaker."""

from __future__ import annotations

import re
from typing import Any, Final, Literal

import msgspec

from perdure.actors.instructions.guard import CircuitPolicy, Guard, OnOpen
from perdure.runtime.arguments import InvalidArgument, seconds_of
from perdure.runtime.durations import Duration
from perdure.store.errors import PerdureError
from perdure.store.scripts.guards import Rate

RATE: Final = re.compile(r"\s*(\d{1,9})\s*/\s*(\d{0,6})\s*(ms|s|min|m|h|d)\s*", re.ASCII)
UNITS_MS: Final = {"ms": 1, "s": 1_000, "min": 60_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
CONCURRENCY_MAX: Final = 100_000  # more than any store's slots are worth counting
ERRORS_MAX: Final = 1_000  # failures that are remembered; a breaker that needs more is none


class InvalidGuard(PerdureError, ValueError):
    """A limit of an agent cannot be; the message says what can."""


class CircuitBreaker(msgspec.Struct, frozen=True, kw_only=True):
    """Stops calling an agent that fails, for all executions of all runners; times as of `Retry`.

    `errors` failures within `window` open the circuit (an attempt that takes longer than `latency`
    counts as one); after `cooldown` so many `probes` are let through: if all succeed it closes, if one
    fails it opens again. While it is open, steps wait, or fail at once with `on_open="fail"`.
    """

    errors: int = 5
    window: Duration = 60.0
    latency: Duration | None = None
    cooldown: Duration = 30.0
    probes: int = 1
    on_open: Literal["wait", "fail"] = "wait"


def guard_of(
    name: str, *, max_concurrency: int | None, rate: str | None, circuit_breaker: CircuitBreaker | None
) -> Guard | None:
    """What guards the agent of that name, None where nothing does. Raises InvalidGuard."""
    if max_concurrency is None and rate is None and circuit_breaker is None:
        return None
    if max_concurrency is not None and not _is_count(max_concurrency, most=CONCURRENCY_MAX):
        raise InvalidGuard(
            f"agent {name!r}: max_concurrency={max_concurrency!r}: give 1 to {CONCURRENCY_MAX:,}"
        )
    return Guard(
        scope=name,
        concurrency=max_concurrency,
        rate=None if rate is None else rate_of(rate, agent=name),
        circuit=None if circuit_breaker is None else _policy(name, circuit_breaker),
    )


def rate_of(text: Any, *, agent: str) -> Rate:
    """A rate such as `10/s`, `100/min` or `3/2h`. Raises InvalidGuard."""
    found = RATE.fullmatch(text) if isinstance(text, str) else None
    count, many = (0, 0) if found is None else (int(found[1]), int(found[2] or 1))
    if found is None or not count or not many:
        raise InvalidGuard(f"agent {agent!r}: rate={text!r}: give so many per time, as 10/s, 100/min or 3/2h")
    return Rate(count=count, period_ms=many * UNITS_MS[found[3]])


def _policy(name: str, breaker: Any) -> CircuitPolicy:
    if not isinstance(breaker, CircuitBreaker):
        raise InvalidGuard(f"agent {name!r}: circuit_breaker={breaker!r:.60}: give a CircuitBreaker(…)")
    for field in ("errors", "probes"):
        if not _is_count(getattr(breaker, field), most=ERRORS_MAX):
            raise InvalidGuard(f"agent {name!r}: {field} of its circuit breaker: give 1 to {ERRORS_MAX:,}")
    if breaker.on_open not in tuple(OnOpen):
        raise InvalidGuard(f"agent {name!r}: on_open={breaker.on_open!r}: give 'wait' or 'fail'")
    return CircuitPolicy(
        errors=breaker.errors,
        window_ms=_ms(name, "window", breaker.window),
        latency_ms=None if breaker.latency is None else _ms(name, "latency", breaker.latency),
        cooldown_ms=_ms(name, "cooldown", breaker.cooldown),
        probes=breaker.probes,
        on_open=OnOpen(breaker.on_open),
    )


def _ms(name: str, field: str, duration: Any) -> int:
    try:
        seconds = seconds_of(duration, what=field)
    except InvalidArgument:
        seconds = None
    if seconds is None or not 0 < seconds < float("inf"):
        raise InvalidGuard(
            f"agent {name!r}: {field}={duration!r}: give seconds, `1m30s` or a timedelta, more than 0"
        )
    return max(1, round(seconds * 1_000))


def _is_count(value: object, *, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most
