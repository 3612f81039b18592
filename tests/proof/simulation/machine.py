"""One simulated machine: its clock, its disk and its processes."""

from __future__ import annotations

import asyncio
import hashlib
import json
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Final, TypeVar

import anyio

from perdure.actors.cluster import membership
from perdure.runtime import Runtime, Workflow
from perdure.runtime.seams import Seams
from perdure.runtime.testing.virtual import virtual_seams
from perdure.store.errors import PerdureError
from simulation.disk import UnreliableStore
from simulation.loop import Condition, Killed, Process, SimulatedLoop, current
from simulation.receiver import Receiver
from simulation.weather import Weather
from simulation.workflows import WorkflowSpec, documents
from simulation.world import World

T = TypeVar("T")
PATIENCE: Final = 1_440.0  # a sweep in six hours: the nets hang so low that whoever leans on one is late
LEASE_S: Final = 21_600.0


class ActorCrash(Exception):
    """What a fault makes an actor raise."""


class Gone(Exception):
    """The process died before it gave an answer."""


class Runner:
    """A process with a runtime in it."""

    def __init__(self, process: Process, *, kind: str) -> None:
        """Not open yet."""
        self.process = process
        self.kind = kind
        self.runtime: Runtime | None = None
        self.leave = asyncio.Event()
        self.task: asyncio.Task[None]
        self.has_exited = False
        self.bodies: Counter[tuple[str, str]] = Counter()  # in flight, by execution and step

    @property
    def is_open(self) -> bool:
        """Whether it can be asked."""
        return self.runtime is not None and self.process.condition is Condition.RUNNING


