"""W5: what do executions cost that only wait, and how fast can they be started, reopened and woken?

Each waits for a signal, at most a day: a row and a timer in the store, and no task.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import time
from pathlib import Path

from benchmarks import floor as least
from benchmarks import workload
from benchmarks.machine import child, resident_mb
from benchmarks.question import Case, Effort, Figure, Question
from perdure.runtime import Execution, Runtime, Workflow

DAY_S = 86_400.0
AT_ONCE = 1_000
WOKEN = 500
POLL_S = 0.01

QUESTION = Question(
    code="W5",
    title="10,000 (100,000, 1,000,000) executions waiting",
    figures=(
        Figure(name="started_per_s", unit="started and parked/s", more_is_better=True),
        Figure(name="rss_growth_mb", unit="MB more while they wait"),
        Figure(name="ready_s", unit="s, cold process ready"),
        Figure(name="cold_rss_growth_mb", unit="MB more in that process"),
        Figure(name="rest_cpu_percent", unit="% of a core at rest"),
        Figure(name="wake_us", unit="µs to wake one, durable"),
    ),
    cases=(
        Case(name="10,000", size=10_000, rounds=3, reach={"started_per_s": 5_000, "wake_us": 1_000}),
        Case(name="100,000", size=100_000, rounds=1, effort=Effort.LONG, reach={"started_per_s": 5_000}),
        Case(
            name="1,000,000",
            size=1_000_000,
            rounds=1,
            effort=Effort.HUGE,
            reach={"started_per_s": 5_000, "rss_growth_mb": 300, "ready_s": 3, "wake_us": 1_000},
        ),
    ),
    durabilities=("power",),
)


def waiting() -> Workflow:
    """A step that waits for a signal, at most a day, and one that follows it."""
    workflow = Workflow("waiting")
    workflow.signal_step("wait", signal="knock", timeout=DAY_S)
    workflow.agent_step("follow", agent="noop", after=["wait"])
    return workflow


async def perdure(size: int, *, folder: Path, durability: str) -> dict[str, float]:
    """Start and park them all, wake some, then reopen the file in a new process."""
    workflow = waiting()
    async with workload.opened(folder, workflow, durability=durability) as runtime:
        await parked(runtime, workflow, 1)
        gc.collect()
        before = resident_mb()
        began = time.perf_counter()
        sample = await parked(runtime, workflow, size)
        took = time.perf_counter() - began
        gc.collect()
        growth = resident_mb() - before
        wakes = [await workload.timed(execution.signal("knock")) for execution in sample]
    return {
        "started_per_s": size / took,
        "rss_growth_mb": growth,
        "wake_us": statistics.median(wakes) * 1e6,
        **await reopened(folder / "perdure.db", durability),
    }


async def parked(runtime: Runtime, workflow: Workflow, count: int) -> list[Execution]:
    """Start that many and wait until none is hot; return some of them."""
    sample: list[Execution] = []

    async def start() -> None:
        execution = await runtime.start(workflow)
        if len(sample) < WOKEN:
            sample.append(execution)

    await workload.run_many(start, count=count, at_once=AT_ONCE)
    while not runtime.machine.executions.is_idle:  # noqa: ASYNC110  the runtime has no event for it
        await asyncio.sleep(POLL_S)
    return sample


async def reopened(path: Path, durability: str) -> dict[str, float]:
    """What a new process pays for all that wait in the file."""
    began = time.perf_counter()
    async with child("-m", "benchmarks.cold", path, durability) as process:
        opened = await process.said()
        ready_s = time.perf_counter() - began
        rested = await process.said()
        return {
            "ready_s": ready_s,
            "cold_rss_growth_mb": opened["rss_growth_mb"],
            "rest_cpu_percent": rested["rest_cpu"] * 100,
        }


async def floor(size: int, *, folder: Path, durability: str) -> dict[str, float]:
    """A row with a time and an event for each; to wake one is one commit."""
    due_at = least.now_ms() + int(DAY_S * 1000)
    async with least.opened(folder, durability=durability) as floor:

        async def start() -> None:
            await floor.start(state="waiting", due_at=due_at)

        took = await workload.run_many(start, count=size, at_once=AT_ONCE)
        wakes = [await workload.timed(floor.touch(no)) for no in range(1, min(size, WOKEN) + 1)]
    return {"started_per_s": size / took, "wake_us": statistics.median(wakes) * 1e6}
