"""W1: how long does a durable step take when nothing else is going on?"""

from __future__ import annotations

import statistics
from collections.abc import Awaitable, Callable
from pathlib import Path

from benchmarks import floor as least
from benchmarks import workload
from benchmarks.figures import percentile
from benchmarks.question import HOSTED, OURS, Case, Figure, Question

STEPS = 10

QUESTION = Question(
    code="W1",
    title="one execution of 10 sequential steps at a time",
    contenders=("floor", OURS, HOSTED),
    figures=(
        Figure(name="ms_per_step", unit="ms per step"),
        Figure(name="p99_ms", unit="ms, p99 of one step"),
    ),
    cases=(Case(name="10 steps", size=50, rounds=7, reach={"ms_per_step": 0.9}),),
    asks_servers=True,
)


async def perdure(size: int, *, folder: Path, durability: str) -> dict[str, float]:
    """An execution after another through the runtime."""
    chain = workload.chain(STEPS)
    async with workload.opened(folder, chain, durability=durability) as runtime:
        return await measured(lambda: workload.run(runtime, chain), size)


async def floor(size: int, *, folder: Path, durability: str) -> dict[str, float]:
    """The same rows and nothing else."""
    async with least.opened(folder, durability=durability) as floor:
        return await measured(lambda: floor.run_chain(STEPS, workload.noop), size)


async def measured(run: Callable[[], Awaitable[None]], size: int) -> dict[str, float]:
    """The figures of `size` executions, after one that warms everything up."""
    await run()
    seconds, gaps = [], []
    for _ in range(size):
        workload.began_at.clear()
        seconds.append(await workload.timed(run()))
        gaps += workload.gaps_ms(workload.began_at)
    return {"ms_per_step": statistics.median(seconds) * 1000 / STEPS, "p99_ms": percentile(gaps, 99)}
