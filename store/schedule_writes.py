"""What can be written of schedules, as data; applied like every other write."""

from __future__ import annotations

import msgspec

from perdure.store.writes import Write


class PutSchedule(Write, frozen=True, kw_only=True):
    """Insert a schedule, or give the one of that id another rule. Answers its `no`."""

    id: str
    workflow: str
    rule: bytes
    is_declared: bool
    next_at: int | None
    at: int


class FiringWrite(msgspec.Struct, frozen=True):
    """What became of one moment of a schedule, or of `count` in a row that begin with it."""

    due_at: int
    decision: str
    execution_id: str | None = None
    count: int = 1
    reason: str | None = None


class MoveSchedule(Write, frozen=True, kw_only=True):
    """Move a schedule on by compare-and-swap and record what was decided. Answers the new version.

    Refused: NotFound, Conflict when somebody was faster.
    """

    id: str
    version: int
    considered_at: int
    next_at: int | None
    is_paused: bool
    pending: tuple[int, ...]
    last_execution: str | None
    firings: tuple[FiringWrite, ...]
    at: int


class DeleteSchedule(Write, frozen=True, kw_only=True):
    """Delete a schedule; what it has started goes on. Refused: NotFound."""

    id: str
