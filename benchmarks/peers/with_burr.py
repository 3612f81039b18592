"""Burr with its async SQLite persister on one shared connection, which saves the state after each action."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from adapter import body, main
from burr.core import ApplicationBuilder, State, action, expr
from burr.integrations.persisters.b_aiosqlite import AsyncSQLitePersister


@action(reads=["count"], writes=["count", "output"])
async def noop(state: State) -> State:
    """The shared body; the state counts how often it ran."""
    return state.update(output=body(), count=state["count"] + 1)


class Engine:
    """One application for each execution."""

    def __init__(self, persister: AsyncSQLitePersister) -> None:
        """All save through this."""
        self._persister = persister
        self._numbers = itertools.count()

    async def run_chain(self, length: int) -> Any:
        """One execution: an action that follows itself until it has run that often."""
        application = await (
            ApplicationBuilder()
            .with_actions(noop)
            .with_transitions(("noop", "noop", expr(f"count < {length}")))
            .with_state(count=0)
            .with_entrypoint("noop")
            .with_identifiers(app_id=str(next(self._numbers)))
            .with_state_persister(self._persister)
            .abuild()
        )
        async for _ in application.aiterate(halt_after=[]):
            pass

    async def run_fan(self, width: int) -> Any:
        """Burr has no parallel actions that are saved one by one."""
        raise NotImplementedError(width)


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Engine]:
    """A persister on a new file."""
    async with AsyncSQLitePersister.from_values(str(folder / "burr.db")) as persister:
        await persister.initialize()
        yield Engine(persister)


main(opened)
