"""What the machine says about this process: memory, and children that report a line at a time."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

MIB: Final = 1024 * 1024
PEAK_UNIT: Final = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere


def resident_mb() -> float:
    """The memory this process holds now; its peak where nothing tells."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return peak_mb()
    return pages * os.sysconf("SC_PAGE_SIZE") / MIB


def peak_mb() -> float:
    """The most memory this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * PEAK_UNIT / MIB


class Child:
    """Another Python that runs one of our modules and prints JSON lines."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        """It runs already."""
        self._process = process

    async def said(self) -> Any:
        """The next line it prints. Raises RuntimeError when it has ended instead."""
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the child ended with {await self._process.wait()}")
        return json.loads(line)

    async def kill(self) -> None:
        """`kill -9`, and wait until it is gone."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()

    async def ended(self) -> None:
        """Wait for its end."""
        await self._process.wait()


@asynccontextmanager
async def child(*arguments: object) -> AsyncIterator[Child]:
    """Run `python ARGUMENTS…`; it is killed if it still runs when the block is left."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, *map(str, arguments), stdout=asyncio.subprocess.PIPE
    )
    started = Child(process)
    try:
        yield started
    finally:
        await started.kill()


def say(**facts: Any) -> None:
    """Print a line for the parent."""
    print(json.dumps(facts), flush=True)
