"""`TestRuntime`: a runtime for tests, with virtual time, stubs, crashes, and a check of it all at the end."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self, TypeVar

import anyio

from perdure.actors.kernel.processes import ProcessDied
from perdure.actors.kernel.testing import VirtualLoop
from perdure.runtime.agents import Agents
from perdure.runtime.arguments import InvalidArgument, made_of, several
from perdure.runtime.keys import keys_of
from perdure.runtime.language import Workflow
from perdure.runtime.language.beside import beside_the_graph
from perdure.runtime.runtime import Runtime
from perdure.runtime.testing.crash import CrashPlace, check_steps, crash_place
from perdure.runtime.testing.durations import seconds
from perdure.runtime.testing.handle import TestExecution
from perdure.runtime.testing.invariants import Acknowledged, Effect, check_store
from perdure.runtime.testing.lives import Life, RealLife
from perdure.runtime.testing.stubs import Stub, StubbedAgents
from perdure.runtime.testing.verdicts import Verdicts
from perdure.store import SQLiteStore

DOWNTIME_S: Final = 1.0  # between a crash and the next process

T = TypeVar("T")


class InvariantBroken(AssertionError):
    """The store, at the end of a test, says something that must never be; a bug of perdure, please report."""


class TestRuntime(Verdicts):
    """A runtime in a process of its own that a test may crash, with the same store over all its lives.

    `async with TestRuntime(order, stubs=[stub("charge", returns=1)], crash="after:charge:before-commit")`
    inside `@virtual_time`. Time is virtual: it passes when nothing else can happen, a year in a
    second. Where `crash` says (see `crash`) the process dies as by `kill -9` and, `downtime` later,
    the next one opens the same store; several places are one for each life. At the end everything
    the store says is checked against what was acknowledged and what the stubs were called for.
    """

    __test__ = False

    def __init__(
        self,
        *workflows: Workflow,
        agents: Agents | None = None,
        stubs: Iterable[Stub] = (),
        clock: Literal["virtual", "real"] = "virtual",
        crash: str | Sequence[str] = (),
        seed: int = 0,
        location: str | Path | None = None,
        downtime: str | float | timedelta = DOWNTIME_S,
        restarts: bool = True,
        **options: Any,
    ) -> None:
        """`location` is a file, by default a temporary one; `options` are those of `Runtime`.

        Without `restarts` a crash is raised as ProcessDied, and `restart()` goes on. Raises
        InvalidCrash, InvalidArgument.
        """
        if clock not in {"virtual", "real"}:
            raise InvalidArgument(f"clock is {clock!r}: it is 'virtual' or 'real'")
        self.seed = seed
        for workflow in workflows:
            made_of(Workflow, workflow, what="what workflows has", example="Workflow('order')")
        for each in (found := several(stubs, what="stubs")):
            made_of(Stub, each, what="what stubs has", example="stub('charge')")
        self.stubs: tuple[Stub, ...] = found
        self.acknowledged: list[Acknowledged] = []
        self.effects: list[Effect] = []
        self.crashes: list[str] = []
        self.restarts = restarts
        self.is_virtual = clock == "virtual"
        self._places: list[str] = list(several(crash, what="crash"))
        self._to_come: list[CrashPlace] = [crash_place(spec) for spec in self._places]
        if self._places and not self.is_virtual:
            raise InvalidArgument("crash needs clock='virtual': on a real clock kill a real process")
        self._steps = {key for workflow in workflows for key in _keys(workflow)}
        if workflows:
            check_steps(self._places, self._steps)
        self._downtime_s = seconds(downtime)
        self._location = location
        self._agents = StubbedAgents(agents, self.stubs)
        self._options = {
            "workflows": workflows,
            "agents": self._agents,
            **options,
        }
        self._stack = AsyncExitStack()
        self._lives = 0
        self._ids = 0
        self._since = 0  # the last event there was when the test began
        self._life: Life | RealLife
        self._is_up = asyncio.Event()
        self._failure: BaseException | None = None

    async def __aenter__(self) -> Self:
        """Open the runtime. Raises InvalidArgument where virtual time is wanted and there is none."""
        if self.is_virtual and not isinstance(asyncio.get_running_loop(), VirtualLoop):
            raise InvalidArgument(
                "this loop has no virtual time: put @virtual_time above the test, return virtual_backend() "
                "from your anyio_backend fixture, or use TestRuntime(clock='real')"
            )
        if self._location is None:
            folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="perdure-test-"))
            self._location = Path(folder) / "test.db"
        try:
            await self._next_life()
        except ProcessDied:
            if not self.restarts:
                raise
        if self.restarts and self.is_virtual:
            keeper = asyncio.ensure_future(self._keep_alive())
            self._stack.push_async_callback(_cancelled, keeper)
        self._since = await self.call(_last_event)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the runtime and check the store. Raises InvariantBroken, AssertionError."""
        async with self._stack:
            try:
                if self._life.is_alive:
                    await self._life.close()
                found = await self._check()
            except ProcessDied:
                found = []
            if error is not None:
                error.add_note(f"TestRuntime(seed={self.seed}), crashed at {self.crashes or 'no place'}")
                found = []
            self._complain(found, is_over=error is None)

    @property
    def runtime(self) -> Runtime:
        """The one that is alive; it is another after a crash."""
        return self._life.runtime

    async def start(
        self,
        workflow: Workflow | str,
        context: Mapping[str, Any] | None = None,
        *,
        id: str | None = None,
        **more: Any,
    ) -> TestExecution:
        """As `Runtime.start`; said again, under the same id, after a crash that cut it."""
        id_ = id or f"test-{self.new_id()}"
        if isinstance(workflow, Workflow):
            self._steps |= _keys(workflow)
            check_steps([place for place in self._places if place not in self.crashes], self._steps)
        await self.call(lambda runtime: runtime.start(workflow, context, id=id_, **more))
        self.acknowledged.append(Acknowledged(execution_id=id_))
        return TestExecution(self, id_)

    async def execution(self, id: str) -> TestExecution:
        """The handle of an execution that exists. Raises NotFound."""
        await self.call(lambda runtime: runtime.execution(id))
        return TestExecution(self, id)

    async def call(self, use: Callable[[Runtime], Awaitable[T]]) -> T:
        """Do anything with the runtime; done again with the next one if a crash cuts it."""
        while True:
            if self.restarts:
                await self._is_up.wait()
            if self._failure is not None:
                raise self._failure
            life = self._life
            try:
                return await life.run(use)
            except ProcessDied:
                self._is_up.clear()
                if not self.restarts:
                    raise

    async def advance(self, duration: str | float | timedelta) -> None:
        """Let virtual time pass: "23h", "90s", seconds or a timedelta. What falls due meanwhile happens."""
        if not self.is_virtual:
            raise InvalidArgument("advance() needs clock='virtual': nobody can push a real clock")
        await anyio.sleep(seconds(duration))  # noqa: TID251 - the loop's time, which is virtual

    async def crash(self) -> None:
        """Kill the process now, as `kill -9` does; the next one opens the store after the downtime."""
        if not self.is_virtual:
            raise InvalidArgument("crash() needs clock='virtual': on a real clock kill a real process")
        self._is_up.clear()
        self._life.crash("crash()")
        if self.restarts:
            await self._is_up.wait()

    async def restart(self) -> None:
        """Close the runtime as a deploy does, unless it has died, and open the next on the same store."""
        self._is_up.clear()
        if self._life.is_alive:
            await self._life.close()
        await self._next_life()

    def new_id(self) -> str:
        """An id for a command: in order, the same in every run, and new on a store that was used before."""
        self._ids += 1
        return f"{self._ids:04d}" if not self._since else f"{self._since}-{self._ids:04d}"

    def record(self, effect: Effect) -> None:
        """Take note of an effect a body of the test's own has had, for the check at the end."""
        self.effects.append(effect)

    async def _next_life(self) -> None:
        """Open the store in a new process, with the next crash ahead of it."""
        self._lives += 1
        assert self._location is not None
        self._life = (
            Life(
                self._location,
                seed=f"{self.seed} {self._lives}",
                crash=self._to_come.pop(0) if self._to_come else None,
                on_crash=self.crashes.append,
                options=self._options,
            )
            if self.is_virtual
            else RealLife(self._location, self._options)
        )
        await self._life.open()
        self._is_up.set()

    async def _keep_alive(self) -> None:
        """Open the next process whenever one dies."""
        try:
            while True:
                await self._life.died()
                self._is_up.clear()
                await anyio.sleep(self._downtime_s)  # noqa: TID251 - the loop's time, which is virtual
                try:
                    await self._next_life()
                except ProcessDied:
                    continue  # it died while it was opening
        except Exception as error:  # noqa: BLE001 - whoever next asks for the runtime hears of it
            self._failure = error
            self._is_up.set()

    async def _check(self) -> list[str]:
        """Everything that must hold, read from the store as it lies there now."""
        keys = keys_of(self._options.get("keys"))
        store = SQLiteStore(str(self._location), inline=self.is_virtual, keys=keys)
        await store.open()
        try:
            effects = [effect for each in self.stubs for effect in each.effects]
            return await check_store(store, ledger=[*effects, *self.effects], acknowledged=self.acknowledged)
        finally:
            await store.close()

    def _complain(self, found: list[str], *, is_over: bool) -> None:
        how = f"TestRuntime(seed={self.seed}), crashed at {self.crashes or 'no place'}"
        if found:
            raise InvariantBroken("\n".join([how, *found]))
        if is_over and (idle := self._agents.idle):
            raise AssertionError(
                f"{idle[0]!r} stands in for nothing: no workflow asks for that name, but they do for "
                f"{', '.join(sorted(self._agents.wanted)) or 'none'}"
            )
        missed = self._places[len([place for place in self.crashes if place != "crash()"]) :]
        if is_over and missed:
            raise AssertionError(
                f"the crash at {missed[0]!r} never came, the test ended first; it has passed: "
                f"{', '.join(f'{place}#{times}' for place, times in self._life.passed.items()) or 'no place'}"
            )


def _keys(workflow: Workflow) -> set[str]:
    """The keys of its steps, of those that undo them (`charge.compensate`) and of its hooks."""
    definition = workflow.definition
    beside = (each.step.key for each in beside_the_graph(definition))
    return {*(step.key for step in definition.steps), *beside}


async def _last_event(runtime: Runtime) -> int:
    last = 0
    while page := await runtime.events(after=last):
        last = page[-1].id
    return last


async def _cancelled(task: asyncio.Future[None]) -> None:
    task.cancel()
    await asyncio.wait({task})
