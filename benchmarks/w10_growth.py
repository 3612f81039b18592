"""W10: does a step cost the same with a long history, in a wide execution, with a large context?

Each figure is the processor time of a step (all threads) over that of the small case, measured one
after the other in the same process; 1 is flat. Elapsed time would measure the neighbours.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import Final

from benchmarks import workload
from benchmarks.question import Case, Effort, Figure, Question
from perdure.runtime import Runtime

STEPS: Final = 10
AT_ONCE: Final = 100
MEASURED: Final = 300  # executions of one measurement, which is made three times
WIDTHS: Final = (1_000, 10_000)
LONG: Final = 100  # steps that a context is carried through
CARRIED: Final = 5  # executions with such a context
CONTEXTS: Final = {"1 KB": 1_000, "100 KB": 100_000, "1 MB": 1_000_000}
FLAT: Final = dict.fromkeys(("history_10", "history_100", "width_10", "context_100", "context_1000"), 1.2)

QUESTION = Question(
    code="W10",
    title="growth: a step's processor time with much history, width or context, over the small case",
    figures=(
        Figure(name="history_10", unit="× with 10 times the history"),
        Figure(name="history_100", unit="× with 100 times the history"),
        Figure(name="width_10", unit="× with 10 times the width"),
        Figure(name="context_100", unit="× with 100 KB of context"),
        Figure(name="context_1000", unit="× with 1 MB of context"),
        Figure(name="bytes_context_1000", unit="× bytes a step, with 1 MB of context"),
    ),
    cases=(
        Case(
            name="300 before",
            size=300,
            rounds=3,
            reach=FLAT,
        ),
        Case(
            name="1,000 before",
            size=1_000,
            rounds=1,
            effort=Effort.HUGE,
            reach=FLAT,
        ),
    ),
    contenders=("perdure",),
    durabilities=("power",),
)


async def perdure(size: int, *, folder: Path, durability: str) -> dict[str, float]:
    """History first, for it grows the file; then widths and contexts in files of their own."""
    history = await by_history(size, folder / "history.db", durability)
    width = [await by_width(each, folder / f"width-{each}.db", durability) for each in WIDTHS]
    contexts = [
        await by_context(each, folder / f"context-{each}.db", durability) for each in CONTEXTS.values()
    ]
    seconds = [took for took, _ in contexts]
    stored = [stored for _, stored in contexts]
    return {
        "history_10": history[1] / history[0],
        "history_100": history[2] / history[0],
        "width_10": width[1] / width[0],
        "context_100": seconds[1] / seconds[0],
        "context_1000": seconds[2] / seconds[0],
        "bytes_context_1000": stored[2] / stored[0],
    }


async def by_history(size: int, path: Path, durability: str) -> list[float]:
    """Seconds a step when `size`, ten times and a hundred times as many executions came before."""
    chain = workload.chain(STEPS)
    took = []
    stored = 0
    async with Runtime(path, workflows=[chain], agents=workload.agents, durability=durability) as runtime:

        async def run_more(count: int) -> float:
            nonlocal stored
            stored += count
            began = time.process_time()
            await workload.run_many(lambda: workload.run(runtime, chain), count=count, at_once=AT_ONCE)
            return (time.process_time() - began) / (count * STEPS)

        for factor in (1, 10, 100):
            await run_more(size * factor - stored)
            took.append(statistics.median([await run_more(MEASURED) for _ in range(3)]))
    return took


async def by_width(width: int, path: Path, durability: str) -> float:
    """Seconds a step in one execution of that width."""
    fan = workload.fan(width)
    async with Runtime(path, workflows=[fan], agents=workload.agents, durability=durability) as runtime:
        return await used(workload.run(runtime, fan)) / width


async def by_context(size: int, path: Path, durability: str) -> tuple[float, float]:
    """Seconds and bytes a step of a long chain that carries a context of that size, less the context."""
    chain = workload.chain(LONG)
    context = {"document": "x" * size}
    async with Runtime(path, workflows=[chain], agents=workload.agents, durability=durability) as runtime:
        await workload.run(runtime, chain)
        took = []
        for _ in range(CARRIED):
            execution = await runtime.start(chain, context)
            took.append(await used(execution.result()) / LONG)
    return statistics.median(took), (stored_bytes(path) - CARRIED * size) / ((CARRIED + 1) * LONG)


async def used(work: Awaitable[object]) -> float:
    """The seconds of processor time that some work takes."""
    began = time.process_time()
    await work
    return time.process_time() - began


def stored_bytes(path: Path) -> int:
    """The size of a store that is closed."""
    return path.stat().st_size
