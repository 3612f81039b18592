"""llama-index-workflows, which keeps nothing itself: a snapshot of the context is saved after each step."""

from __future__ import annotations

import asyncio
import itertools
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from adapter import body, main
from workflows import Context, Workflow, step
from workflows.events import Event, StartEvent, StopEvent


class Stepped(Event):
    """A step of the chain has run."""

    count: int


class Chain(Workflow):
    """A step that follows itself."""

    @step
    async def begin(self, context: Context, event: StartEvent) -> Stepped | StopEvent:
        """The first step."""
        return await self._step(context, 0, event.length)

    @step
    async def go_on(self, context: Context, event: Stepped) -> Stepped | StopEvent:
        """Each further one."""
        return await self._step(context, event.count, await context.store.get("length"))

    async def _step(self, context: Context, count: int, length: int) -> Stepped | StopEvent:
        if count == 0:
            await context.store.set("length", length)
        body()
        following = StopEvent(result=count + 1) if count + 1 == length else Stepped(count=count + 1)
        context.write_event_to_stream(Stepped(count=count + 1))
        return following


class Engine:
    """Saves a snapshot for every event of an execution."""

    def __init__(self, path: Path) -> None:
        """Open the file as SQLite is shipped: rollback journal, synchronous FULL."""
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.execute("CREATE TABLE snapshots (no INTEGER PRIMARY KEY, context TEXT NOT NULL)")
        self._numbers = itertools.count()

    async def run_chain(self, length: int) -> Any:
        """One execution."""
        no = next(self._numbers)
        workflow = Chain(timeout=None)
        context = Context(workflow)
        handler = workflow.run(ctx=context, length=length)
        async for _ in handler.stream_events():
            snapshot = json.dumps(context.to_dict())
            await asyncio.to_thread(
                self._connection.execute, "INSERT OR REPLACE INTO snapshots VALUES (?, ?)", (no, snapshot)
            )
        return await handler

    async def run_fan(self, width: int) -> Any:
        """A snapshot is of the whole execution, so parallel steps have no boundary of their own."""
        raise NotImplementedError(width)


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Engine]:
    """A new file."""
    yield Engine(folder / "snapshots.db")


main(opened)
