"""Runs one seed: a storm in which nothing may be lost, a calm in which everything comes to its end."""

from __future__ import annotations

import logging
import os
import re
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any, Final

import anyio
import msgspec

from perdure.actors.attempt import guards
from perdure.actors.cluster import doorbell
from perdure.actors.dispatch import queueing
from perdure.actors.execution import wakeups
from perdure.actors.kernel import faults
from perdure.actors.kernel.testing import VIRTUAL_EPOCH, Deadlock, Livelock
from perdure.runtime.schedules import policy
from perdure.runtime.testing import check_store
from perdure.store import SQLiteStore
from perdure.store.records import PAGE_MAX, Execution
from perdure.store.scripts.deliveries import DEAD, PENDING
from perdure.store.states import TERMINAL, State, StepState
from simulation.customers import COMMANDS, SAFETY_S, TRIES_MAX, Command, Customer, decision, go_on, retry_of
from simulation.drawing import draw_workflows
from simulation.incidents import Operator
from simulation.loop import Condition, SimulatedLoop, current
from simulation.machine import Machine
from simulation.moments import odd_moments
from simulation.more import with_more
from simulation.past import Past, past_of
from simulation.receiver import KEY
from simulation.verdict import Judge, crowds, disorder, is_by_hand, killers
from simulation.workflows import APPROVERS, HOUR, KEY_NAME, WorkflowSpec

LIVENESS_S: Final = 4_000 * HOUR  # more than the longest queue of chains of delays, sleeps and deadlines
SCHEDULED_S: Final = 400 * HOUR  # of the calm; a schedule may start more often than its executions end
LOOK_S: Final = 0.5 * HOUR
HEARD_S: Final = 100 * HOUR  # a look at the outbox that nobody has asked for, and the longest wait for a try
REREAD_S: Final = 1 * HOUR  # how often a timer looks at the wall clock
POLL_S: Final = 600.0
WATCH_S: Final = 1 * HOUR  # how often those look who wait for a slot
QUEUE_LOOK_MS: Final = 3_600_000  # how often a schedule looks whether what it waits for has ended
HELD_MS_MAX: Final = 3_600_000  # how often those ask again whom an agent's guard has held


class SeedResult(msgspec.Struct, kw_only=True):
    """What became of a seed."""

    seed: int
    problems: list[str]
    trace_hash: str
    virtual_hours: float
    calm_hours: float  # how long it took everything to come to its end once nothing went wrong any more
    counts: dict[str, int]


