"""What a step may wait for, as a compiler declares it: nothing runs while it waits."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from perdure.actors.plan import Values


class OnTimeout(StrEnum):
    """What becomes of a step that has waited for too long."""

    FAIL = "fail"
    SKIP = "skip"
    CONTINUE = "continue"  # it completes, with null


class Sleep(msgspec.Struct, frozen=True, kw_only=True):
    """Wait for a moment. `until` is pure: what the step may read and now (ms), to when (ms)."""

    until: Callable[[Values, int], int]

    def describe(self) -> dict[str, Any]:
        """What is waited for, for people."""
        return {"for": "time"}


class ForSignal(msgspec.Struct, frozen=True, kw_only=True):
    """Wait for a signal of that name, for at most `timeout_ms`; the output is its payload."""

    name: str
    timeout_ms: int | None = None
    on_timeout: OnTimeout = OnTimeout.FAIL

    def describe(self) -> dict[str, Any]:
        """What is waited for, for people."""
        return {"for": "signal", "signal": self.name}


Wait = Sleep | ForSignal
