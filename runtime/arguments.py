"""Arguments that cannot be are refused at once, before anything is written."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

import msgspec

from perdure.actors.instructions.budget import TOKENS_MAX
from perdure.actors.messages import PauseMode
from perdure.runtime.near import quoted
from perdure.store.codec import decode, encode
from perdure.store.errors import PerdureError
from perdure.store.usage import Limits

MILLISECONDS_MAX: Final = 100 * 366 * 24 * 3600 * 1000  # a century; past it a deadline means nothing
PRIORITY_MAX: Final = 2**31 - 1  # either way; far more places than anybody needs
TEXT_CHARS_MAX: Final = 1_000  # of names and reasons that people write into a log
LEASE_S_MIN: Final = 0.1  # below it a busy moment of the machine looks like a stop
LEASE_S_MAX: Final = 86_400.0  # a day; past it nobody waits for the executions to go on elsewhere
_HALF: Final = re.compile("[\ud800-\udfff]")  # what no encoding has
_UNKEPT: Final = re.compile("[\0\ud800-\udfff]")  # what a column of text cannot hold
KINDS: Final = ("embedded", "worker", "run", "client")

T = TypeVar("T")


class InvalidArgument(PerdureError, ValueError):
    """An argument has a value that cannot be; the message says what can."""


def milliseconds(value: Any, *, what: str) -> int | None:
    """A length of time as whole milliseconds. Raises InvalidArgument unless positive and finite."""
    seconds = seconds_of(value, what=what)
    if seconds is None:
        return None
    if not 0 < seconds * 1000 <= MILLISECONDS_MAX:
        raise InvalidArgument(f"{what} is {value!r}: give more than 0 seconds and less than a century")
    return max(1, int(seconds * 1000))


def seconds_of(value: Any, *, what: str) -> float | None:
    """Seconds, a timedelta or a text as seconds; those below 0 have passed. Raises InvalidArgument."""
    if value is None:
        return None
    if isinstance(value, str):
        from perdure.runtime.durations import duration_ms  # noqa: PLC0415  it stands on this file

        return duration_ms(value, what=what) / 1_000
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(seconds, float) and math.isnan(seconds):
        raise InvalidArgument(f"{what} is nan: give seconds as a number")
    if not isinstance(seconds, int | float):
        raise InvalidArgument(f"{what} is {value!r:.60}: give seconds, a text like 1m30s or a timedelta")
    return seconds


def function(value: Any, *, what: str) -> Any:
    """A function to be called. Raises InvalidArgument for anything else."""
    if not callable(value):
        raise InvalidArgument(f"{what} is {value!r:.60}: give a function")
    return value


def callback(value: Any, *, what: str) -> Any:
    """A function to be called, or None. Raises InvalidArgument for anything else."""
    return None if value is None else function(value, what=what)


def moment_ms(value: Any, *, now_ms: int) -> int | None:
    """A moment as milliseconds since 1970: a time with its zone, or so many seconds from now."""
    if value is None:
        return None
    if not isinstance(value, datetime):
        ahead = milliseconds(value, what="the moment")
        assert ahead is not None
        return now_ms + ahead
    if value.tzinfo is None:
        raise InvalidArgument(f"the moment {value} has no time zone: give one, such as UTC")
    found = (value - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    if found > now_ms + MILLISECONDS_MAX:
        raise InvalidArgument(f"the moment {value} is more than a century away")
    return found


def priority(value: Any) -> int:
    """A place in the queue. Raises InvalidArgument unless it is a whole number of reasonable size."""
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > PRIORITY_MAX:
        raise InvalidArgument(f"priority is {value!r}: give a whole number up to {PRIORITY_MAX:,} either way")
    return value


def at_least_one(value: Any, *, what: str) -> int:
    """A limit. Raises InvalidArgument for anything that would let nothing through."""
    if not isinstance(value, int) or value < 1:
        raise InvalidArgument(f"{what} is {value!r}: give a whole number, 1 or more")
    return value


def lease_ms(seconds: Any) -> int:
    """A lease. Raises InvalidArgument for one that busy processes lose, or that is never lost."""
    if not isinstance(seconds, int | float) or not LEASE_S_MIN <= seconds <= LEASE_S_MAX:
        raise InvalidArgument(
            f"lease_s is {seconds!r}: give {LEASE_S_MIN:g} to {LEASE_S_MAX:,.0f} seconds, the same to all "
            "processes that share the store"
        )
    return round(seconds * 1000)


def text(value: Any, *, what: str) -> str | None:
    """A short text, or None. Raises InvalidArgument when it is empty, too long, no text or not to be kept."""
    if value is None:
        return None
    if not isinstance(value, str) or not value.strip() or len(value) > TEXT_CHARS_MAX:
        raise InvalidArgument(
            f"{what} must be a text of 1 to {TEXT_CHARS_MAX:,} characters, not {value!r:.60}"
        )
    if _UNKEPT.search(value):
        raise InvalidArgument(f"{what} must be a text without NUL and half characters, not {value!r:.60}")
    return value


def version(value: Any, *, what: str) -> int | None:
    """A version of an execution, or None. Raises InvalidArgument for anything else."""
    if value is not None and not isinstance(value, int):
        raise InvalidArgument(f"{what} is {value!r:.60}: give the version of a status(), a whole number")
    return value


def label(value: Any) -> str | None:
    """What a checkpoint is called, or None. Raises InvalidArgument for a number: that is a version."""
    found = text(value, what="label")
    if found is not None and found.isdecimal():
        raise InvalidArgument(
            f"label is {found!r}: a number is a version; put a word to it, as in 'v{found}'"
        )
    return found


def place(value: Any, *, what: str) -> str:
    """Where something is kept: a path or a URL. Raises InvalidArgument for what is neither, as None."""
    found = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(found, str) or not found or _UNKEPT.search(found):
        raise InvalidArgument(f"{what} is {value!r:.60}: give the path of a file")
    return found


def limits(value: Any) -> Limits | None:
    """A budget, or None. Raises InvalidArgument unless it limits cost, tokens or both."""
    if value is None:
        return None
    wanted = mapping(value, what="budget")
    try:
        given = msgspec.convert(wanted, Limits)
    except msgspec.ValidationError as error:
        raise InvalidArgument(f"budget is {wanted!r:.80}: {error}") from None
    parts = [given.cost, given.tokens]
    is_known = wanted.keys() <= {"cost", "tokens"} and any(part is not None for part in parts)
    if not is_known or any(part is not None and not 0 < part <= TOKENS_MAX for part in parts):
        raise InvalidArgument(
            f"budget is {wanted!r:.80}: give cost, tokens or both, each more than 0, as {{'cost': 2.5}}"
        )
    return given


def mapping(value: Any, *, what: str) -> dict[str, Any]:
    """Values by name. Raises InvalidArgument for anything that is no mapping."""
    if not isinstance(value, Mapping):
        raise InvalidArgument(f"{what} is of type {type(value).__name__}: give a mapping of names to values")
    return dict(value)


def maybe_mapping(value: Any, *, what: str) -> dict[str, Any] | None:
    """Values by name, or None. Raises InvalidArgument for anything else."""
    return None if value is None else mapping(value, what=what)


def several(value: Any, *, what: str) -> tuple[Any, ...]:
    """What a list, set or the like holds; a single text is one. Raises InvalidArgument for anything else."""
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, Iterable) or isinstance(value, bytes | Mapping):
        raise InvalidArgument(f"{what} is {value!r:.60}: give a list")
    return tuple(value)


def made_of(kind: type[T], value: Any, *, what: str, example: str) -> T:
    """Return the value. Raises InvalidArgument where it is none of that kind."""
    if not isinstance(value, kind):
        raise InvalidArgument(f"{what} is {value!r:.80}: give a {kind.__name__}, such as {example}")
    return value


def since(value: Any) -> datetime | None:
    """A moment that has passed, or None. Raises InvalidArgument for anything else."""
    return None if value is None else zoned(value, what="since")


def zoned(value: Any, *, what: str) -> datetime:
    """A moment. Raises InvalidArgument for what is none, or none without somebody's clock."""
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise InvalidArgument(f"{what} is {value!r:.60}: give a datetime with its time zone")
    return value