class Simulation:
    """One seed being run."""

    def __init__(
        self, seed: int, loop: SimulatedLoop, folder: Path, log: Callable[[str], object] | None
    ) -> None:
        """Draw everything that is drawn beforehand."""
        chance = Random(f"plot {seed}")
        self.workflows = with_more(draw_workflows(chance), seed)
        self.specs = {spec.name: spec for spec in self.workflows}
        self.machine = Machine(seed, loop, folder, self.workflows)
        self.machine.log = log
        self.customers = [
            Customer(self.machine, chance.choice(self.workflows), no=no, seed=seed)
            for no in range(chance.randint(2, 10))
        ]
        self.operator = Operator(self.machine, self.workflows, seed=seed)
        self.calm_hours = 0.0
        self.executions = 0
        self.retried: set[str] = set()  # in the calm, after the repair of the world
        self.store = SQLiteStore(str(folder / "simulated.db"), durability="process", inline=True)

    async def main(self) -> None:
        """Both phases, then every check."""
        await self.storm()
        await self.store.open()
        try:
            await self.calm()
            await self.close()
            await self.check()
        finally:
            await self.store.close()

    async def storm(self) -> None:
        """SAFETY_S in which everything goes wrong."""
        machine = self.machine
        with anyio.move_on_after(SAFETY_S):
            async with anyio.create_task_group() as group:
                group.start_soon(self.operator.keep_running, SAFETY_S)
                group.start_soon(self.operator.make_trouble, SAFETY_S)
                for customer in self.customers:
                    group.start_soon(customer.live)
        await anyio.sleep(SAFETY_S - machine.loop.time())

    async def calm(self) -> None:
        """Nothing goes wrong any more: everything has to come to its end."""
        machine, begun = self.machine, self.machine.loop.time()
        machine.weather.is_calm = True
        machine.trace("calm")
        for runner in list(machine.runners):
            if runner.process.condition is Condition.STOPPED or "zombie" in machine.weather.counts:
                machine.kill(runner.process)
        if not any(runner.process.name.startswith("main") for runner in machine.runners):
            machine.boot("main", workflows=self.workflows)
        await anyio.sleep(1)
        for customer in self.customers:
            await customer.start(3 * TRIES_MAX)
            if not customer.is_started:
                machine.complain(f"{customer.id} could not be started")
        latest = machine.now() + SCHEDULED_S
        while left := [each for each in await self._executions() if not await self._is_over(each, latest)]:
            if machine.loop.time() - begun > LIVENESS_S:
                machine.complain(f"has not come to its end: {[await self._where(each.id) for each in left]}")
                return
            await anyio.sleep(LOOK_S)
        await self._tell_all()
        self.calm_hours = (machine.loop.time() - begun) / HOUR

    async def _tell_all(self) -> None:
        """Wait until those outside have heard of everything; what was given up is tried once more."""
        machine, store = self.machine, self.store
        begun = machine.loop.time()
        while left := [
            *await store.deliveries(state=PENDING, limit=PAGE_MAX),
            *(dead := await store.deliveries(state=DEAD, limit=PAGE_MAX)),
        ]:
            if machine.loop.time() - begun > HEARD_S:
                machine.complain(f"nobody has heard of {[each.id for each in left]}")
                return
            runner = next(runner for runner in machine.runners if runner.is_open)
            for each in dead:
                await machine.call(runner, lambda runtime, id_=each.id: runtime.webhooks.repeat(id_))
            await anyio.sleep(LOOK_S)

    async def _executions(self) -> list[Execution]:
        """All there are, as they stand now."""
        found: list[Execution] = []
        after: str | None = None
        while page := await self.store.executions(limit=PAGE_MAX, after=after):
            loaded = [await self.store.execution(summary.id) for summary in page]
            found += [execution for execution in loaded if execution is not None]
            after = page[-1].id
        return found

    async def _is_over(self, execution: Execution, latest: float) -> bool:
        """Whether the execution has come to the end it has to; where it only rests, go on with it.

        What a schedule has started after `latest` is not waited for.
        """
        if (
            execution.triggered_by == f"schedule:{execution.workflow}"
            and execution.created_at.timestamp() > latest
        ):
            return True
        parent = execution.parent_id
        if execution.state is State.PAUSED:
            if parent is None or execution.paused_by != parent:
                await self._want(go_on(self.specs[execution.workflow]), execution)
            return False
        if execution.state is State.AWAITING_COMPLETION:
            await self._answer(execution)
        if parent is not None:
            return execution.state in TERMINAL  # what becomes of it is its parent's business
        if execution.state is not State.FAILED or execution.id in self.retried:
            return execution.state in TERMINAL
        past = await past_of(self.store, execution)
        is_undone = any(event.type == "rollback_requested" for event in past.events)
        if not self._is_broken(execution.workflow) and not killers(past) and not is_undone:
            return True
        self.machine.world.is_repaired.add(past.word)
        self.retried.add(execution.id)
        spec = self.specs[execution.workflow]
        await self._want(COMMANDS["retry"] if is_undone else retry_of(spec), execution)
        return False

    def _is_broken(self, name: str) -> bool:
        """Whether a repair would help a workflow, or one that it calls."""
        spec = self.specs[name]
        children = [step.child.name for step in spec.steps if step.child is not None]
        return any(step.is_broken for step in (*spec.steps, *spec.undos)) or any(
            map(self._is_broken, children)
        )

    async def _answer(self, execution: Execution) -> None:
        """Give what it waits for of somebody."""
        for attempt in await self.store.attempts(execution.id):
            awaited = self.specs[execution.workflow].step(attempt.step).awaited
            if attempt.state is not StepState.WAITING or awaited is None:
                continue
            if awaited.what == "signal":
                await self._want(COMMANDS["signal"], execution)
            for by in APPROVERS if awaited.what == "approval" else ():
                await self._want(decision("approve", attempt.step, by), execution)

    async def _want(self, command: Command, execution: Execution) -> None:
        """Let its customer, or the first who comes, want something of it."""
        its = [each for each in self.customers if each.id == execution.id]
        await (its or self.customers)[0].want(command, of=execution.id)

    async def _where(self, execution_id: str) -> str:
        loaded = await self.store.load(execution_id)
        assert loaded is not None
        found = loaded.execution
        steps = {attempt.step: attempt.state.value for attempt in loaded.attempts}
        return f"{execution_id} is {found.state.value}, owned by {found.runner}: {steps}"

    async def close(self) -> None:
        """Leave every runtime in the ordinary way: nothing of it may be left."""
        machine = self.machine
        for runner in list(machine.runners):
            runner.leave.set()
        with anyio.move_on_after(60):
            for runner in list(machine.runners):
                await machine.death_of(runner)
        for runner in list(machine.runners):
            machine.complain(f"{runner.process.name} does not end")
            machine.kill(runner.process)
        if machine.loop.network.open_ends:
            machine.complain(f"{machine.loop.network.open_ends} sockets are left open")
        for runner in machine.dead:
            if runner.has_exited and runner.process.tasks:
                machine.complain(f"{runner.process.name} left tasks: {runner.process.tasks}")

    async def check(self) -> None:
        """The checker of all stores, the model, and the order of what was acknowledged."""
        acknowledged = [told for customer in self.customers for told in customer.acknowledged]
        left = [f"runner {runner.id} is on the list, and gone" for runner in await self.store.runners()]
        found = await check_store(self.store, ledger=self.machine.world.ledger, acknowledged=acknowledged)
        for problem in left + found:
            self.machine.complain(problem)
        told = [each.command_id for each in acknowledged if each.command_id is not None]
        pasts = [await past_of(self.store, execution) for execution in await self._executions()]
        self.executions = len(pasts)
        for spec in self.workflows:
            of_it = [past for past in pasts if past.execution.workflow == spec.name]
            for problem in crowds(of_it, spec) + await self._odd_moments(spec, of_it):
                self.machine.complain(problem)
        judge = Judge(pasts, self.specs, self.machine.world)
        for past in pasts:
            for event in past.events:
                self.machine.trace(
                    event.id, event.execution_id, event.version, event.type, event.step, event.at
                )
            has_ended = past.execution.state in TERMINAL  # what has just started by itself has not
            calls = await self.store.deliveries(execution_id=past.execution.id, limit=PAGE_MAX)
            untold = self.machine.receiver.untold(past, self.specs[past.execution.workflow], calls)
            for problem in (judge.judge(past) if has_ended else []) + disorder(past, told) + untold:
                self.machine.complain(f"execution {past.name}: {problem}")

    async def _odd_moments(self, spec: WorkflowSpec, pasts: list[Past]) -> list[str]:
        if spec.scheduled is None:
            return []
        firings = await self.store.firings(spec.name, limit=PAGE_MAX)
        return odd_moments(firings, [past for past in pasts if not is_by_hand(past)], spec)


