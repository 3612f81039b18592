"""W8: what does the engine add to real graphs, in time and in bytes?

The graphs are read from the folder that `PERDURE_CASES` names; without it the question is skipped.
Run times are scaled down until each graph's critical path takes two seconds.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks import floor as least
from benchmarks import workload
from benchmarks.question import Case, Effort, Figure, Question
from perdure.runtime import Agents, Runtime, StepContext, Workflow

CRITICAL_PATH_S: Final = 2.0

QUESTION = Question(
    code="W8",
    title="real graphs: makespan over critical path, engine time and bytes per step",
    figures=(
        Figure(name="eager_makespan", unit="× critical path, eager"),
        Figure(name="level_makespan", unit="× critical path, by level"),
        Figure(name="engine_us", unit="µs of processor per no-op step"),
        Figure(name="bytes_per_step", unit="bytes stored per step, beyond empty tables", is_speed=False),
    ),
    cases=(
        Case(
            name="8 graphs",
            size=8,
            rounds=1,
            reach={"eager_makespan": 1.02, "engine_us": 100, "bytes_per_step": 600},
        ),
        Case(
            name="31 graphs",
            size=31,
            rounds=1,
            effort=Effort.HUGE,
            reach={"eager_makespan": 1.02, "engine_us": 100, "bytes_per_step": 600},
        ),
    ),
    durabilities=("power",),
    needs=("PERDURE_CASES",),
)


class Graph:
    """A graph with the seconds each task takes, scaled down."""

    def __init__(self, facts: dict[str, Any]) -> None:
        """From a line of the collection."""
        scale = CRITICAL_PATH_S / facts["critical_path_ms"]
        self.name: str = facts["id"]
        self.needs: list[list[int]] = facts["deps"]
        self.seconds = [took_ms * scale for took_ms in facts["rt_ms"]]

    def workflow(self, scheduling: str) -> Workflow:
        """Task i is step `ti`."""
        workflow = Workflow(f"{self.name}-{scheduling}", scheduling=scheduling)
        for number, needs in enumerate(self.needs):
            workflow.agent_step(f"t{number}", agent="task", after=[f"t{need}" for need in needs])
        return workflow


def graphs(count: int) -> list[Graph]:
    """So many of the collection, evenly picked."""
    file = Path(os.environ["PERDURE_CASES"]) / "wfinstances" / "dags.jsonl"
    lines = file.read_text().splitlines()
    return [Graph(json.loads(line)) for line in lines[:: max(1, len(lines) // count)][:count]]


async def perdure(size: int, *, folder: Path, durability: str) -> dict[str, float]:
    """Each graph with real sleeps, eager and by level, then all without sleeps."""
    picked = graphs(size)
    path = folder / "no-ops.db"
    steps = sum(len(graph.needs) for graph in picked)
    eager = [await makespan(graph, "eager", folder, durability) for graph in picked]
    level = [await makespan(graph, "level", folder, durability) for graph in picked]
    async with Runtime(path, durability=durability):
        pass  # its tables, before anything is in them
    empty = path.stat().st_size
    engine_s = await no_ops_s(picked, path, durability)
    return {
        "eager_makespan": statistics.median(eager),
        "level_makespan": statistics.median(level),
        "engine_us": engine_s / steps * 1e6,
        "bytes_per_step": (path.stat().st_size - empty) / steps,
    }


async def makespan(graph: Graph, scheduling: str, folder: Path, durability: str) -> float:
    """How often the critical path the whole graph takes."""
    agents = Agents()

    @agents.agent("task")
    async def task(context: StepContext) -> dict[str, int]:
        await asyncio.sleep(graph.seconds[int(context.step[1:])])
        return {"ok": 1}

    workflow = graph.workflow(scheduling)
    path = folder / "sleeps.db"
    async with Runtime(path, workflows=[workflow], agents=agents, durability=durability) as runtime:
        return await workload.timed(workload.run(runtime, workflow)) / CRITICAL_PATH_S


async def no_ops_s(picked: Sequence[Graph], path: Path, durability: str) -> float:
    """The processor time of all threads for all graphs, when no step does anything."""
    agents = Agents()

    @agents.agent("task")
    async def task() -> dict[str, int]:
        return {"ok": 1}

    workflows = [graph.workflow("eager") for graph in picked]
    async with Runtime(path, workflows=workflows, agents=agents, durability=durability) as runtime:
        began = time.process_time()
        for workflow in workflows:
            await workload.run(runtime, workflow)
        return time.process_time() - began


async def floor(size: int, *, folder: Path, durability: str) -> dict[str, float]:
    """A task for each step that waits for its needs; the same rows."""
    picked = graphs(size)
    steps = sum(len(graph.needs) for graph in picked)
    path = folder / "floor.db"
    async with least.opened(folder, durability=durability):
        pass
    empty = path.stat().st_size
    async with least.opened(folder, durability=durability) as floor:
        eager = [await workload.timed(floor_graph(floor, graph)) for graph in picked]
    return {
        "eager_makespan": statistics.median(eager) / CRITICAL_PATH_S,
        "bytes_per_step": (path.stat().st_size - empty) / steps,
    }


async def floor_graph(floor: least.Floor, graph: Graph) -> None:
    """One graph with real sleeps."""
    no = await floor.start()
    done = [asyncio.Event() for _ in graph.needs]
    settled = 0

    async def perform(step_no: int) -> None:
        nonlocal settled
        for need in graph.needs[step_no]:
            await done[need].wait()
        await asyncio.sleep(graph.seconds[step_no])
        settled += 1
        is_last = settled == len(done)
        await floor.record(no, version=settled, step_no=step_no, output={"ok": 1}, is_last=is_last)
        done[step_no].set()

    async with asyncio.TaskGroup() as group:
        for step_no in range(len(done)):
            group.create_task(perform(step_no))
