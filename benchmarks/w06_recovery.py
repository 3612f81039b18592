"""W6: how long until everything is done, when a process with thousands in flight was killed?

As a script it is that process: `python -m benchmarks.w06_recovery CONTENDER hold|go SIZE PATH DURABILITY`.
The one that holds runs every execution into its sixth step and stays there until it is killed; the
one that goes takes up whatever it finds and counts the bodies it runs.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from benchmarks import floor as least
from benchmarks import workload
from benchmarks.machine import child, say
from benchmarks.question import Case, Effort, Figure, Question
from perdure.runtime import Agents, Runtime, StepContext, Workflow

STEPS: Final = 10
HELD: Final = 5  # the step in which the first process stays
POLL_S: Final = 0.005

QUESTION = Question(
    code="W6",
    title="kill -9 with 1,000 (10,000) executions in flight, restart",
    figures=(
        Figure(name="recovered_s", unit="s from start to all done"),
        Figure(name="recorded_run_again", unit="recorded steps run again", is_speed=False),
    ),
    cases=(
        Case(name="1,000", size=1_000, rounds=3, reach={"recovered_s": 1.5, "recorded_run_again": 0}),
        Case(
            name="10,000",
            size=10_000,
            rounds=1,
            effort=Effort.LONG,
            reach={"recovered_s": 10, "recorded_run_again": 0},
        ),
    ),
)


async def perdure(size: int, *, folder: Path, durability: str) -> dict[str, float]:
    """Two runtimes, one after the other, on one file."""
    return await killed_and_restarted("perdure", size, folder / "perdure.db", durability)


async def floor(size: int, *, folder: Path, durability: str) -> dict[str, float]:
    """The same rows: read which executions are unfinished, and do their steps."""
    return await killed_and_restarted("floor", size, folder / "floor.db", durability)


async def killed_and_restarted(contender: str, size: int, path: Path, durability: str) -> dict[str, float]:
    """The figures of a process that goes on after another one was killed."""
    given = (size, path, durability)
    async with child("-m", __spec__.name, contender, "hold", *given) as process:
        await process.said()
        await process.kill()
    began = time.perf_counter()
    async with child("-m", __spec__.name, contender, "go", *given) as process:
        bodies = await process.said()
        return {
            "recovered_s": time.perf_counter() - began,
            "recorded_run_again": sum(bodies["run"][:HELD]),
        }


class Bodies:
    """The steps' body, which counts; in the first process it never returns from the sixth step."""

    def __init__(self, *, size: int, holds: bool) -> None:
        """`size` executions are expected."""
        self._size = size
        self._holds = holds
        self._run: Counter[int] = Counter()
        self.are_there = asyncio.Event()

    async def perform(self, step_no: int) -> dict[str, int]:
        """One body; all are there when every execution has come to its last one, or to the held one."""
        self._run[step_no] += 1
        if self._run[HELD if self._holds else STEPS - 1] == self._size:
            self.are_there.set()
        if self._holds and step_no == HELD:
            await asyncio.get_running_loop().create_future()
        return {"ok": 1}

    def report(self) -> None:
        """Tell the parent how often each step has run."""
        say(run=[self._run[step_no] for step_no in range(STEPS)])


async def through_the_runtime(bodies: Bodies, size: int, path: Path, durability: str, *, holds: bool) -> None:
    """Start them all, or let the runtime take them up; stay until all are done."""
    agents = Agents()

    @agents.agent("noop")
    async def noop(context: StepContext) -> dict[str, int]:
        return await bodies.perform(int(context.step[1:]))

    chain: Workflow = workload.chain(STEPS)
    async with Runtime(path, workflows=[chain], agents=agents, durability=durability) as runtime:
        if holds:
            await workload.run_many(lambda: runtime.start(chain), count=size, at_once=1_000)
        await bodies.are_there.wait()
        while not holds and not runtime.machine.executions.is_idle:  # noqa: ASYNC110  no event tells it
            await asyncio.sleep(POLL_S)
        bodies.report()
        if holds:
            await runtime.serve()


async def over_the_floor(bodies: Bodies, size: int, path: Path, durability: str, *, holds: bool) -> None:
    """Start them all, or read them all; stay until all are done."""
    async with least.opened(path.parent, durability=durability) as floor:
        running = await floor.unfinished() if not holds else [(await floor.start(), 1) for _ in range(size)]
        async with asyncio.TaskGroup() as group:
            for no, version in running:
                group.create_task(floor.go_on(no, version, STEPS, bodies.perform))
            await bodies.are_there.wait()
            if holds:
                bodies.report()
        bodies.report()


CONTENDERS: Final[dict[str, Callable[..., Awaitable[None]]]] = {
    "perdure": through_the_runtime,
    "floor": over_the_floor,
}


async def main(contender: str, mode: str, size: str, path: str, durability: str) -> None:
    """Be the process that is killed, or the one that goes on."""
    holds = mode == "hold"
    bodies = Bodies(size=int(size), holds=holds)
    await CONTENDERS[contender](bodies, int(size), Path(path), durability, holds=holds)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
