"""W12: how quickly does a store answer that has been used for years?

The store is made by `benchmarks.years` and read through a runtime that has it open. Each question is
asked warm, many times, with other words and ids each time; the figure is the median.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from benchmarks import workload, years
from benchmarks.question import Case, Effort, Figure, Question
from perdure.runtime import Runtime
from perdure.runtime.upkeep import BATCH
from perdure.store.scripts.retention import Prune

ASKED: Final = 50  # times
WITHIN: Final = {
    "start_ms": 2_000.0,
    "stats_week_ms": 1_000.0,
    "stats_s": 1.0,
    **dict.fromkeys(("list_ms", "list_rare_ms", "status_ms", "find_ms", "search_ms"), 50.0),
}

QUESTION = Question(
    code="W12",
    title="a store with so many finished executions: how long until it answers",
    figures=(
        Figure(name="start_ms", unit="ms to open it"),
        Figure(name="list_ms", unit="ms for a list, of all or of one status", is_speed=False),
        Figure(name="list_rare_ms", unit="ms for a list of a status that none has", is_speed=False),
        Figure(name="status_ms", unit="ms for one execution", is_speed=False),
        Figure(name="find_ms", unit="ms for the beginning of an id", is_speed=False),
        Figure(name="search_ms", unit="ms for words", is_speed=False),
        Figure(name="prune_ms", unit=f"ms of the writer for {BATCH} executions pruned", is_speed=False),
        Figure(name="stats_week_ms", unit="ms for statistics of the last seven days", is_speed=False),
        Figure(name="stats_s", unit="s for statistics of everything", is_speed=False),
        Figure(name="bytes_per_execution", unit="bytes an execution, index included", is_speed=False),
    ),
    cases=(
        Case(name="100,000", size=100_000, rounds=1, effort=Effort.LONG, reach=WITHIN),
        Case(name="1,000,000", size=1_000_000, rounds=1, effort=Effort.HUGE, reach=WITHIN),
    ),
    contenders=("perdure",),
    durabilities=("power",),
    asks_servers=True,
)


async def perdure(size: int, *, folder: Path, durability: str) -> dict[str, float]:
    """Make it, open it, ask."""
    location = workload.location(folder)
    await years.make(location, size, say=lambda _: None)
    began = time.perf_counter()
    async with Runtime(location, durability=durability) as runtime:
        figures = {"start_ms": (time.perf_counter() - began) * 1000}
        figures |= await answers(runtime, size // years.MODELS)
        figures["prune_ms"] = await pruning(runtime)
    figures["bytes_per_execution"] = await years.bytes_of(location) / size
    return figures


async def answers(runtime: Runtime, copies: int) -> dict[str, float]:
    """The median of each question, in milliseconds; statistics are asked once."""
    ids = [
        f"order-{years.WORDS[number % 10]}-{1 + number * (copies - 1) // (ASKED + 1)}"
        for number in range(ASKED)
    ]
    statuses = (None, "failed", "completed", "cancelled")
    rare = ("running", "paused", "rolled_back")

    async def status(number: int) -> Any:
        return await (await runtime.execution(ids[number])).status()

    async def search(number: int) -> Any:
        words = (ids[number], "brick refused", f"customer-{number % 10}", "vas*", "nobody")[number % 5]
        return await runtime.search(words)

    async def find(number: int) -> Any:
        return await runtime.store.find(ids[number][: -1 - number % 4])

    figures = {
        "list_ms": await median(lambda number: runtime.list(status=statuses[number % 4])),
        "list_rare_ms": await median(lambda number: runtime.list(status=rare[number % 3])),
        "status_ms": await median(status),
        "find_ms": await median(find),
        "search_ms": await median(search),
    }
    newest = max(each.last_started_at for each in await runtime.statistics() if each.last_started_at)
    figures["stats_week_ms"] = 1_000 * await statistics_of(runtime, newest - timedelta(days=7))
    return figures | {"stats_s": await statistics_of(runtime, None)}


async def statistics_of(runtime: Runtime, since: datetime | None) -> float:
    """Seconds for the statistics of everything since then."""
    began = time.perf_counter()
    await runtime.statistics(since=since)
    await runtime.step_statistics(since=since)
    await runtime.error_statistics(since=since)
    return time.perf_counter() - began


async def median(ask: Callable[[int], Awaitable[Any]]) -> float:
    """Milliseconds of a question that has been asked before, in other words."""
    took = []
    for number in range(ASKED):
        began = time.perf_counter()
        await ask(number)
        took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took)


async def pruning(runtime: Runtime) -> float:
    """Milliseconds for which others wait while a few are pruned, as a runtime does it."""
    took, after_no = [], 0
    for _ in range(ASKED):
        began = time.perf_counter()
        [done] = await runtime.store.commit([Prune(before=2**50, after_no=after_no, limit=BATCH)])
        took.append((time.perf_counter() - began) * 1000)
        after_no = done.after_no  # type: ignore[union-attr]
    return statistics.median(took)
