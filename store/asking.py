"""What executions ask people and what people have decided, as it is kept and shown."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

from perdure.store.states import State


class Verdict(StrEnum):
    """What somebody has decided."""

    APPROVE = "approve"
    REJECT = "reject"


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What one person has decided of a step that asks for approval."""

    by: str
    verdict: Verdict
    at: datetime
    data: Any = None
    comment: str | None = None


class Approval(msgspec.Struct, frozen=True, kw_only=True):
    """What a step asks people, and what they have decided; times in ms, no `approvers`: anyone may.

    Kept from the question (`asked_at`), or from the first decision if that came before, for as long
    as the step waits. Of another `generation` than the step's it says nothing any more.
    """

    step_no: int
    generation: int
    quorum: int
    approvers: tuple[str, ...]
    decisions: tuple[Decision, ...] = ()
    message: str | None = None
    asked_at: int | None = None
    due_at: int | None = None

    def shown(self) -> dict[str, Any]:
        """What people see of it, as plain values."""
        return {
            "message": self.message,
            "approvers": list(self.approvers),
            "quorum": self.quorum,
            "decisions": [msgspec.to_builtins(decision) for decision in self.decisions],
        }


class ApprovalWrite(msgspec.Struct, frozen=True):
    """Keep what a step asks people and what they have decided, or (None) drop it."""

    step_no: int
    approval: Approval | None


class PendingApproval(msgspec.Struct, frozen=True, kw_only=True):
    """A step that waits for people, as they want to see it."""

    execution_id: str
    workflow: str
    state: State
    step: str
    message: str | None
    approvers: tuple[str, ...]
    quorum: int
    decisions: tuple[Decision, ...]
    asked_at: datetime
    due_at: datetime | None
