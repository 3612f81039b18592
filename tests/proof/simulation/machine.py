"""One simulated machine: its clock, its disk, its processes, and what their steps do to the world."""

from __future__ import annotations

import asyncio
import hashlib
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Final, TypeVar

import anyio

from perdure.actors.cluster import membership
from perdure.runtime import Runtime, StepContext
from perdure.runtime.seams import Seams
from perdure.runtime.testing import Effect
from perdure.runtime.testing.virtual import virtual_seams
from perdure.store.errors import PerdureError
from simulation.disk import UnreliableStore
from simulation.loop import Condition, Killed, Process, SimulatedLoop, current
from simulation.weather import Weather
from simulation.workflows import FatalError, RetryableError, StepSpec, WorkflowSpec, build, digest

T = TypeVar("T")
FOREVER_S: Final = 10**8
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
        self.bodies: Counter[str] = Counter()

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
        self.workflows = workflows
        self.runners: list[Runner] = []
        self.dead: list[Runner] = []
        self.ledger: list[Effect] = []
        self.repaired: set[str] = set()
        self.problems: list[str] = []
        self.ended: list[str] = []  # how runtimes ended that were not told to
        self.clock_offset_s = 0.0
        self.max_active = Random(f"active {seed}").choice([2, 5, 10_000])
        self.max_active_steps = Random(f"steps {seed}").choice([2, 4, 10_000])
        self.most_active_steps = 0
        self._seed = seed
        self._location = folder / "simulated.db"
        self._count = 0
        self._hash = hashlib.blake2b(digest_size=16)
        self.log: Callable[[str], object] | None = None
        loop.network.delays = self.weather.delays

    # ---- what is remembered ---------------------------------------------------------------------

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

    # ---- processes ------------------------------------------------------------------------------

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
            workflows=[build(spec, self._perform) for spec in workflows],
            max_active=self.max_active,
            max_active_steps=self.max_active_steps,
            store=store,
            lease_s=LEASE_S,
            seams=Seams(
                clock=self,
                chance=source.chance,
                patience=PATIENCE,
                new_id=lambda: next(names, None) or f"{process.name}-{source.new_id()}",
            ),
        )
        async with runtime:
            runner.runtime = runtime
            self.trace(process.name, "is open")
            await runner.leave.wait()
            runner.runtime = None

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

    # ---- what steps do --------------------------------------------------------------------------

    async def _perform(self, step: StepSpec, context: StepContext) -> int:
        """The body of every step of every workflow."""
        process = current.get()
        assert process is not None
        process.check()
        runner = next(runner for runner in self.runners if runner.process is process)
        self._begin(runner, step, context)
        try:
            if step.is_endless or context.attempt <= step.hangs:
                await anyio.sleep(FOREVER_S)
            if step.sleep_s:
                await anyio.sleep(step.sleep_s)
            process.check()
            is_broken = step.is_broken and context.execution_id not in self.repaired
            if context.attempt <= step.hangs + step.fails or is_broken:
                raise FatalError(step.key) if step.is_fatal else RetryableError(step.key)
            return digest(step.key, context.context["word"], context.needs)
        finally:
            runner.bodies[context.execution_id] -= 1
            runner.bodies[f"{context.execution_id} alone"] -= not step.is_parallel

    def _begin(self, runner: Runner, step: StepSpec, context: StepContext) -> None:
        """Act on the world, and look whether that was allowed."""
        execution_id = context.execution_id
        self.trace(runner.process.name, "performs", execution_id, step.key, context.attempt)
        self.ledger.append(
            Effect(
                execution_id=execution_id,
                step=context.step,
                generation=context.generation,
                attempt=context.attempt,
                idempotency_key=context.idempotency_key,
            )
        )
        bodies = runner.bodies
        bodies[execution_id] += 1
        bodies[f"{execution_id} alone"] += not step.is_parallel
        spec = next(spec for spec in self.workflows if spec.name == context.workflow)
        beside = bodies[execution_id]
        if spec.parallelism is not None and beside > spec.parallelism:
            self.complain(f"{execution_id} runs {beside} steps at once, and may run {spec.parallelism}")
        if bodies[f"{execution_id} alone"] and beside > 1:
            self.complain(f"{execution_id} runs {beside} steps at once, and one of them has to run alone")
        active = sum(count for name, count in bodies.items() if not name.endswith("alone"))
        self.most_active_steps = max(self.most_active_steps, active)
        if active > self.max_active_steps:
            self.complain(f"{runner.process.name} runs {active} steps, and may run {self.max_active_steps}")


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [error]
