"""W11: what does it cost to keep the facts on a PostgreSQL server instead of in a file?"""

from __future__ import annotations

import os
import time
from pathlib import Path

from benchmarks import floor as least
from benchmarks import w02_concurrent, workload
from benchmarks.question import Case, Figure, Question
from perdure.runtime import Runtime

STEPS = w02_concurrent.STEPS
URL = "PERDURE_BENCH_POSTGRES_URL"  # a server on this machine, with its fsync on; schemas are made and left

QUESTION = Question(
    code="W11",
    title="executions × 10 steps, 100 at once: a file and a PostgreSQL server",
    figures=(Figure(name="steps_per_s", unit="durable steps/s", more_is_better=True),),
    cases=(Case(name="1,000 × 10", size=1_000),),
    contenders=("floor", "perdure", "postgres"),
    needs=(URL,),
)


async def floor(size: int, *, folder: Path, durability: str) -> dict[str, float]:
    """The same rows in a file and nothing else."""
    async with least.opened(folder, durability=durability) as floor:
        return await w02_concurrent.measured(lambda: floor.run_chain(STEPS, workload.noop), size)


async def perdure(size: int, *, folder: Path, durability: str) -> dict[str, float]:
    """Through the runtime, in a file."""
    return await w02_concurrent.perdure(size, folder=folder, durability=durability)


async def postgres(size: int, *, folder: Path, durability: str) -> dict[str, float]:  # noqa: ARG001  all get a folder
    """Through the runtime, on the server."""
    chain = workload.chain(STEPS)
    server = os.environ[URL]
    url = f"{server}{'&' if '?' in server else '?'}schema=bench_{time.time_ns()}"
    async with Runtime(url, workflows=[chain], agents=workload.agents, durability=durability) as runtime:
        return await w02_concurrent.measured(lambda: workload.run(runtime, chain), size)
