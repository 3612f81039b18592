"""What is to be done for executions other than a turn's own, once it is durable."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from perdure.actors.instructions.waits import ForChild
from perdure.store.errors import PerdureError
from perdure.store.states import State


class Reply(Protocol):
    """Where the answer goes of somebody who asks from inside this process (the kernel's, for one)."""

    def answer(self, value: Any = None) -> None:
        """Give it."""
        ...

    def fail(self, error: BaseException) -> None:
        """Give an error for one."""
        ...

    def keep(self) -> None:
        """Say that it will be given later."""
        ...


class StartChild(msgspec.Struct, frozen=True, kw_only=True):
    """Start the child of a step's attempt, or find out that it is there; then report it."""

    step_no: int
    generation: int
    attempt: int
    child: str
    wait: ForChild
    context: Any
    timeout_ms: int | None


class UndoChild(msgspec.Struct, frozen=True, kw_only=True):
    """Have the child of a step rolled back, which has completed; `id` is that of the command it is given."""

    id: str
    child: str


class Ring(msgspec.Struct, frozen=True):
    """See that whoever performs that execution knows of the message which has just been left for it."""

    execution_id: str


def describe_refusal(error: PerdureError) -> dict[str, Any]:
    """A refusal as it is kept for a sender in another process: the condition, its fields, its text."""
    fields = {
        name: value.value if isinstance(value, State) else value
        for name, value in vars(error).items()
        if isinstance(value, str | int | float | bool | None)
    }
    return {"refused": type(error).__name__, "message": str(error), "fields": fields}
