"""Some runtimes on one file, and beside each execution the model of it: whoever plays moves both.

Time is virtual and every move takes `MOVE_MS` of it. Everything that falls due does so in the middle
of a move, never at its edges, so that model and machine agree on what comes first. Bodies wait until
the player ends them; what has been started is told by the bodies themselves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import anyio
import msgspec
import pytest
from model import Model
from modelled_states import ENDS
from shapes import SHAPES, model_of, workflow_of
from words import call_of, foretold, stored, word

from perdure.actors.kernel.processes import CURRENT
from perdure.actors.kernel.testing import VirtualLoop
from perdure.runtime import Conflict, IllegalTransition, Runtime, StepContext
from perdure.runtime.testing import Acknowledged, Effect, RuntimeProcess, check_store
from perdure.store.errors import IdTaken
from perdure.store.script import Script
from perdure.store.states import State

MOVE_MS: Final = 10


class Body(msgspec.Struct):
    """A body in flight: where, since when, and how it is told to end."""

    process: Any
    at_ms: int
    end: Any


class Pending(msgspec.Struct):
    """A command whose answer is awaited."""

    task: Any
    execution_id: str
    kinds: set[str]  # what was asked, and what came first under the same id


class Stage:
    """Everything that plays: processes, executions with their models, and what bodies have done."""

    def __init__(self, location: str | Path, *, seed: int) -> None:
        """Nobody is open yet; the store is to be at `location`."""
        self.models: dict[str, Model] = {}
        self.processes: dict[str, RuntimeProcess] = {}
        self.bodies: dict[tuple[str, int], Body] = {}
        self.pending: list[Pending] = []
        self.crashes = 0
        self.moves = 0
        self.transitions = 0
        self._location = location
        self._seed = seed
        self._lives = 0
        self._started: list[tuple[str, int, int]] = []
        self._ledger: list[Effect] = []
        self._told: list[Acknowledged] = []
        self._labels: dict[str, list[str]] = {}
        self._compared: dict[str, tuple[int, Any]] = {}  # of executions, their versions and what models said
        self._shapes: dict[str, int] = {}  # of executions, by their ids
        self._kinds: dict[str, str] = {}  # of commands, by their ids
        self._ids = 0
        self._now = 0
        self._runner = asyncio.Runner(loop_factory=lambda: VirtualLoop(seed))
        self._workflows = [workflow_of(no, shape, self._body) for no, shape in enumerate(SHAPES)]

    def open(self, name: str) -> None:
        """A process opens a runtime, and takes up whatever nobody has."""
        process = self._run(self._opening(name))
        is_first = not self.processes
        self.processes[name] = process
        if is_first:
            for model in self.models.values():
                model.is_taken_up(died=False)  # the deaths were counted when they happened
        self._follow()
        self._take_note()

    def crash(self, name: str) -> None:
        """A process is killed; another one that is open takes over at once."""
        process = self.processes.pop(name)
        mine = self._bodies_of(process)
        process.kill()
        self.crashes += 1
        for key in mine:
            del self.bodies[key]
        self._leave({id_ for id_, _ in mine}, died=True)

    def close(self, name: str) -> None:
        """A process leaves in good order."""
        process = self.processes.pop(name)
        mine = {id_ for id_, _ in self._bodies_of(process)}
        for id_ in mine:
            self.models[id_].closes()
            self._unwind(id_)
        self._run(process.close())
        self._leave(mine, died=False)

    def may_crash(self, name: str) -> bool:
        """Whether no step would thereby become a suspect, which the others have to wait for."""
        mine = self._bodies_of(self.processes[name])
        return all(self.models[id_].steps[no].deaths == 0 for id_, no in mine)

    def start(self, name: str, shape_no: int, id_: str) -> None:
        """Start an execution, or join the one that has the id; one of another workflow is refused."""
        workflow = self._workflows[shape_no]
        if self._shapes.setdefault(id_, shape_no) != shape_no:
            with pytest.raises(IdTaken):
                self._ask(name, lambda runtime: runtime.start(workflow, {"a": 1}, id=id_))
            return
        self._ask(name, lambda runtime: runtime.start(workflow, {"a": 1}, id=id_))
        self._told.append(Acknowledged(execution_id=id_))
        if id_ not in self.models:
            self.models[id_] = model = model_of(SHAPES[shape_no])
            self._labels[id_] = []
            model.now = self._now
            model.begin()
        self._follow()

    def end_body(self, key: tuple[str, int], *, output: int | None) -> None:
        """A body returns, or with None fails."""
        id_, no = key
        body = self.bodies.pop(key)
        if output is None:
            body.end.set_exception(OSError("no"))
            self.models[id_].report(no, "failed")
        else:
            body.end.set_result(output)
            self.models[id_].report(no, "completed", output=b"%d" % output)
        self._follow()

    def command(
        self,
        name: str,
        id_: str,
        kind: str,
        *,
        guarded: bool = False,
        stale: bool = False,
        again: bool = False,
        **what: Any,
    ) -> None:
        """Somebody asks; at once, or when the execution has come to rest, he gets the answer.

        `guarded`: he expects the version he has seen; `stale`: an older one; `again`: under an old id.
        """
        model = self.models[id_]
        self._ids += 1
        command_id = f"c{self._ids}"
        if again and model.commands and kind != "checkpoint":  # another kind under its id is no checkpoint
            command_id = max(model.commands)
        if kind == "restore":
            if not self._labels[id_]:
                return
            what = {"version": self._labels[id_][what["pick"] % len(self._labels[id_])]}
        label = f"label-{self._ids}"
        stored = self._run(self._stored(id_))
        version = stored.version - stale if stale or guarded else None
        is_left = stored.runner is None or stored.state is State.AWAITING_COMPLETION
        process = self.processes[name]
        call = call_of(kind, what, label=label)

        async def ask(runtime: Runtime) -> Any:
            return await call(await runtime.execution(id_), command_id=command_id, expected_version=version)

        is_known = command_id in model.commands
        expected = model.command(kind, id=command_id, stale=stale, is_left=is_left, **what)
        if kind == "checkpoint" and expected not in {"IllegalTransition", "DuplicateCommand", "Conflict"}:
            model.remember(label)
            self._labels[id_].append(label)
        if is_known:
            expected = "anything"
        if command_id in model.commands and expected != "anything":
            self._told.append(Acknowledged(execution_id=id_, command_id=command_id))
        task = process.process.spawn(lambda: ask(process.runtime))
        self._unwind(id_)
        self._follow()
        kinds = {kind, self._kinds.setdefault(command_id, kind)}
        self._hear(Pending(task, id_, kinds), expected)

    def pass_time(self, moves: int) -> None:
        """Some time passes."""
        self._follow(moves)

    def end(self) -> None:
        """No more faults: everything comes to its end; then look at the whole store."""
        if not self.processes:
            self.open("last")
        for _ in range(400):
            if all(model.state in ENDS for model in self.models.values()):
                break
            name = next(iter(self.processes))
            for id_, model in self.models.items():
                if model.state == "paused":
                    self.command(name, id_, "resume", data={})
            for key in list(self.bodies):
                if key in self.bodies:
                    self.end_body(key, output=1)
            self.pass_time(2_100 if not self.bodies else 1)
        left = {id_: model for id_, model in self.models.items() if model.state not in ENDS}
        assert not left, f"never at an end: {left}"
        assert all(pending.task.done() for pending in self.pending), "somebody was never answered"
        self._run(self._check())

    def leave(self) -> None:
        """Close whoever is open, and the loop."""
        try:
            for process in self.processes.values():
                self._run(process.close())
        finally:
            self._runner.close()

    def _follow(self, moves: int = 1) -> None:
        """Let the machine and the models come to the end of the move, and compare them."""
        self.moves += 1
        ahead_ms = self._runner.get_loop().time() * 1000 - self._now
        assert ahead_ms < 1, f"{ahead_ms:g} ms have passed outside of moves"
        until = self._now + moves * MOVE_MS
        self._run(_sleep_until(until))
        for id_, model in self.models.items():
            if self.processes:
                self._start(id_, before=self._now + 2)
                self._advance(id_, until)
                model.check_busy()
            else:
                model.now = until
        assert not self._started or not self.processes, f"nobody asked for {self._started}"
        self._now = until
        if self.processes:
            self._run(self._compare())
        for pending in [pending for pending in self.pending if pending.task.done()]:
            self.pending.remove(pending)
            self._hear(pending, None)

    def _advance(self, id_: str, until: int) -> None:
        """What falls due for the model until then, one after the other."""
        model = self.models[id_]
        while True:
            times = [step.due for step in model.steps if step.due is not None and step.due > model.now]
            if model.deadline is not None and model.state in {"running", "pausing"}:
                times.append(model.deadline)
            if not times or min(times) > until:
                break
            model.tick(max(0, min(times) - model.now))
            self._unwind(id_)
            self._start(id_, before=model.now + 4)
        model.tick(until - model.now)

    def _start(self, id_: str, *, before: int) -> None:
        """Tell the model what has been started until then."""
        mine = [entry for entry in self._started if entry[0] == id_ and entry[2] < before]
        self._started = [entry for entry in self._started if entry not in mine]
        self.models[id_].starts([no for _, no, _ in mine])

    def _unwind(self, id_: str) -> None:
        """Bodies that are interrupted end at once."""
        model = self.models[id_]
        for no in sorted(model.asked_to_stop):
            model.report(no, "interrupted")
            self.bodies.pop((id_, no), None)

    def _leave(self, mine: set[str], *, died: bool) -> None:
        """Whoever had those executions is gone; somebody else takes over, now or when he opens."""
        for id_ in mine:
            model = self.models[id_]
            if self.processes:
                model.is_taken_up(died=died)
            else:
                for no in model.bodies:
                    model.steps[no].deaths += died
        self.pending = [pending for pending in self.pending if self._may_answer(pending)]
        self._follow()
        self._take_note()

    def _may_answer(self, pending: Pending) -> bool:
        return any(pending.task in process.process.tasks for process in self.processes.values())

    def _hear(self, pending: Pending, expected: str | None) -> None:
        """Look at an answer, or wait for it."""
        model = self.models[pending.execution_id]
        waits = pending.kinds & {"pause", "cancel"} and model.state in {"pausing", "cancelling"}
        if not pending.task.done():
            assert waits, f"{pending.kinds} of {pending.execution_id} was never answered: {model}"
            self.pending.append(pending)
            return
        error = pending.task.exception()
        said = word(pending.task.result()) if error is None else type(error).__name__
        if error is not None and not isinstance(error, Conflict | IllegalTransition):
            raise error
        if expected == "anything" and error is None:
            return
        if (
            expected in {"Conflict", "IllegalTransition"}
            or error is not None
            or (isinstance(said, str) and expected is not None)
        ):
            assert said == expected, f"{pending.kinds}: {said}, and not {expected}"
        elif isinstance(said, str):
            assert said not in {"pausing", "cancelling"}, f"{pending.kinds} was answered too early"

    async def _compare(self) -> None:
        """The store says what the models say.

        Whatever has the same version and the same model as at the last look is not read again: on a
        server that would take nine tenths of the time.
        """
        store = next(iter(self.processes.values())).runtime.store
        versions = await store._ask(_versions())
        for id_, model in self.models.items():
            should = foretold(model)
            if self._compared.get(id_) != (versions[id_], should):
                execution = await store.execution(id_)
                assert execution is not None
                stands = stored(execution, await store.attempts(id_), steps=len(model.steps))
                assert stands == should, f"{id_}: {stands}\nnot {should}\n{model}"
                self._compared[id_] = (execution.version, should)
            bodies = {no for of, no in self.bodies if of == id_}
            assert bodies == model.bodies, f"{id_}: {bodies} run, and not {model}"

    async def _check(self) -> None:
        self._compared.clear()
        await self._compare()
        store = next(iter(self.processes.values())).runtime.store
        for id_ in self.models:
            loaded = await store.load(id_)
            assert loaded is not None
            self.transitions += loaded.execution.version
        assert await check_store(store, ledger=self._ledger, acknowledged=self._told) == []

    def _run(self, use: Awaitable[Any]) -> Any:
        async def main() -> Any:
            return await use

        return self._runner.run(main())

    def _ask(self, name: str, use: Callable[[Runtime], Awaitable[Any]]) -> Any:
        return self._run(self.processes[name].run(use))

    async def _opening(self, name: str) -> RuntimeProcess:
        self._lives += 1
        process = self._make(name, seed=f"{self._seed} {self._lives}")
        await process.open()
        return process

    def _make(self, name: str, *, seed: str) -> RuntimeProcess:
        """A process that is not open yet."""
        return RuntimeProcess(self._location, name=name, seed=seed, workflows=self._workflows)

    async def _stored(self, id_: str) -> Any:
        return await next(iter(self.processes.values())).runtime.store.execution(id_)

    def _take_note(self) -> None:
        """Have every runner look at what it has just taken up: a first `resume` is no adoption any more."""
        for process in self.processes.values():
            for id_, model in self.models.items():
                if model.state not in ENDS:
                    self._run(process.run(lambda runtime, id_=id_: runtime.machine.routing.query(id_)))

    def _bodies_of(self, process: RuntimeProcess) -> list[tuple[str, int]]:
        return [key for key, body in self.bodies.items() if body.process is process.process]

    def _body(self, shape_no: int, step_no: int) -> Callable[..., Any]:
        async def body(context: StepContext) -> int:
            fields = {name: getattr(context, name) for name in Effect.__struct_fields__}
            self._ledger.append(Effect(**fields))
            loop = asyncio.get_running_loop()
            at_ms = round(loop.time() * 1000)
            end: asyncio.Future[int] = loop.create_future()
            self._started.append((context.execution_id, step_no, at_ms))
            self.bodies[context.execution_id, step_no] = Body(CURRENT.get(), at_ms, end)
            return await end

        body.__annotations__ = {"context": StepContext, "return": int}  # as text they are compiled each time
        body.__qualname__ = f"shape_{shape_no}_step_{step_no}"
        return body


async def _sleep_until(until_ms: int) -> None:
    await anyio.sleep(max(0.0, until_ms / 1000 - asyncio.get_running_loop().time()))


def _versions() -> Script[dict[str, int]]:
    return dict((yield "SELECT id, version FROM workflow_executions", ()).fetchall())