def run_seed(seed: int, *, log: Callable[[str], object] | None = None) -> SeedResult:
    """Run one seed from beginning to end. Raises nothing: what goes wrong is a problem of the seed."""
    memory = Path("/dev/shm")
    place = tempfile.TemporaryDirectory(prefix="simulation-", dir=memory if memory.is_dir() else None)
    with place as folder, _temporary_files_in(folder), _stretched():
        loop = SimulatedLoop(seed, epoch=VIRTUAL_EPOCH)
        try:
            return _run(seed, loop, Path(folder), log)
        finally:
            loop.close()


def _run(seed: int, loop: SimulatedLoop, folder: Path, log: Callable[[str], object] | None) -> SeedResult:
    simulation = Simulation(seed, loop, folder, log)
    machine = simulation.machine
    loop.set_exception_handler(lambda _, context: _take_loop_error(machine, context))
    with faults.installed(machine.hit), _heard(machine):
        try:
            loop.run_until_complete(simulation.main())
        except (Deadlock, Livelock) as error:
            machine.complain(str(error))
        except KeyboardInterrupt:
            raise
        except BaseException:
            machine.complain(traceback.format_exc())
        hash_, hours = machine.trace_hash, loop.time() / HOUR
        _bury(machine)
    counts = Counter(machine.weather.counts)
    counts["executions"] = simulation.executions
    counts["effects"] = len(machine.world.ledger)
    counts["answers"] = sum(customer.answers for customer in simulation.customers)
    counts["processes"] = len(machine.dead)
    return SeedResult(
        seed=seed,
        problems=machine.problems,
        trace_hash=hash_,
        virtual_hours=round(hours, 2),
        calm_hours=round(simulation.calm_hours, 2),
        counts=dict(sorted(counts.items())),
    )


