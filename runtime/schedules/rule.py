"""What a schedule says: at which moments, and what is to happen to those that were missed or collide."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from functools import partial
from itertools import islice, pairwise
from typing import Any, Final

import msgspec

from perdure.runtime.arguments import InvalidArgument
from perdure.runtime.durations import UNITS_MS, duration_ms, duration_text
from perdure.runtime.near import nearest
from perdure.runtime.schedules.timetable import check_cron, moments, zone_of
from perdure.store.writes import is_id

EVERY_MS_MIN: Final = 1_000  # what starts more often than once a second is no schedule but a loop
GAPS_SEEN: Final = 50  # between moments; a calendar whose shortest gap comes later is a rare one
ID_MAX: Final = 96  # characters; what a schedule starts is called after it and the moment
ID_RULE: Final = f"1 to {ID_MAX} letters, digits, '.', '_', '-', beginning with a letter or digit"
_MOMENTS: Final = frozenset({"cron", "every", "timezone"})  # the fields that say when they are
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


def stored_rule(kept: Mapping[str, Any]) -> Rule:
    """Read back a rule that was stored. Raises InvalidArgument for what only a newer release knows."""
    try:
        return msgspec.convert(kept, Rule)
    except msgspec.ValidationError as error:
        raise InvalidArgument(f"this release cannot read the stored rule ({error}): upgrade it") from error


def rule_of(given: Mapping[str, Any]) -> Rule:
    """A rule from the words of a definition or of `schedule add`. Raises InvalidArgument."""
    for _, sentence in problems_of(given):
        raise InvalidArgument(sentence)
    every = given.get("every")
    return Rule(
        cron=given.get("cron"),
        every_ms=None if every is None else _every(every),
        timezone=given.get("timezone", "UTC"),
        missed=Missed(given.get("missed", Missed.LATEST)),
        missed_window_ms=duration_ms(given.get("missedWindow", UNITS_MS["d"]), what="missedWindow"),
        overlap=Overlap(given.get("overlap", Overlap.SKIP)),
        jitter_ms=duration_ms(given.get("jitter", 0), what="jitter"),
        input=dict(given.get("input", {})),
    )


def problems_of(given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What is wrong with the words of a rule: the field (empty: the whole), and a sentence."""
    cron, every = given.get("cron"), given.get("every")
    for name in given:
        if name not in FIELDS:
            hint = nearest(name, FIELDS)
            near = f": did you mean {hint!r}" if hint else ""
            yield name, f"a schedule has no field {name!r}{near} (it has {', '.join(FIELDS)})"
    if (cron is None) == (every is None):
        yield "", "a schedule says either `cron` or `every`: give one of them"
    elif "timezone" in given and cron is None:
        yield "timezone", "`every` counts from 1970 in UTC: `timezone` goes with `cron`"
    wrong = set()
    for name, check in _CHECKS.items():
        if name not in given or (given[name] is None and name in {"cron", "every"}):
            continue
        try:
            check(given[name])
        except InvalidArgument as error:
            wrong.add(name)
            yield name, str(error)
    if "jitter" in given and (cron is None) != (every is None) and not wrong & {*_MOMENTS, "jitter"}:
        yield from _jitter_problem(given)


def is_schedule_id(text: Any) -> bool:
    """Whether a schedule may be called so."""
    return isinstance(text, str) and is_id(text) and len(text) <= ID_MAX


def _jitter_problem(given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    jitter_ms, every = duration_ms(given["jitter"], what="jitter"), given.get("every")
    every_ms = None if every is None else _every(every)
    rule = Rule(cron=given.get("cron"), every_ms=every_ms, timezone=given.get("timezone", "UTC"))
    seen = list(islice(moments(rule, after=0), GAPS_SEEN + 1))
    if any(later - one <= jitter_ms for one, later in pairwise(seen)):
        yield "jitter", "jitter must be shorter than the time between moments: they would overtake each other"


def _every(value: Any) -> int:
    every_ms = duration_ms(value, what="every")
    if every_ms < EVERY_MS_MIN:
        raise InvalidArgument(f"every is {value!r}: the shortest is one second")
    return every_ms


def _one_of(kind: type[Missed | Overlap], value: Any, *, what: str) -> None:
    try:
        kind(value)
    except ValueError:
        raise InvalidArgument(f"{what} is {value!r}: it is one of {', '.join(kind)}") from None


def _check_input(value: Any) -> None:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise InvalidArgument(f"input is {value!r:.60}: give the context of the execution, names and values")


_CHECKS: Final[dict[str, Callable[[Any], object]]] = {
    "cron": check_cron,
    "every": _every,
    "timezone": zone_of,
    "missed": partial(_one_of, Missed, what="missed"),
    "missedWindow": partial(duration_ms, what="missedWindow"),
    "overlap": partial(_one_of, Overlap, what="overlap"),
    "jitter": partial(duration_ms, what="jitter"),
    "input": _check_input,
}
