"""What is kept of a step that is performed for each of many items."""

from __future__ import annotations

from typing import Final

import msgspec

from perdure.store.states import StepState

PAYLOAD_MAX: Final = 1_048_576  # of the list of all outputs: it is a payload like any other


def fits(*, total: int, output_bytes: int) -> bool:
    """Whether the outputs of so many items may stand in one list."""
    return output_bytes + total + 1 <= PAYLOAD_MAX  # a comma after each but the last, and two brackets


class Loop(msgspec.Struct, frozen=True, kw_only=True):
    """A step that is performed for each of `total` items, and how far it has come, for people.

    `begun` have begun, `completed` and `failed` of them ended for good; `output_bytes` is the size of what
    they gave.
    """

    step: str
    lineage: int
    total: int
    begun: int
    completed: int
    failed: int
    output_bytes: int


class PageWrite(msgspec.Struct, frozen=True):
    """Some of the items that a loop goes over, in a row, as an encoded list."""

    payload: bytes


class LoopWrite(msgspec.Struct, frozen=True, kw_only=True):
    """How far a loop has come. `pages` is what it goes over, of one that is new; None for one that is not.

    Where the items are no more than numbers there are no pages. `begun` is the first that has not begun.
    """

    step_no: int
    lineage: int
    total: int
    begun: int
    completed: int
    failed: int
    output_bytes: int
    pages: tuple[PageWrite, ...] | None = None


class ItemWrite(msgspec.Struct, frozen=True, kw_only=True):
    """One item, as it stands now; what it has been given (output, start) it keeps."""

    step_no: int
    lineage: int
    item: int
    generation: int
    attempt: int
    is_new: bool
    state: StepState
    is_open: bool
    started_at: int | None = None
    finished_at: int | None = None
    due_at: int | None = None
    output: bytes | None = None
    error: bytes | None = None


class OpenItem(msgspec.Struct, frozen=True, kw_only=True):
    """An item that a loop has still something to do with; times in ms, the error encoded."""

    item: int
    generation: int
    attempt: int
    state: StepState
    due_at: int | None
    deaths: int
    alone: bool
    error: bytes | None


class KeptLoop(msgspec.Struct, frozen=True, kw_only=True):
    """A loop that has not come to its end; `outputs` are those of completed items, while they fit."""

    step_no: int
    lineage: int
    total: int
    begun: int
    completed: int
    failed: int
    output_bytes: int
    pages: tuple[bytes, ...]
    open: tuple[OpenItem, ...]
    outputs: tuple[tuple[int, bytes], ...]
