"""The one workload that every question shares: a step that returns a small dict, in chains and fans."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from benchmarks.server import STORE
from perdure.runtime import Agents, Runtime, Workflow

agents = Agents()
began_at: list[float] = []  # when each body began, in this process


@agents.agent("noop")
async def noop() -> dict[str, int]:
    """Note the time and return a small dict."""
    began_at.append(time.perf_counter())
    return {"ok": 1}


def chain(length: int) -> Workflow:
    """Steps one after the other."""
    workflow = Workflow(f"chain-{length}")
    for number in range(length):
        workflow.agent_step(f"s{number}", agent="noop", after=[f"s{number - 1}"] if number else [])
    return workflow


def fan(width: int) -> Workflow:
    """Steps beside each other."""
    workflow = Workflow(f"fan-{width}")
    for number in range(width):
        workflow.agent_step(f"s{number}", agent="noop")
    return workflow


def location(folder: Path) -> str:
    """Of a new store: a file there, or a new schema of the server in force."""
    server = os.environ.get(STORE)
    if server is None:
        return str(folder / "perdure.db")
    return f"{server}{'&' if '?' in server else '?'}schema=bench_{time.time_ns()}"


@asynccontextmanager
async def opened(folder: Path, *workflows: Workflow, durability: str, **given: Any) -> AsyncIterator[Runtime]:
    """A runtime that knows these workflows, on a new store."""
    async with Runtime(
        location(folder), workflows=workflows, agents=agents, durability=durability, **given
    ) as runtime:
        yield runtime


async def run(runtime: Runtime, workflow: Workflow) -> None:
    """Start an execution and wait for its end."""
    await (await runtime.start(workflow)).result()


async def run_many(work: Callable[[], Awaitable[Any]], *, count: int, at_once: int) -> float:
    """Do `work` `count` times, at most `at_once` at a time; return the seconds it took."""
    turns = iter(range(count))

    async def take_turns() -> None:
        for _ in turns:
            await work()

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(min(at_once, count)):
            group.create_task(take_turns())
    return time.perf_counter() - began


async def timed(work: Awaitable[Any]) -> float:
    """The seconds that some work takes."""
    began = time.perf_counter()
    await work
    return time.perf_counter() - began


def gaps_ms(times: Sequence[float]) -> list[float]:
    """The milliseconds between each time and the next."""
    return [(after - before) * 1000 for before, after in itertools.pairwise(times)]
