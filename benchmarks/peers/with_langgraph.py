"""LangGraph's functional API with its SQLite checkpointer, `durability="sync"`."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from adapter import body, main
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.func import entrypoint, task
from langgraph.pregel import Pregel


@task
async def noop() -> dict[str, int]:
    """The shared body."""
    return body()


class Engine:
    """One graph of each form over one checkpointer."""

    def __init__(self, saver: AsyncSqliteSaver) -> None:
        """Compile both."""
        self._threads = itertools.count()

        @entrypoint(checkpointer=saver)
        async def chain(length: int) -> int:
            for _ in range(length):
                await noop()
            return length

        @entrypoint(checkpointer=saver)
        async def fan(width: int) -> int:
            await asyncio.gather(*(noop() for _ in range(width)))
            return width

        self._chain, self._fan = chain, fan

    async def run_chain(self, length: int) -> Any:
        """One execution."""
        return await self._run(self._chain, length)

    async def run_fan(self, width: int) -> Any:
        """One execution."""
        return await self._run(self._fan, width)

    async def _run(self, graph: Pregel[Any, Any, Any, Any], given: int) -> Any:
        config: Any = {"configurable": {"thread_id": str(next(self._threads))}}
        return await graph.ainvoke(given, config, durability="sync")


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Engine]:
    """A checkpointer on a new file."""
    async with AsyncSqliteSaver.from_conn_string(str(folder / "checkpoints.db")) as saver:
        yield Engine(saver)


main(opened)
