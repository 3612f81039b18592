"""absurd on a PostgreSQL of our own: one worker, tasks with steps, results awaited through the client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psycopg
from absurd_sdk import AsyncAbsurd
from absurdctl import BUNDLED_SCHEMA_SQL
from adapter import body, main
from postgres import served

QUEUE = "default"
AT_ONCE = 100  # tasks that the worker has in hand


async def noop() -> dict[str, int]:
    """The shared body."""
    return body()


class Engine:
    """Spawns a task and waits for its result."""

    def __init__(self, client: AsyncAbsurd) -> None:
        """Through a client of its own: one connection does one thing at a time."""
        self._client = client

    async def run_chain(self, length: int) -> Any:
        """One task."""
        return await self._run("chain", length)

    async def run_fan(self, width: int) -> Any:
        """Steps of a task share its connection, so that they come one after the other all the same."""
        return await self._run("fan", width)

    async def _run(self, name: str, given: int) -> Any:
        spawned = await self._client.spawn(name, {"given": given}, queue=QUEUE)
        return await self._client.await_task_result(spawned["task_id"])


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Engine]:
    """The schema, a queue and a worker."""
    url = served(folder)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(BUNDLED_SCHEMA_SQL)
    client, worker = AsyncAbsurd(url), AsyncAbsurd(url)
    await client.create_queue()

    @worker.register_task("chain")
    async def chain(given: dict[str, int], context: Any) -> int:
        for number in range(given["given"]):
            await context.step(f"s{number}", noop)
        return given["given"]

    @worker.register_task("fan")
    async def fan(given: dict[str, int], context: Any) -> int:
        await asyncio.gather(*(context.step(f"s{number}", noop) for number in range(given["given"])))
        return given["given"]

    working = asyncio.create_task(worker.start_worker(concurrency=AT_ONCE, poll_interval=0.005))
    try:
        yield Engine(client)
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        await worker.close()
        await client.close()


main(opened)