def _bury(machine: Machine) -> None:
    """Unwind everything that was killed, out of sight: what it says then says nothing."""
    machine.loop.set_exception_handler(lambda _, __: None)
    for runner in list(machine.runners):
        machine.kill(runner.process)
    for runner in machine.dead:
        left = machine.loop.bury(runner.process)
        if left:
            machine.complain(f"{runner.process.name} cannot be unwound: {left}")


def _take_loop_error(machine: Machine, context: dict[str, Any]) -> None:
    error = context.get("exception")
    if set(_kinds(repr(error))) & {"Killed", "ActorCrash"}:
        return
    machine.complain(f"the loop was told of {context['message']}: {error!r}")


@contextmanager
def _stretched() -> Iterator[None]:
    """Let the safety nets hang low, and both sides of webhooks know the key."""
    stretched = {
        (wakeups, "CLOCK_REREAD_S"): REREAD_S,
        (doorbell, "POLL_S"): POLL_S,
        (queueing, "WATCH_S"): WATCH_S,
        (policy, "QUEUE_LOOK_MS"): QUEUE_LOOK_MS,
        (guards, "HELD_MS_MAX"): HELD_MS_MAX,
    }
    before = {place: getattr(*place) for place in stretched}
    try:
        for (module, name), seconds in stretched.items():
            setattr(module, name, seconds)
        os.environ[KEY_NAME] = KEY
        yield
    finally:
        for (module, name), seconds in before.items():
            setattr(module, name, seconds)
        os.environ.pop(KEY_NAME, None)


@contextmanager
def _temporary_files_in(folder: str) -> Iterator[None]:
    before, tempfile.tempdir = tempfile.tempdir, folder
    try:
        yield
    finally:
        tempfile.tempdir = before


EXPECTED_CRASHES: Final = frozenset(
    {"ActorCrash", "StoreError", "OutcomeUnknown", "StoreClosed", "ExceptionGroup", "BaseExceptionGroup"}
)


def _kinds(shown: str) -> list[str]:
    """The names of the errors in the `repr` of one, which may be a group."""
    return re.findall(r"\b([A-Z]\w+)\(", shown)


class _Ear(logging.Handler):
    """Hears what the runtime logs; a crash that nobody caused is a problem."""

    def __init__(self, machine: Machine) -> None:
        super().__init__(logging.ERROR)
        self._machine = machine

    def emit(self, record: logging.LogRecord) -> None:
        event, fields = getattr(record, "event", ""), getattr(record, "fields", {})
        process = current.get()
        if process is not None and process.is_dead:
            return
        self._machine.weather.counts[f"log: {event}"] += 1
        if event == "actor_crashed" and not EXPECTED_CRASHES.issuperset(_kinds(fields["error"])):
            self._machine.complain(f"actor of {fields['execution_id']} crashed: {fields['stack']}")
        if event == "helper_crashed":
            self._machine.complain(f"{fields['helper']} crashed: {fields['stack']}")


@contextmanager
def _heard(machine: Machine) -> Iterator[None]:
    logger, ear = logging.getLogger("perdure"), _Ear(machine)
    before, logger.propagate = logger.propagate, False
    logger.addHandler(ear)
    try:
        yield
    finally:
        logger.removeHandler(ear)
        logger.propagate = before
