"""Those who start executions and want things of them, and who ask again when they got no answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, Final, TypeVar

import anyio
import msgspec

from perdure.runtime import CannotMigrate, DecisionRefused, Execution, Runtime, State
from perdure.runtime.testing import Acknowledged
from perdure.store.errors import Conflict, IllegalTransition, NotFound, PerdureError
from simulation.machine import Gone, Machine
from simulation.workflows import APPROVERS, HOUR, SIGNAL, TOKENS_ENOUGH, WorkflowSpec

T = TypeVar("T")
TRIES_MAX: Final = 6
SAFETY_S: Final = 1_000 * HOUR
STARTS_BEFORE_S: Final = 900 * HOUR

Ask = Callable[[Execution], Awaitable[Any]]


class Command(msgspec.Struct, frozen=True):
    """Something that a customer wants."""

    name: str
    ask: Callable[[Execution, str], Awaitable[Any]]
    is_logged: bool  # whether, once answered, the log has to know the command's id
    starts: bool = False  # whether there is then an execution of that id


async def _pause(execution: Execution, id_: str) -> State:
    return await execution.pause(command_id=id_)


async def _interrupt(execution: Execution, id_: str) -> State:
    return await execution.pause(mode="interrupt", command_id=id_)


COMMANDS: Final = {
    "pause": Command("pause", _pause, is_logged=False),
    "interrupt": Command("interrupt", _interrupt, is_logged=False),
    "resume": Command("resume", lambda e, id_: e.resume(command_id=id_), is_logged=True),
    "signal": Command("signal", lambda e, id_: e.signal(SIGNAL, {"id": id_}, command_id=id_), is_logged=True),
    "update": Command(
        "update", lambda e, id_: e.update_context({"note": id_}, command_id=id_), is_logged=True
    ),
    "checkpoint": Command("checkpoint", lambda e, id_: e.checkpoint(command_id=id_), is_logged=True),
    "open": Command("open", lambda e, id_: e.update_context({"open": True}, command_id=id_), is_logged=True),
    "cancel": Command("cancel", lambda e, id_: e.cancel(command_id=id_), is_logged=False),
    "undo": Command("undo", lambda e, id_: e.cancel(compensate=True, command_id=id_), is_logged=False),
    "rollback": Command("rollback", lambda e, id_: e.rollback("why not", command_id=id_), is_logged=False),
    "retry": Command("retry", lambda e, id_: e.retry(command_id=id_), is_logged=True),
    "restore": Command("restore", lambda e, id_: e.restore("latest", command_id=id_), is_logged=True),
}


def decision(verdict: str, step: str, by: str) -> Command:
    """What somebody decides, who was asked or will be."""

    async def ask(execution: Execution, id_: str) -> State:
        decide = execution.approve if verdict == "approve" else execution.reject
        return await decide(step, by=by, command_id=id_)

    return Command(verdict, ask, is_logged=True)


def go_on(spec: WorkflowSpec) -> Command:
    """Let it go on, through a gate and over its budget."""
    budget = None if spec.budget is None else {"tokens": TOKENS_ENOUGH}

    async def ask(execution: Execution, id_: str) -> State:
        return await execution.resume(data={"open": True}, budget=budget, command_id=id_)

    return Command("go on", ask, is_logged=True)


def retry_of(spec: WorkflowSpec, *, first: str | None = None, only: bool = False) -> Command:
    """Another try, at least of all that was built on what comes out differently."""
    is_thorough = spec.is_tolerant and first is None

    async def ask(execution: Execution, id_: str) -> State:
        return await execution.retry(from_step=first, only=only, with_downstream=is_thorough, command_id=id_)

    return Command("retry", ask, is_logged=True)


def migrate(to: str) -> Command:
    """Let it go on as one of another version."""

    async def ask(execution: Execution, id_: str) -> None:
        await execution._runtime.versions.migrate(execution.id, to, command_id=id_)

    return Command("migrate", ask, is_logged=False)


def fork(first: str | None) -> Command:
    """A second execution that goes on from where this one is, or from a step."""

    async def ask(execution: Execution, id_: str) -> str:
        detach = not execution._runtime._blueprint.performs
        return (await execution.fork(from_step=first, id=id_, detach=detach)).id

    return Command("fork", ask, is_logged=False, starts=True)


STORIES: Final = (  # what is wanted of one execution, one after the other
    (),
    (),
    ("signal", "update"),
    ("pause", "resume"),
    ("pause", "update", "resume", "signal"),
    ("interrupt", "resume"),
    ("interrupt", "resume", "pause", "resume", "interrupt", "resume"),
    ("update", "checkpoint", "update", "interrupt", "restore", "resume"),
    ("checkpoint", "pause", "update", "restore", "update", "resume", "signal"),
    ("open", "signal", "approve"),
    ("approve", "signal", "approve", "pause", "open", "resume", "approve"),
    ("pause", "approve", "reject", "signal", "resume"),
    ("approve", "checkpoint", "reject", "pause", "restore", "signal", "resume"),
    ("cancel",),
    ("cancel", "retry"),
    ("cancel", "again"),
    ("signal", "cancel", "again", "cancel", "only"),
    ("fork",),
    ("pause", "fork", "resume", "cancel", "fork", "again"),
    ("rollback",),
    ("undo",),
    ("rollback", "cancel", "retry"),
    ("pause", "undo", "retry", "resume"),
    ("cancel", "rollback", "restore", "retry"),
    ("signal", "cancel", "retry", "pause", "resume"),
    ("checkpoint", "cancel", "restore", "resume"),
    ("pause", "cancel", "retry"),
    ("pause",),  # and forgets it
)


MIGRATIONS: Final = (  # of one whose workflow has several versions
    ("pause", "migrate", "resume"),
    ("migrate", "cancel", "migrate", "retry"),
    ("pause", "migrate", "resume", "pause", "migrate", "undo", "retry", "resume"),
    ("checkpoint", "interrupt", "migrate", "restore", "migrate", "fork", "resume"),
    ("cancel", "migrate", "again", "cancel", "migrate", "only"),
    ("cancel", "migrate"),
)


class Customer:
    """The owner of one execution."""

    def __init__(self, machine: Machine, spec: WorkflowSpec, *, no: int, seed: int) -> None:
        """What it will want is drawn from the seed."""
        self.id = f"x{no}"
        self.spec = spec
        self.chance = Random(f"customer {seed} {no}")
        self.word = f"word {self.chance.randrange(1000)}"
        self.is_started = False
        self.acknowledged: list[Acknowledged] = []
        self.answers = 0
        self._machine = machine
        self._commands = 0

    async def live(self) -> None:
        """Start the execution some time, then want things of it."""
        chance = self.chance
        await anyio.sleep(chance.uniform(0, STARTS_BEFORE_S))
        await self.start(TRIES_MAX)
        stories = STORIES if self.spec.later is None else STORIES + 2 * MIGRATIONS
        story = chance.choice(stories)
        while story:
            for name in story:
                await anyio.sleep(chance.choice([0, 0, 0.001, 1, 60, 2 * HOUR, 20 * HOUR]) * chance.random())
                command = self._command(name)
                if command is not None:
                    await self.want(command, tries=chance.choice([1, TRIES_MAX]))
            story = chance.choice(stories) if chance.random() < 0.4 else ()

    def _command(self, name: str) -> Command | None:
        """What is wanted, as it is to be said; None where nobody is asked."""
        steps = self.spec.steps
        match name:
            case "retry":
                return retry_of(self.spec)
            case "again":
                return retry_of(self.spec, first=self.chance.choice(steps).key)
            case "only":
                bodies = [step.key for step in steps if step.has_body]
                return retry_of(self.spec, first=self.chance.choice(bodies), only=True) if bodies else None
            case "migrate":
                return migrate(self.chance.choice(self.spec.versions))
            case "fork":
                return fork(self.chance.choice([None, *(step.key for step in steps)]))
            case _ if name in COMMANDS:
                return COMMANDS[name]
        asking = self.spec.asking
        return decision(name, self.chance.choice(asking), self.chance.choice(APPROVERS)) if asking else None

    async def start(self, tries: int) -> None:
        """Start it until somebody says that it is started; no workflow is found before it is published."""

        async def start(runtime: Runtime) -> None:
            await runtime.start(
                self.spec.name,
                {"word": self.word},
                id=self.id,
                priority=self.chance.randrange(3),
                detach=not runtime._blueprint.performs,
            )

        for _ in range(tries):
            if self.is_started:
                return
            if await self._try("start", start) not in (None, "refused"):
                self.is_started = True
                self.acknowledged.append(Acknowledged(execution_id=self.id))
                return
            await self._wait()

    async def want(self, command: Command, *, of: str | None = None, tries: int = TRIES_MAX) -> None:
        """Give a command until it is answered, or patience is over; to the own execution, or another."""
        self._commands += 1
        execution_id = of or self.id
        id_ = f"{self.id}-{self._commands}-{command.name}"

        async def ask(runtime: Runtime) -> Any:
            return await command.ask(await runtime.execution(execution_id), id_)

        for _ in range(tries):
            answer = await self._try(id_, ask)
            if answer is not None:
                if command.starts and answer != "refused":
                    self.acknowledged.append(Acknowledged(execution_id=id_))
                if command.is_logged and answer != "refused":
                    self.acknowledged.append(Acknowledged(execution_id=execution_id, command_id=id_))
                return
            await self._wait()

    async def _try(self, what: str, ask: Callable[[Runtime], Awaitable[Any]]) -> Any:
        """Ask any runtime once. None: there was no answer."""
        machine = self._machine
        runners = [runner for runner in machine.runners if runner.is_open]
        if not runners:
            return None
        runner = self.chance.choice(runners)
        machine.trace("asks", runner.process.name, what)
        try:
            answer = await machine.call(runner, ask)
        except (IllegalTransition, Conflict, NotFound, DecisionRefused, CannotMigrate) as refusal:
            machine.trace("refused", what, refusal)
            self.answers += 1
            return "refused"
        except (Gone, TimeoutError, PerdureError) as error:
            machine.trace("no answer", what, repr(error))
            return None
        machine.trace("answered", what, answer)
        self.answers += 1
        return "answered" if answer is None else answer

    async def _wait(self) -> None:
        await anyio.sleep(self.chance.choice([0, 0.01, 5, 600]) * self.chance.random())
