"""The states of an execution as the model has them, and which command is taken in which."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

ENDS: Final = frozenset({"completed", "failed", "cancelled"})
SETTLED: Final = frozenset({"completed", "failed", "cancelled", "skipped"})
ACTIVE: Final = frozenset({"idle", "running", "pausing"})

TAKEN_IN: Final[Mapping[str, frozenset[str]]] = {  # command → the states in which it is taken
    "pause": ACTIVE | {"paused", "cancelling"},
    "resume": frozenset({"pausing", "paused"}),
    "cancel": ACTIVE | {"paused", "cancelling"},
    "signal": ACTIVE | {"paused", "cancelling"},
    "update": ACTIVE | {"paused"},
    "checkpoint": ACTIVE | {"paused"},
    "retry": frozenset({"failed", "cancelled"}),
    "restore": frozenset({"paused", "failed", "cancelled"}),
}
