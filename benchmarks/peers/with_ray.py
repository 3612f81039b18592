"""Ray tasks, which are not durable at all: the time of a task that a process elsewhere performs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import ray
from adapter import body, main


@ray.remote
def noop() -> dict[str, int]:
    """The shared body, in a worker process."""
    return body()


class Engine:
    """Awaits each task before the next one."""

    async def run_chain(self, length: int) -> Any:
        """Tasks one after the other."""
        for _ in range(length):
            await noop.remote()

    async def run_fan(self, width: int) -> Any:
        """Tasks beside each other."""
        return await asyncio.gather(*(noop.remote() for _ in range(width)))


@asynccontextmanager
async def opened(_: Path) -> AsyncIterator[Engine]:
    """A cluster of this machine."""
    ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    try:
        yield Engine()
    finally:
        ray.shutdown()


main(opened)
