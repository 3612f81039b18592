"""Prefect with a server of its own on SQLite; results of tasks are persisted."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from adapter import body, free_port, listening, main


class Engine:
    """Flows are called directly."""

    def __init__(self) -> None:
        """Declare both flows; Prefect reads its settings when it is imported."""
        from prefect import flow, task  # noqa: PLC0415

        @task(persist_result=True)
        async def noop() -> dict[str, int]:
            return body()

        @flow(persist_result=True)
        async def chain(length: int) -> int:
            for _ in range(length):
                await noop()
            return length

        @flow(persist_result=True)
        async def fan(width: int) -> int:
            await asyncio.gather(*(noop() for _ in range(width)))
            return width

        self._chain, self._fan = chain, fan

    async def run_chain(self, length: int) -> Any:
        """One flow run."""
        return await self._chain(length)

    async def run_fan(self, width: int) -> Any:
        """One flow run."""
        return await self._fan(width)


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Engine]:
    """A server with an empty database."""
    port = free_port()
    os.environ |= {
        "PREFECT_HOME": str(folder),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_LOGGING_LEVEL": "ERROR",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }
    server = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await listening(port)
        yield Engine()
    finally:
        server.terminate()
        await server.wait()


main(opened)
