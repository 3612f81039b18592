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


class OnUndecided(StrEnum):
    """What becomes of a step when people have not decided in time."""

    FAIL = "fail"
    SKIP = "skip"
    APPROVE = "approve"
    REJECT = "reject"
    ESCALATE = "escalate"  # it is asked anew, of others


class OnReject(StrEnum):
    """What becomes of a step that somebody rejects."""

    SKIP = "skip"
    CONTINUE = "continue"  # it completes, and says so in its output
    FAIL = "fail"


class ForApproval(msgspec.Struct, frozen=True, kw_only=True):
    """Ask people: approved by `quorum` of them, rejected by one; its output says who decided what.

    `approvers` empty: anyone may decide. `message` is pure. `misfit` says what is wrong with the data
    of a decision, or None; `form` shows people what it is to be.
    """

    message: Callable[[Values], str] | None = None
    approvers: tuple[str, ...] = ()
    quorum: int = 1
    timeout_ms: int | None = None
    on_timeout: OnUndecided = OnUndecided.FAIL
    escalate_to: tuple[str, ...] = ()
    on_reject: OnReject = OnReject.SKIP
    form: dict[str, Any] | None = None
    misfit: Callable[[Any], str | None] | None = None

    def describe(self) -> dict[str, Any]:
        """What is waited for, for people; the rest is in what was asked."""
        return {"for": "approval", "form": self.form}


Wait = Sleep | ForSignal | ForApproval
