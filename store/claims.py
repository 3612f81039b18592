"""What may be claimed, and the claim of many executions by one of several runners that look at once."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from perdure.store.writes import Write

CLAIM_MAX: Final = 200  # executions of one ClaimFree: their rows are locked for as long as its batch takes


class Claimable(msgspec.Struct, frozen=True):
    """An execution that nobody owns and that has something to do: what tells who may take it up.

    `context` is None where it cannot be read back: whoever takes it up finds that out, of it alone.
    """

    no: int
    id: str
    workflow_no: int
    context: dict[str, Any] | None


class ClaimFree(Write, frozen=True, kw_only=True):
    """Take over those of these executions that are free, epoch + 1, and pass by those that are not.

    Nobody owns one that is free, and it has neither ended nor been paused, unless it is to tell of that
    or to go on by itself. What another runner is just taking is passed by without waiting for it.
    Refused with NotFound when the runner is not on the list (any more). Answers `Claimed`.
    """

    execution_nos: tuple[int, ...]  # at most CLAIM_MAX
    runner_no: int
    at: int


class Claimed(msgspec.Struct, frozen=True):
    """The answer to `ClaimFree`: the epoch of each execution that was taken, by its id."""

    epochs: dict[str, int]
