"""How fast durable steps are: four workloads, one file store, the durability class beside each figure.

    python benchmarks/workloads.py [--durability power|process] [--scale 1.0] [W1 W2 W3 W4]

Every step is a coroutine that returns a small dict; every step boundary is durable. A figure says
something only beside others of the same run: a sync costs 0.2 ms on an idle machine and 4 ms on a
busy one. Each workload runs several rounds and prints the median with the spread.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from perdure.runtime import Agents, Runtime, Workflow

ROUNDS = 5

agents = Agents()


@agents.agent("noop")
async def noop() -> dict[str, int]:
    """Return a small dict."""
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


async def run_many(runtime: Runtime, workflow: Workflow, *, count: int, at_once: int) -> None:
    """Run an execution `count` times, `at_once` at a time."""
    gate = asyncio.Semaphore(at_once)

    async def run_one() -> None:
        async with gate:
            await (await runtime.start(workflow)).result()

    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            group.create_task(run_one())


async def w1(runtime: Runtime, scale: float) -> tuple[float, str]:
    """One execution of ten sequential steps at a time."""
    count = max(1, int(20 * scale))
    took = await timed(lambda: run_many(runtime, chain(10), count=count, at_once=1))
    return took / (10 * count) * 1000, "ms per step"


async def w2(runtime: Runtime, scale: float) -> tuple[float, str]:
    """Executions of ten steps, a hundred at once."""
    count = max(1, int(1000 * scale))
    took = await timed(lambda: run_many(runtime, chain(10), count=count, at_once=100))
    return 10 * count / took, "steps/s"


async def w3(runtime: Runtime, scale: float) -> tuple[float, str]:
    """One execution of a thousand parallel steps."""
    workflow = fan(max(1, int(1000 * scale)))
    await runtime.publish(workflow)
    return await timed(lambda: run_many(runtime, workflow, count=1, at_once=1)), "s"


async def w4(runtime: Runtime, scale: float) -> tuple[float, str]:
    """One-step executions, a thousand at once."""
    count = max(1, int(5000 * scale))
    took = await timed(lambda: run_many(runtime, chain(1), count=count, at_once=1000))
    return count / took, "executions/s"


async def timed(work: Callable[[], Awaitable[None]]) -> float:
    """Seconds that some work takes."""
    began = time.perf_counter()
    await work()
    return time.perf_counter() - began


WORKLOADS = {"W1": w1, "W2": w2, "W3": w3, "W4": w4}


async def measure(name: str, *, durability: str, scale: float) -> str:
    """One line about one workload."""
    figures = []
    unit = ""
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            async with Runtime(Path(folder) / "bench.db", agents=agents, durability=durability) as runtime:
                figure, unit = await WORKLOADS[name](runtime, scale)
                figures.append(figure)
    median = statistics.median(figures)
    return f"{name}  {durability:8} {median:12,.3f} {unit:13} ({min(figures):,.3f} to {max(figures):,.3f})"


def main() -> None:
    """Run what was asked for and print a line each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("workloads", nargs="*", default=list(WORKLOADS))
    parser.add_argument("--durability", choices=("power", "process"), default="power")
    parser.add_argument("--scale", type=float, default=1.0)
    arguments = parser.parse_args()
    for name in arguments.workloads:
        print(asyncio.run(measure(name, durability=arguments.durability, scale=arguments.scale)), flush=True)


if __name__ == "__main__":
    main()
