"""What a schedule says: at which moments, and what is to happen to those that were missed or collide."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final
from zoneinfo import ZoneInfo, available_timezones

import msgspec

from perdure.runtime.arguments import InvalidArgument
from perdure.runtime.durations import UNITS_MS, duration_ms, duration_text
from perdure.runtime.near import nearest
from perdure.runtime.schedules.timetable import check_cron

EVERY_MS_MIN: Final = 1_000  # what starts more often than once a second is no schedule but a loop
FIELDS: Final = ("cron", "every", "timezone", "missed", "missedWindow", "overlap", "jitter", "input")


class Missed(StrEnum):
    """What is to happen to moments at which nobody was there to start anything."""

    SKIP = "skip"  # they are recorded, and that is all
    LATEST = "latest"  # the last of them is made up for
    ALL = "all"  # each of them is, in order


class Overlap(StrEnum):
    """What is to happen when the execution before has not ended."""

    SKIP = "skip"  # the moment is recorded as skipped
    QUEUE = "queue"  # it waits for that end
    REPLACE = "replace"  # that execution is cancelled
    ALLOW = "allow"  # they run beside each other


class Rule(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One schedule's rule: either `cron` (in `timezone`) or `every_ms` (counted from 1970, UTC).

    A missed moment is made up for, where `missed` says so, within `missed_window_ms`. `jitter_ms`
    delays each start by a part of it that hangs on the moment alone. `input` is the context.
    """

    cron: str | None = None
    every_ms: int | None = None
    timezone: str = "UTC"
    missed: Missed = Missed.LATEST
    missed_window_ms: int = UNITS_MS["d"]
    overlap: Overlap = Overlap.SKIP
    jitter_ms: int = 0
    input: dict[str, Any] = {}

    @property
    def text(self) -> str:
        """The moments in one line, as a list shows them."""
        if self.cron is not None:
            return f"{self.cron} ({self.timezone})"
        return f"every {duration_text(self.every_ms or 0)}"


def rule_of(given: Mapping[str, Any]) -> Rule:
    """A rule from the words of a definition or of `schedule add`. Raises InvalidArgument."""
    for name in given:
        if name not in FIELDS:
            hint = nearest(name, FIELDS)
            raise InvalidArgument(
                f"a schedule has no field {name!r}{f': did you mean {hint!r}' if hint else ''} "
                f"(it has {', '.join(FIELDS)})"
            )
    cron, every = given.get("cron"), given.get("every")
    if (cron is None) == (every is None):
        raise InvalidArgument("a schedule says either `cron` or `every`: give one of them")
    timezone = given.get("timezone", "UTC")
    if cron is not None:
        _check_timezone(timezone)
        check_cron(cron)
    elif "timezone" in given:
        raise InvalidArgument("`every` counts from 1970 in UTC: `timezone` goes with `cron`")
    rule = Rule(
        cron=cron,
        every_ms=None if every is None else _every(every),
        timezone=timezone,
        missed=_one_of(Missed, given.get("missed", Missed.LATEST), what="missed"),
        missed_window_ms=duration_ms(given.get("missedWindow", UNITS_MS["d"]), what="missedWindow"),
        overlap=_one_of(Overlap, given.get("overlap", Overlap.SKIP), what="overlap"),
        jitter_ms=duration_ms(given.get("jitter", 0), what="jitter"),
        input=_input(given.get("input", {})),
    )
    if rule.every_ms is not None and rule.jitter_ms >= rule.every_ms:
        raise InvalidArgument("jitter must be shorter than `every`, or moments would overtake each other")
    return rule


def _every(value: Any) -> int:
    every_ms = duration_ms(value, what="every")
    if every_ms < EVERY_MS_MIN:
        raise InvalidArgument(f"every is {value!r}: the shortest is one second")
    return every_ms


def _check_timezone(name: Any) -> None:
    if not isinstance(name, str):
        raise InvalidArgument(f"timezone is {name!r}: give a name such as Europe/Berlin, or UTC")
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        hint = nearest(name, sorted(available_timezones()))
        raise InvalidArgument(
            f"timezone is {name!r}, which this machine does not know"
            f"{f': did you mean {hint!r}?' if hint else ': give a name such as Europe/Berlin, or UTC'}"
        ) from None


def _one_of(kind: type[Missed | Overlap], value: Any, *, what: str) -> Any:
    try:
        return kind(value)
    except ValueError:
        raise InvalidArgument(f"{what} is {value!r}: it is one of {', '.join(kind)}") from None


def _input(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise InvalidArgument(f"input is {value!r:.60}: give the context of the execution, names and values")
    return dict(value)
