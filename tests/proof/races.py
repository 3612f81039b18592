"""Two callers and the machine want the same version of an execution, and exactly one gets it.

A program of its own: `python races.py --seed N --count RACES [--server URL]` prints what it did as
JSON. Each race is a fresh execution, at work or at rest; two callers, in one runtime or in two on one
store, give commands that expect the version they have both seen, while a body may be about to end.
Time is virtual and the tasks that are ready run in an order drawn from the seed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import anyio
import msgspec

sys.path.insert(0, str(Path(__file__).parents[1]))

import postgres
from leaks import Base
from stage_on_server import hold_clock_for_server

from perdure.runtime import Conflict, Execution, Runtime, StepContext, Workflow
from perdure.runtime.testing import Acknowledged, VirtualRuntime, check_store, run_virtual
from perdure.store.postgres import PostgresStore

ROUND: Final = 40  # races between one opening of the two runtimes and the next
LATE_MAX: Final = 8  # passes of the loop by which a caller may be later than the other, or the machine
GATE_S: Final = 0.5  # after which every body may end, so that a drain does

Say = Callable[[Execution, str, int], Awaitable[Any]]


class Raced(msgspec.Struct, kw_only=True):
    """What a run has done: who was first how often."""

    races: int = 0
    callers_won: int = 0
    machine_won: int = 0
    seconds: float = 0.0


async def _pause(execution: Execution, id_: str, version: int) -> None:
    await execution.pause(command_id=id_, expected_version=version)


async def _interrupt(execution: Execution, id_: str, version: int) -> None:
    await execution.pause(mode="interrupt", command_id=id_, expected_version=version)


async def _resume(execution: Execution, id_: str, version: int) -> None:
    await execution.resume(command_id=id_, expected_version=version)


async def _cancel(execution: Execution, id_: str, version: int) -> None:
    await execution.cancel(command_id=id_, expected_version=version)


async def _update(execution: Execution, id_: str, version: int) -> None:
    await execution.update_context({"by": id_}, command_id=id_, expected_version=version)


AT_WORK: Final[tuple[Say, ...]] = (_pause, _interrupt, _cancel, _update)
AT_REST: Final[tuple[Say, ...]] = (_resume, _cancel, _update)


def run_races(seed: int, count: int, server: str | None = None) -> Raced:
    """Run at least `count` races. Raises AssertionError naming the round that went wrong."""
    begun = time.perf_counter()
    raced = Raced()
    rounds = 0
    base: Base | None = None  # once the first round has loaded what stays
    while raced.races < count:
        with _place(server) as place:
            one = Round(f"{seed}/{rounds}", place, raced)
            try:
                run_virtual(one.run, seed=one.chance.getrandbits(32))
            except Exception as error:
                error.add_note(f"python tests/proof/races.py --round {one.seed}")
                raise
        rounds += 1
        base = base or Base()
        left = base.left()
        assert left == [], f"round {one.seed}: {left}"
    raced.seconds = round(time.perf_counter() - begun, 1)
    return raced


class Round:
    """Some races over one opening of two runtimes."""

    def __init__(self, seed: str, place: str, raced: Raced) -> None:
        """Race in the store there, which nobody has used; count into `raced`."""
        self.seed = seed
        self.chance = random.Random(seed)
        self._place = place
        self._raced = raced
        self._gates: dict[str, asyncio.Event] = {}
        self._told: list[Acknowledged] = []

    async def run(self) -> None:
        """Race, and look at the whole store afterwards."""
        workflow = self._workflow()
        kind = self.chance.choice(("client", "embedded"))
        async with self._runtime("one", workflow) as one:
            async with self._runtime("two", workflow, kind=kind) as two:
                for no in range(ROUND):
                    await self._race(f"race-{no}", workflow, one, self.chance.choice((one, two, two)))
            await anyio.sleep(60)
            assert await check_store(one.store, acknowledged=self._told) == []

    def _runtime(self, name: str, workflow: Workflow, **options: Any) -> VirtualRuntime:
        store = PostgresStore(self._place) if "://" in self._place else None
        seed = f"{self.seed} {name}"
        return VirtualRuntime(self._place, store=store, workflows=[workflow], seed=seed, **options)

    def _workflow(self) -> Workflow:
        workflow = Workflow("raced")

        @workflow.step
        async def waits(context: StepContext) -> int:
            await self._gates[context.execution_id].wait()
            return 1

        @workflow.step
        async def last(waits: int) -> int:
            return waits + 1

        return workflow

    async def _race(self, id_: str, workflow: Workflow, one: Runtime, two: Runtime) -> None:
        chance = self.chance
        gate = self._gates[id_] = asyncio.Event()
        first = await one.start(workflow, {}, id=id_)
        await anyio.sleep(0.001)
        rests = chance.random() < 0.4
        if rests:
            await first.pause(mode="interrupt")
            await anyio.sleep(0.001)
        version = (await first.query())["version"]
        second = await two.execution(id_)
        if chance.random() < 0.4:
            gate.set()
        asyncio.get_running_loop().call_later(GATE_S, gate.set)
        commands = AT_REST if rests else AT_WORK
        callers = [(first, f"{id_}-a"), (second, f"{id_}-b")]
        chance.shuffle(callers)
        said = [
            _say(chance.choice(commands), execution, name, version, late=chance.randrange(LATE_MAX))
            for execution, name in callers
        ]
        ends = await asyncio.gather(*said)
        await self._judge(first, version, dict(zip([name for _, name in callers], ends, strict=True)))

    async def _judge(self, execution: Execution, version: int, ends: dict[str, Conflict | None]) -> None:
        """Exactly one of three made the next version; who lost was told so and left no trace."""
        log = [event async for event in execution.events()]
        next_by = {event.command_id for event in log if event.version == version + 1} - {None}
        winners = {name for name, end in ends.items() if end is None}
        assert winners == next_by, f"{winners} were told they won, and {next_by} did"
        assert len(winners) <= 1
        applied = {event.command_id for event in log}
        for name, conflict in ends.items():
            if conflict is not None:
                assert name not in applied, f"{name} lost, and is in the log"
                assert conflict.expected == version
                assert version < conflict.current <= log[-1].version
        self._told += [Acknowledged(execution_id=execution.id, command_id=name) for name in winners]
        self._raced.races += 1
        self._raced.callers_won += len(winners)
        self._raced.machine_won += not winners


@contextmanager
def _place(server: str | None) -> Iterator[str]:
    """A file that nobody has used, or a schema of a server, which goes with what is in it."""
    if server is not None:
        with postgres.schema(server) as own:
            yield own
        return
    with tempfile.TemporaryDirectory(prefix="pd-") as folder:
        yield str(Path(folder) / "races.db")


async def _say(say: Say, execution: Execution, name: str, version: int, *, late: int) -> Conflict | None:
    """Give a command, so many passes of the loop late; the conflict where somebody was faster."""
    for _ in range(late):
        await asyncio.sleep(0)
    try:
        await say(execution, name, version)
    except Conflict as conflict:
        return conflict
    return None


def main() -> None:
    """Race, and print what was done."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--round", help="this round only (SEED/NUMBER)")
    parser.add_argument("--server", help="in schemas of a PostgreSQL server there")
    options = parser.parse_args()
    memory = Path("/dev/shm")
    tempfile.tempdir = tempfile.mkdtemp(prefix="pd-", dir=memory if memory.is_dir() else None)
    hold_clock_for_server()
    if options.round:
        with _place(options.server) as place:
            one = Round(options.round, place, Raced())
            run_virtual(one.run, seed=one.chance.getrandbits(32))
        return
    print(json.dumps(msgspec.to_builtins(run_races(options.seed, options.count, options.server))))


if __name__ == "__main__":
    main()
