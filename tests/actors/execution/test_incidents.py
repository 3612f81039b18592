"""What is written down of an actor that is not started again."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from perdure.actors.execution.incidents import mark_quarantined
from perdure.store.states import State
from perdure.store.writes import Change


class Book:
    """A store with one execution, and its writer."""

    def __init__(self, runner: str | None) -> None:
        """It belongs to that runner."""
        self.written: list[Any] = []
        self._execution = SimpleNamespace(
            id="e1", no=1, version=3, epoch=2, state=State.EXECUTING, is_terminal=False, runner=runner
        )

    async def execution(self, execution_id: str) -> Any:
        """The one there is."""
        return self._execution

    async def write(self, write: Any, *, is_patient: bool = False) -> None:
        """Note it."""
        self.written.append(write)


@pytest.mark.anyio
@pytest.mark.parametrize(("runner", "is_marked"), [("here", True), (None, True), ("there", False)])
async def test_only_what_nobody_else_performs_by_now_is_marked(runner: str | None, *, is_marked: bool):
    """A change in the name of its new owner would cost that owner its next one."""
    book = Book(runner)
    services: Any = SimpleNamespace(
        store=book, writer=book, membership=SimpleNamespace(id="here"), now_ms=lambda: 5
    )
    await mark_quarantined(services, "e1", ValueError("again"))
    assert [type(write) for write in book.written] == [Change] * is_marked
