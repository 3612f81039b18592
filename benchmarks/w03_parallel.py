"""W3: how long does one execution with thousands of parallel steps take?"""

from __future__ import annotations

from collections.abc import Awaitable
from pathlib import Path

from benchmarks import floor as least
from benchmarks import workload
from benchmarks.machine import peak_mb
from benchmarks.question import HOSTED, OURS, Case, Effort, Figure, Question

QUESTION = Question(
    code="W3",
    title="one execution with 1,000 (10,000, 30,000) parallel steps",
    contenders=("floor", OURS, HOSTED),
    figures=(
        Figure(name="seconds", unit="s"),
        Figure(name="peak_mb", unit="MB at its peak", is_speed=False),
    ),
    cases=(
        Case(name="1,000", size=1_000, reach={"seconds": 0.15}),
        Case(name="10,000", size=10_000, rounds=3, reach={"seconds": 1.5}),
        Case(
            name="30,000", size=30_000, rounds=3, effort=Effort.LONG, reach={"seconds": 5, "peak_mb": 1_000}
        ),
    ),
)


async def perdure(size: int, *, folder: Path, durability: str) -> dict[str, float]:
    """Through the runtime; the workflow is published before."""
    fan = workload.fan(size)
    async with workload.opened(folder, fan, durability=durability) as runtime:
        return await measured(workload.run(runtime, fan))


async def floor(size: int, *, folder: Path, durability: str) -> dict[str, float]:
    """The same rows and nothing else."""
    async with least.opened(folder, durability=durability) as floor:
        return await measured(floor.run_fan(size, workload.noop))


async def measured(execution: Awaitable[None]) -> dict[str, float]:
    """The figures of one execution."""
    return {"seconds": await workload.timed(execution), "peak_mb": peak_mb()}
