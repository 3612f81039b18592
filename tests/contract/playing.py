"""Random lives of a store, drawn by hypothesis: what every such machine needs, on whichever store."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, ClassVar

from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

Empty = Callable[[], contextlib.AbstractContextManager[Any]]  # a context in which there is an empty store


class StoreMachine(RuleBasedStateMachine):
    """Rules over a store that is empty at first. `play` binds what a machine has no way to be given."""

    book_of: ClassVar[Any]
    empty_store: ClassVar[Any]
    run: ClassVar[Any]

    def open_store(self) -> None:
        """Have an empty one, and a book about it: what every machine begins with."""
        self.stack = contextlib.ExitStack()
        self.store = self.stack.enter_context(type(self).empty_store())
        self.do(self.store.open())
        self.book = self.book_of(self.store)

    def teardown(self) -> None:
        """Close it."""
        if hasattr(self, "store"):
            self.do(self.store.close())
            self.stack.close()

    def do(self, call: Any) -> Any:
        """Run a call of the store."""
        return type(self).run(call)


def play(machine: type[StoreMachine], *, book_of: Any, empty: Empty, examples: int, steps: int) -> None:
    """So many lives of so many steps each."""
    with asyncio.Runner() as runner:
        bound = {
            "book_of": book_of,
            "empty_store": staticmethod(empty),
            "run": staticmethod(runner.run),
        }
        wanted = settings(max_examples=examples, stateful_step_count=steps)
        run_state_machine_as_test(type(f"Bound{machine.__name__}", (machine,), bound), settings=wanted)