def plain_values(values: Mapping[str, Any], what: str) -> dict[str, Any]:
    """As JSON will give it back."""
    plain: dict[str, Any] = decode(encode(mapping(values, what=what), what=what))
    return plain


def any_text(value: Any, *, what: str) -> str:
    """A text, whatever is in it. Raises InvalidArgument for what is none."""
    if not isinstance(value, str):
        raise InvalidArgument(f"{what} is {value!r:.60}: give a text")
    if _HALF.search(value):
        raise InvalidArgument(f"{what} must be a text without half characters, not {value!r:.60}")
    return value


def beginning(value: Any) -> str:
    """The beginning of an id. Raises InvalidArgument for nothing: every id begins so."""
    if not any_text(value, what="ID").strip():
        raise InvalidArgument("ID is empty: give an id, a beginning of it, @last or NAME@last")
    return str(value)


def pause_mode(value: Any) -> PauseMode:
    """How to bring an execution to rest. Raises InvalidArgument for a word that is none of the modes."""
    try:
        return PauseMode(value)
    except ValueError:
        raise InvalidArgument(f"mode is {quoted(value)}: it is one of {', '.join(PauseMode)}") from None


def kind(value: str) -> str:
    """A kind of runner. Raises InvalidArgument for one nobody knows."""
    if value not in KINDS:
        raise InvalidArgument(f"kind is {value!r}: it is one of {', '.join(KINDS)}")
    return value


def retried(*, from_step: Any, only: bool, with_downstream: bool) -> None:
    """What a retry is to run again. Raises InvalidArgument for what contradicts itself."""
    text(from_step, what="from_step")
    if only and from_step is None:
        raise InvalidArgument("only: say which step is to run again: give from_step (--from)")
    if only and with_downstream:
        raise InvalidArgument("only and with_downstream exclude each other: leave one of them out")
