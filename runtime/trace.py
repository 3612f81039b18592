"""Trace ids as they come from outside: any text, or a W3C `traceparent`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from perdure.actors.trace import trace_id
from perdure.runtime.arguments import InvalidArgument, text

_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")
TRACE_ID_CHARS_MAX: Final = 128


def normalise(given: str) -> str:
    """The trace id in `given`: the middle of a W3C `traceparent`, else the text itself.

    Raises InvalidArgument when it is empty, too long or not printable.
    """
    if match := _TRACEPARENT.fullmatch(given.strip()):
        return match[1]
    if not given.strip() or len(given) > TRACE_ID_CHARS_MAX or not given.isprintable():
        raise InvalidArgument(
            f"{given[:40]!r} cannot be a trace id: give 1 to {TRACE_ID_CHARS_MAX} printable characters"
        )
    return given


def trace_of(given: str | None, *, new_id: Callable[[], str]) -> str:
    """The trace an execution is to carry: the one given, else the one in force, else a new one."""
    wanted = text(given, what="trace_id") or trace_id.get()
    return normalise(wanted) if wanted else new_id().replace("-", "")
