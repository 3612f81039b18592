"""What is remembered of executions that nobody owns: a bounded cache, never needed.

What is not in it is read; and a change that is decided on it finds out by its compare-and-swap when
what is remembered is no longer true.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from perdure.actors.state.execution import ExecutionState

ENTRIES_MAX: Final = 1_024  # with the limits below some 10 MB, mostly far less
STEPS_MAX: Final = 64  # of one that is kept: a larger one is quicker to read than it is small
PAYLOAD_BYTES_MAX: Final = 8_192  # of the outputs of one that is kept


class Cold:
    """States as they were when their executions were given up here."""

    def __init__(self) -> None:
        """Nothing is remembered."""
        self._states: OrderedDict[str, ExecutionState] = OrderedDict()

    def keep(self, state: ExecutionState) -> None:
        """Remember it, and forget who has been here longest if there are too many."""
        if len(state.steps) > STEPS_MAX or state.payload_bytes > PAYLOAD_BYTES_MAX:
            return
        self._states[state.id] = state
        self._states.move_to_end(state.id)
        if len(self._states) > ENTRIES_MAX:
            self._states.popitem(last=False)

    def take(self, execution_id: str) -> ExecutionState | None:
        """Take it out: whoever decides on it moves it."""
        return self._states.pop(execution_id, None)
