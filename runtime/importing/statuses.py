"""How earlier systems spelt a status, and what it becomes: one table, which the command prints. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from perdure.store.states import State, StepState

COMPLETED, FAILED, CANCELLED = State.COMPLETED, State.FAILED, State.CANCELLED
NO_STATUS: Final = "none"  # one that is empty; str() writes None so, too
UNFINISHED_FAILS: Final = "it was still running when its database was imported, and nobody goes on with it"
UNFINISHED_NEVER_BEGAN: Final = "it had not begun when its database was imported, and nobody starts it"
UNFINISHED_RESTED: Final = "it was at rest when its database was imported, and nobody goes on with it"
UNDONE: Final = "what it had done was undone"


class Meaning(msgspec.Struct, frozen=True):
    """What a status of the past becomes, and why where the word alone does not say it."""

    state: State
    why: str | None = None


_WORDS: Final[dict[Meaning, str]] = {
    Meaning(COMPLETED): "completed complete success succeeded successful done finished ok passed",
    Meaning(FAILED): "failed failure fail error errored crashed timeout timed_out",
    Meaning(CANCELLED): "cancelled canceled aborted stopped terminated killed skipped",
    Meaning(CANCELLED, UNDONE): "rolled_back rolledback compensated reverted",
    Meaning(
        FAILED, UNFINISHED_FAILS
    ): "running in_progress inprogress started active processing executing retrying",
    Meaning(CANCELLED, UNFINISHED_NEVER_BEGAN): "queued created pending initiated scheduled new idle ready",
    Meaning(CANCELLED, UNFINISHED_RESTED): "paused suspended waiting blocked on_hold awaiting_approval",
}
MEANINGS: Final[dict[str, Meaning]] = {
    word: meaning for meaning, words in _WORDS.items() for word in words.split()
}
CHOICES: Final = {"completed": COMPLETED, "failed": FAILED, "cancelled": CANCELLED}  # of `--map WORD=…`

_STEP: Final = {
    COMPLETED: StepState.COMPLETED,
    FAILED: StepState.FAILED,
    CANCELLED: StepState.CANCELLED,
}


def spelling(status: Any) -> str:
    """A status as the table has it: lower case, underscores; `none` for one that is not there, or empty."""
    return str(status).strip().lower().replace("-", "_").replace(" ", "_") or NO_STATUS


def meaning_of(status: Any, own: Mapping[str, State]) -> Meaning | None:
    """What it becomes, the user's `own` words first; None for a word that nobody has told us of."""
    word = spelling(status)
    return Meaning(own[word]) if word in own else MEANINGS.get(word)


def step_meaning_of(status: Any, own: Mapping[str, State]) -> StepState | None:
    """The same for a step, which may also have been skipped; one that was cut off was cancelled."""
    meaning = meaning_of(status, own)
    if meaning is None:
        return None
    if spelling(status) == "skipped" and "skipped" not in own:
        return StepState.SKIPPED
    return StepState.CANCELLED if meaning.why else _STEP[meaning.state]
