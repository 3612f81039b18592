"""W4: how many executions of one step can be submitted and completed in a second?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from benchmarks import floor as least
from benchmarks import workload
from benchmarks.question import HOSTED, OURS, Case, Figure, Question

AT_ONCE = 1_000

QUESTION = Question(
    code="W4",
    title="5,000 one-step executions submitted and completed",
    contenders=("floor", OURS, HOSTED),
    figures=(Figure(name="executions_per_s", unit="executions/s", more_is_better=True),),
    cases=(Case(name="5,000", size=5_000, reach={"executions_per_s": 5_000}),),
    asks_servers=True,
)


async def perdure(size: int, *, folder: Path, durability: str) -> dict[str, float]:
    """Through the runtime."""
    chain = workload.chain(1)
    async with workload.opened(folder, chain, durability=durability) as runtime:
        return await measured(lambda: workload.run(runtime, chain), size)


async def floor(size: int, *, folder: Path, durability: str) -> dict[str, float]:
    """The same rows and nothing else."""
    async with least.opened(folder, durability=durability) as floor:
        return await measured(lambda: floor.run_chain(1, workload.noop), size)


async def measured(run: Callable[[], Awaitable[None]], size: int) -> dict[str, float]:
    """The rate of `size` executions, after one that warms everything up."""
    await run()
    return {"executions_per_s": size / await workload.run_many(run, count=size, at_once=AT_ONCE)}
