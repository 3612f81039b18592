"""What a step may wait for, as a compiler declares it: nothing runs while it waits."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

if TYPE_CHECKING:
    from perdure.actors.instructions.plan import Values

CHILD_ID_CHARS: Final = 32  # 128 bits: no two ids of a store are the same by chance


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
    COMPENSATE = "compensate"  # it fails, and what was done is undone


APPROVERS_MAX: Final = 100  # of one step; more people than that are a group, and decide elsewhere
APPROVER_CHARS_MAX: Final = 256  # of a name; they are kept with each question

People: TypeAlias = "tuple[str, ...] | Callable[[Values], Any]"  # names, or what gives names and lists


class ForApproval(msgspec.Struct, frozen=True, kw_only=True):
    """Ask people: approved by `quorum` of them, rejected by one; its output says who decided what.

    `approvers` empty: anyone may decide. They, `escalate_to` and `message` are pure. `misfit` says what
    is wrong with the data of a decision, or None; `form` shows people what it is to be.
    """

    message: Callable[[Values], str] | None = None
    approvers: People = ()
    quorum: int = 1
    timeout_ms: int | None = None
    on_timeout: OnUndecided = OnUndecided.FAIL
    escalate_to: People = ()
    on_reject: OnReject = OnReject.SKIP
    form: dict[str, Any] | None = None
    misfit: Callable[[Any], str | None] | None = None

    def describe(self) -> dict[str, Any]:
        """What is waited for, for people; the rest is in what was asked."""
        return {"for": "approval", "form": self.form}


class ForChild(msgspec.Struct, frozen=True, kw_only=True):
    """Start an execution of another workflow and wait for its end; what it gives back is the output.

    `input` is pure: the context it is started with. Not `waits`: that it has been started is enough,
    and its id the output. `follows`: to rest, to go on and to stop are passed on to it.
    """

    workflow: str
    version: str | None = None
    input: Callable[[Values], dict[str, Any]]
    waits: bool = True
    follows: bool = True

    def describe(self) -> dict[str, Any]:
        """What is waited for, for people."""
        version = {} if self.version is None else {"workflow_version": self.version}
        return {"for": "child", "workflow": self.workflow, **version}


Wait = Sleep | ForSignal | ForApproval | ForChild


def child_id(parent_id: str, *, step: str, generation: int, attempt: int) -> str:
    """The id of the child that an attempt of a step starts: no other has it, and it is always the same.

    The step goes by its key: in another version of the workflow it may have another number.
    """
    origin = f"{parent_id} {step} {generation} {attempt}"
    return hashlib.sha256(origin.encode()).hexdigest()[:CHILD_ID_CHARS]
