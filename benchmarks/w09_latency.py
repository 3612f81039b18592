"""W9: how long do commands take, to an execution that runs and to one that is parked?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Final

from benchmarks import floor as least
from benchmarks import workload
from benchmarks.figures import percentile
from benchmarks.question import HOSTED, OURS, Case, Figure, Question
from perdure.runtime import Agents, Execution, Runtime, Workflow

COMMANDS: Final = {
    "signal_running": "signal to a running one",
    "pause_running": "pause of a running one settled, once its step has ended",
    "signal_parked": "signal to a parked one",
    "resume_parked": "resume of a parked one",
    "cancel_running": "cancel of a running one",
}
TOGETHER: Final = 1_000

QUESTION = Question(
    code="W9",
    title="pause, resume, cancel and signal, to a running and to a parked execution",
    contenders=("floor", OURS, HOSTED),
    figures=(
        *(
            Figure(name=f"{command}_{name}", unit=f"ms, {label}{suffix}")
            for command, label in COMMANDS.items()
            for name, suffix in (("ms", ""), ("p99_ms", ", p99"))
        ),
        Figure(name="signal_parked_own_us", unit="µs of our own per signal to parked ones"),
        Figure(name="pause_all_s", unit="s until 1,000 running ones are paused"),
    ),
    cases=(
        Case(
            name="200 each",
            size=200,
            rounds=3,
            reach={
                "pause_running_ms": 5,
                "signal_parked_ms": 1,
                "signal_parked_own_us": 20,
                "pause_all_s": 0.5,
            },
        ),
    ),
)

Samples = dict[str, list[float]]


class Gate:
    """The body of the first of two steps: it waits until the gate is opened."""

    def __init__(self) -> None:
        """Nobody waits yet."""
        self._opened = asyncio.Event()
        self._arrived = 0
        self._all_are_there = asyncio.Event()
        self._expected = 0

    def expect(self, count: int) -> None:
        """Close the gate before that many bodies."""
        self._opened = asyncio.Event()
        self._all_are_there = asyncio.Event()
        self._arrived, self._expected = 0, count

    async def arrived(self) -> None:
        """Wait until all bodies are there."""
        await self._all_are_there.wait()

    def open(self) -> None:
        """Let them go on."""
        self._opened.set()

    async def pass_through(self) -> dict[str, int]:
        """One body."""
        self._arrived += 1
        if self._arrived == self._expected:
            self._all_are_there.set()
        await self._opened.wait()
        return {"ok": 1}


async def perdure(size: int, *, folder: Path, durability: str) -> dict[str, float]:
    """One execution after another, each command once; then many together."""
    gate, agents, workflow = Gate(), Agents(), Workflow("gated")
    agents.agent("gate")(gate.pass_through)
    for step in ("first", "second"):
        workflow.agent_step(step, agent="gate", after=["first"] if step == "second" else [])
    path = folder / "perdure.db"
    samples: Samples = {command: [] for command in COMMANDS}
    async with Runtime(path, workflows=[workflow], agents=agents, durability=durability) as runtime:
        for _ in range(size + 1):
            await one_life(runtime, workflow, gate, samples)
        pause_all_s, parked = await pause_all(runtime, workflow, gate)
        own_us = await own_time_us(parked)
    return {
        **dict(summary(samples)),
        "pause_all_s": pause_all_s,
        "signal_parked_own_us": own_us,
    }


async def one_life(runtime: Runtime, workflow: Workflow, gate: Gate, samples: Samples) -> None:
    """Signal, pause, signal, resume and cancel one execution."""

    async def note(command: str, work: Awaitable[object]) -> None:
        samples[command].append(await workload.timed(work) * 1000)

    gate.expect(1)
    execution = await runtime.start(workflow)
    await gate.arrived()
    await note("signal_running", execution.signal("knock"))
    pausing = asyncio.create_task(execution.pause())
    await is_pausing(runtime, execution)
    gate.open()
    await note("pause_running", pausing)
    await is_parked(runtime)
    await note("signal_parked", execution.signal("knock"))
    gate.expect(1)
    await is_parked(runtime)
    await note("resume_parked", execution.resume())
    await gate.arrived()
    await note("cancel_running", execution.cancel())
    await is_parked(runtime)


async def pause_all(runtime: Runtime, workflow: Workflow, gate: Gate) -> tuple[float, list[Execution]]:
    """Seconds until all are paused, their steps ending as soon as the pauses are on their way."""
    gate.expect(TOGETHER)
    running: list[Execution] = []

    async def start() -> None:
        running.append(await runtime.start(workflow))

    await workload.run_many(start, count=TOGETHER, at_once=TOGETHER)
    await gate.arrived()
    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for execution in running:
            group.create_task(execution.pause())
        await asyncio.sleep(0)
        gate.open()
    took = time.perf_counter() - began
    await is_parked(runtime)
    return took, running


async def own_time_us(parked: list[Execution]) -> float:
    """The processor time of the loop's thread for each of many signals sent at once."""
    began = time.thread_time()
    async with asyncio.TaskGroup() as group:
        for execution in parked:
            group.create_task(execution.signal("knock"))
    return (time.thread_time() - began) / len(parked) * 1e6


async def is_pausing(runtime: Runtime, execution: Execution) -> None:
    """Wait until the pause is durable."""
    with runtime.bus.subscribe(execution.id) as events:
        while (await execution.query())["state"] != "pausing":
            await events.wait()
            events.take()


async def is_parked(runtime: Runtime) -> None:
    """Wait until nothing is hot."""
    while not runtime.machine.executions.is_idle:  # noqa: ASYNC110  the runtime has no event for it
        await asyncio.sleep(0.001)


def summary(samples: Samples) -> Iterator[tuple[str, float]]:
    """Median and p99 of each command, without the first, which warms everything up."""
    for command, times in samples.items():
        yield f"{command}_ms", percentile(times[1:], 50)
        yield f"{command}_p99_ms", percentile(times[1:], 99)


async def floor(size: int, *, folder: Path, durability: str) -> dict[str, float]:
    """Every command is one commit of a row and an event; all pauses together share their commits."""
    async with least.opened(folder, durability=durability) as floor:
        numbers = [await floor.start() for _ in range(size + 1)]
        times = [await workload.timed(floor.touch(no)) * 1000 for no in numbers]
        began = time.perf_counter()
        await together(lambda: floor.touch(1), TOGETHER)
        pause_all_s = time.perf_counter() - began
    return {**dict(summary(dict.fromkeys(COMMANDS, times))), "pause_all_s": pause_all_s}


async def together(work: Callable[[], Awaitable[None]], count: int) -> None:
    """All at once."""
    await workload.run_many(work, count=count, at_once=count)
