"""W2: how many durable steps a second, when a hundred executions run at once?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from benchmarks import floor as least
from benchmarks import workload
from benchmarks.question import HOSTED, OURS, Case, Figure, Question

STEPS = 10
AT_ONCE = 100

QUESTION = Question(
    code="W2",
    title="1,000 executions × 10 steps, 100 at once",
    contenders=("floor", OURS, HOSTED),
    figures=(Figure(name="steps_per_s", unit="durable steps/s", more_is_better=True),),
    cases=(Case(name="1,000 × 10", size=1_000, reach={"steps_per_s": 10_000}),),
    asks_servers=True,
)


async def perdure(size: int, *, folder: Path, durability: str) -> dict[str, float]:
    """Through the runtime."""
    chain = workload.chain(STEPS)
    async with workload.opened(folder, chain, durability=durability) as runtime:
        return await measured(lambda: workload.run(runtime, chain), size)


async def floor(size: int, *, folder: Path, durability: str) -> dict[str, float]:
    """The same rows and nothing else."""
    async with least.opened(folder, durability=durability) as floor:
        return await measured(lambda: floor.run_chain(STEPS, workload.noop), size)


async def measured(run: Callable[[], Awaitable[None]], size: int) -> dict[str, float]:
    """The rate of `size` executions, after one that warms everything up."""
    await run()
    return {"steps_per_s": size * STEPS / await workload.run_many(run, count=size, at_once=AT_ONCE)}
