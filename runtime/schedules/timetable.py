"""The moments of a rule, in order. Pure: the time to begin from is given.

Cron expressions are cronsim's (an extra, `perdure[schedules]`), which follows Debian's cron: five
fields (or six, seconds first), names, ranges, steps, lists, `L` and `#`. Where the clocks change: a
job at a fixed hour that is skipped runs as the clock jumps forward, one whose hour comes twice runs
once; a job with `*` for its hour or minute, or with six fields, follows real time through both.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from perdure.runtime.arguments import InvalidArgument
from perdure.runtime.near import nearest

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from perdure.runtime.schedules.rule import Rule

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
LAST: Final = 253_402_300_799_000  # the last second of the year 9999, past which datetime knows nothing


def check_cron(expression: Any) -> None:
    """Raise InvalidArgument for what is no cron expression."""
    if not isinstance(expression, str):
        raise InvalidArgument(f"cron is {expression!r}: give a text such as '0 9 * * mon-fri'")
    cronsim = _cronsim()
    try:
        cronsim.CronSim(expression, EPOCH)
    except cronsim.CronSimError as error:
        raise InvalidArgument(
            f"cron is {expression!r}: {error}; give minute, hour, day of month, month and day of week, "
            "such as '0 9 * * mon-fri'"
        ) from None


def moments(rule: Rule, *, after: int) -> Iterator[int]:
    """The moments (ms) after that one, in order, up to LAST; a cron that never comes true has none."""
    if rule.cron is None:
        assert rule.every_ms is not None
        yield from range((after // rule.every_ms + 1) * rule.every_ms, LAST, rule.every_ms)
        return
    zone = zone_of(rule.timezone)
    with suppress(OverflowError):  # the calendar ends, by that clock
        begin = (EPOCH + timedelta(milliseconds=after)).astimezone(zone)
        for moment in _cronsim().CronSim(rule.cron, begin):
            ms = (moment.astimezone(UTC) - EPOCH) // timedelta(milliseconds=1)
            if ms > after:  # from within an hour that comes again it begins with the first time
                yield ms


def zone_of(name: Any) -> ZoneInfo:
    """The time zone of that name. Raises InvalidArgument for one that this machine does not know."""
    from zoneinfo import ZoneInfo, available_timezones  # noqa: PLC0415  a third of what schedules import

    try:
        return ZoneInfo(name)
    except (TypeError, ValueError, OSError, KeyError):
        hint = nearest(name, sorted(available_timezones())) if isinstance(name, str) else None
        raise InvalidArgument(
            f"timezone is {name!r}, which this machine does not know"
            f"{f': did you mean {hint!r}?' if hint else ': give a name such as Europe/Berlin, or UTC'}"
        ) from None


def _cronsim() -> ModuleType:
    """The library, imported when a schedule has a cron expression. Raises InvalidArgument without it."""
    try:
        return import_module("cronsim")
    except ImportError:
        raise InvalidArgument("`cron` needs the cronsim library: pip install 'perdure[schedules]'") from None


def delayed(rule: Rule, moment: int, *, schedule_id: str) -> int:
    """When what belongs to that moment starts: the same delay whoever asks, and however often."""
    if not rule.jitter_ms:
        return moment
    digest = hashlib.sha256(f"{schedule_id} {moment}".encode()).digest()
    return moment + int.from_bytes(digest[:8], "big") % rule.jitter_ms
