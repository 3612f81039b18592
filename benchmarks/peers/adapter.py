"""What every adapter shares: the same workload and the same figures as ours, with nothing but Python.

An adapter is a script that runs in the environment of its engine: `with_dbos.py W2 100 power`. It
opens the engine and calls `answer` with it; the last line it prints is the round's figures as JSON.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import resource
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Protocol

STEPS = 10
AT_ONCE = {"W2": 100, "W4": 1_000}

began_at: list[float] = []  # when each body began, where bodies run in this process


class Engine(Protocol):
    """An engine that is open and ready."""

    async def run_chain(self, length: int) -> Any:
        """One execution of steps one after the other, to its end."""
        ...

    async def run_fan(self, width: int) -> Any:
        """One execution of steps beside each other, to its end."""
        ...


Opened = Callable[[Path], AbstractAsyncContextManager[Engine]]


def body() -> dict[str, int]:
    """What every step does."""
    began_at.append(time.perf_counter())
    return {"ok": 1}


def main(opened: Opened) -> None:
    """Answer the question on the command line."""
    code, size, _ = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="peer-benchmark-", ignore_cleanup_errors=True) as folder:
        figures = asyncio.run(_answer(opened, Path(folder), code, int(size)))
    print("\n" + json.dumps(figures), flush=True)


async def _answer(opened: Opened, folder: Path, code: str, size: int) -> dict[str, float]:
    async with opened(folder) as engine:
        if code == "W3":
            await engine.run_fan(2)
            return {"seconds": await _timed(engine.run_fan(size)), "peak_mb": _peak_mb()}
        length = 1 if code == "W4" else STEPS
        await engine.run_chain(length)
        if code == "W1":
            return await _one_by_one(engine, size)
        seconds = await _together(lambda: engine.run_chain(length), size, AT_ONCE[code])
        return {"steps_per_s": size * STEPS / seconds, "executions_per_s": size / seconds}


async def _one_by_one(engine: Engine, size: int) -> dict[str, float]:
    seconds, gaps = [], []
    for _ in range(size):
        began_at.clear()
        seconds.append(await _timed(engine.run_chain(STEPS)))
        gaps += [(after - before) * 1000 for before, after in itertools.pairwise(began_at)]
    figures = {"ms_per_step": statistics.median(seconds) * 1000 / STEPS}
    if gaps:
        figures["p99_ms"] = sorted(gaps)[-(-len(gaps) * 99 // 100) - 1]
    return figures


async def _together(run: Callable[[], Awaitable[Any]], count: int, at_once: int) -> float:
    turns = iter(range(count))

    async def take_turns() -> None:
        for _ in turns:
            await run()

    return await _timed(asyncio.gather(*(take_turns() for _ in range(min(at_once, count)))))


async def _timed(work: Awaitable[Any]) -> float:
    began = time.perf_counter()
    await work
    return time.perf_counter() - began


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


async def listening(port: int, *, within_s: float = 60.0) -> None:
    """Wait until somebody listens there. Raises TimeoutError."""
    async with asyncio.timeout(within_s):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return