class Machine:
    """Everything that processes share, and everything that is remembered of them."""

    def __init__(
        self, seed: int, loop: SimulatedLoop, folder: Path, workflows: Sequence[WorkflowSpec]
    ) -> None:
        """Nothing runs yet."""
        self.loop = loop
        self.weather = Weather(seed)
        self.world = World(self, workflows)
        self.runners: list[Runner] = []
        self.dead: list[Runner] = []
        self.problems: list[str] = []
        self.ended: list[str] = []  # how runtimes ended that were not told to
        self.clock_offset_s = 0.0
        self.workflows = workflows
        self._workflows: dict[str, Workflow] = {}
        self.receiver = Receiver(self, seed=seed)
        self.max_active = Random(f"active {seed}").choice([2, 5, 10_000])
        self.max_active_steps = Random(f"steps {seed}").choice([2, 4, 10_000])
        self._seed = seed
        self._location = folder / "simulated.db"
        self._count = 0
        self._hash = hashlib.blake2b(digest_size=16)
        self.log: Callable[[str], object] | None = None
        loop.network.delays = self.weather.delays

    def trace(self, *words: object) -> None:
        """Add a line to the ordered history of everything."""
        line = f"{self.loop.time():.6f} {' '.join(map(str, words))}\n"
        self._hash.update(line.encode())
        if self.log is not None:
            self.log(line)

    @property
    def trace_hash(self) -> str:
        """The history in one word."""
        return self._hash.hexdigest()

    @property
    def had_stops(self) -> bool:
        """Whether a process may be at work that the others have taken for dead."""
        return bool(self.weather.counts["stop"] or self.weather.counts["zombie"])

    def complain(self, problem: str) -> None:
        """Something is not as it has to be."""
        self.trace("PROBLEM", problem)
        self.problems.append(problem)

    def hit(self, point: str) -> None:
        """A process passes a fault point."""
        process = current.get()
        if process is None:
            return
        process.check()
        self.trace(process.name, point)
        if self.weather.kills_process():
            self.kill(process)
            raise Killed
        if asyncio.current_task() is not None and self.weather.crashes_actor(point):
            self.trace(process.name, "actor crashes")
            raise ActorCrash(point)

    def now(self) -> float:
        """The wall clock, which somebody may set."""
        return self.loop.clock.now() + self.clock_offset_s

    def boot(self, role: str, *, kind: str = "embedded", workflows: Sequence[WorkflowSpec]) -> Runner:
        """Start a process; it opens its runtime in its own time."""
        self._count += 1
        process = Process(f"{role}-{self._count}")
        runner = Runner(process, kind=kind)
        self.runners.append(runner)
        self.trace(process.name, "boots")
        process.on_death.append(lambda: self.loop.network.cut(lambda c: c.get(current) is process))
        process.on_death.append(lambda: self._bequeath(runner))
        runner.task = self.loop.spawn(process, self._live(runner, workflows))
        runner.task.add_done_callback(lambda _: self._exited(runner))
        return runner

    def kill(self, process: Process) -> None:
        """End a process without a word."""
        self.trace(process.name, "is killed")
        self.loop.kill_process(process)

    async def death_of(self, runner: Runner) -> None:
        """Wait for the end of a process, of whatever kind."""
        died = anyio.Event()
        runner.process.on_death.append(died.set)
        if not runner.process.is_dead:
            await died.wait()

    def drop_lock(self, runner: Runner) -> None:
        """Let go of the lock file that shows that the process lives, as the kernel does at its end."""
        for lock in list(membership._held):
            if Path(lock.name).name == f"{runner.process.name}.lock":
                membership._held.discard(lock)
                lock.close()

    def jump(self, seconds: float) -> None:
        """Set the wall clock."""
        self.trace("the clock jumps", seconds)
        self.weather.counts["clock jump"] += 1
        self.clock_offset_s += seconds

    async def _live(self, runner: Runner, workflows: Sequence[WorkflowSpec]) -> None:
        process = runner.process
        source = virtual_seams(f"{self._seed} {process.name}")
        names = iter([process.name])
        store = UnreliableStore(
            str(self._location),
            process=process,
            fate=self.weather.fate,
            chance=Random(f"disk {self._seed} {process.name}"),
            client=runner.kind == "client",
        )
        runtime = Runtime(
            self._location,
            kind=runner.kind,
            workflows=self._published(process, workflows),
            agents=self.world.agents(workflows),
            max_active=self.max_active,
            max_active_steps=self.max_active_steps,
            store=store,
            lease_s=LEASE_S,
            seams=Seams(
                clock=self,
                chance=source.chance,
                patience=PATIENCE,
                post=self.receiver.post,
                new_id=lambda: next(names, None) or f"{process.name}-{source.new_id()}",
            ),
        )
        async with runtime:
            runner.runtime = runtime
            self.trace(process.name, "is open")
            await runner.leave.wait()
            runner.runtime = None

    def _published(self, process: Process, workflows: Sequence[WorkflowSpec]) -> list[Workflow]:
        """All their versions; which of them is the active one is the last to be published."""
        order = Random(f"versions {self._seed} {process.name}")
        found = [documents(spec) for spec in workflows]
        for versions in found:
            order.shuffle(versions)
        return [self._parsed(json.dumps(each)) for versions in found for each in versions]

    def _parsed(self, text: str) -> Workflow:
        """What was read once is not read again by each process that is booted."""
        if text not in self._workflows:
            self._workflows[text] = Workflow.parse(text, format="json")
        return self._workflows[text]

    def _exited(self, runner: Runner) -> None:
        """A runtime has come to its end by itself."""
        process = runner.process
        if process.is_dead:
            return
        runner.has_exited = True
        error = None if runner.task.cancelled() else runner.task.exception()
        self.trace(process.name, "exits", repr(error))
        if error is not None and not runner.leave.is_set():
            leaves = list(_leaves(error))
            self.ended.append(f"{process.name}: {leaves!r}")
            self.weather.counts["runtime ended"] += 1
            if runner.runtime is not None or any(not isinstance(leaf, PerdureError) for leaf in leaves):
                shown = "".join(traceback.format_exception(error))[-3_000:]
                self.complain(f"{process.name} ended with {leaves!r}\n{shown}")
        self.loop.kill_process(process)

    def _bequeath(self, runner: Runner) -> None:
        """What is left of a process when it is dead."""
        self.drop_lock(runner)
        runner.runtime = None
        self.runners.remove(runner)
        self.dead.append(runner)

    async def call(self, runner: Runner, ask: Callable[[Runtime], Awaitable[T]]) -> T:
        """Ask a runtime in its process. Raises what it raises, Gone when it dies, TimeoutError."""
        if not runner.is_open:
            raise Gone
        runtime = runner.runtime
        assert runtime is not None

        async def asking() -> T:
            return await ask(runtime)

        task = self.loop.spawn(runner.process, asking())
        over = asyncio.Event()

        def tell(done: asyncio.Task[T]) -> None:
            if not done.cancelled():
                done.exception()  # retrieved, also where nobody waits for it any more
            over.set()

        task.add_done_callback(tell)
        runner.process.on_death.append(over.set)
        try:
            with anyio.move_on_after(self.weather.patience_s()):
                await over.wait()
        finally:
            if not over.is_set():
                task.cancel()
        await over.wait()
        with suppress(ValueError):
            runner.process.on_death.remove(over.set)
        if runner.process.is_dead:
            raise Gone
        if task.cancelled():
            raise TimeoutError
        return task.result()


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [error]
