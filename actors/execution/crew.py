"""The bodies of one execution that are in flight, and the task group of the level they live in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from perdure.actors.attempt.guards import Entrance
from perdure.actors.attempt.held import Pass
from perdure.actors.attempt.step import Attempt
from perdure.actors.effects.turn import Launch
from perdure.actors.execution.inside import BodyValues
from perdure.actors.execution.services import Services
from perdure.actors.instructions.context import StepContext
from perdure.actors.instructions.guard import Guard
from perdure.actors.instructions.names import ITERATION, PREVIOUS, NamedValues
from perdure.actors.instructions.plan import Candidate, PlannedStep, Values
from perdure.actors.log import get_logger
from perdure.actors.messages import Interrupt, Interrupted, Nudge, StepEnded, StepReport
from perdure.actors.state.execution import ExecutionState
from perdure.actors.state.step_run import StepRun
from perdure.actors.state.values import StepValues

log = get_logger("perdure.step")


class Crew:
    """Starts bodies once their start is durable, interrupts them, and knows which still run.

    A launch waits in `_launches` until a level's task group takes it: the one that is open, as long as
    one body follows another, else the next. So a body never outlives the level it belongs to.
    """

    __slots__ = ("_attempts", "_launches", "_report", "_services")

    def __init__(self, services: Services, report: Callable[[StepReport | StepEnded], None]) -> None:
        """`report` is how a body's end reaches the execution's mailbox."""
        self._services = services
        self._report = report
        self._attempts: dict[tuple[int, int | None], Attempt] = {}
        self._launches: list[Attempt] = []

    @property
    def has_launches(self) -> bool:
        """Whether bodies wait for a level to be opened."""
        return bool(self._launches)

    @property
    def is_at_work(self) -> bool:
        """Whether a body runs, or a thread lingers, in the open level."""
        return bool(self._attempts)

    def launch(self, state: ExecutionState, order: Launch) -> None:
        """Order the current attempt of a step, or of one of its items, to be started."""
        step_no, item = order.step_no, order.item
        step = _of(order.chosen, state.plan.steps[step_no])
        run = state.steps[step_no]
        inside = BodyValues(state, step_no, store=self._services.store)
        values, key, no = _part(step, run, inside, item)
        context = StepContext(
            execution_id=state.id,
            workflow=state.plan.workflow,
            step=key,
            attempt=no,
            generation=run.generation,
            idempotency_key=_idempotency_key(state.id, step, run, item),
            iteration=run.iteration,
            index=item,
            trace_id=state.trace_id,
            log=log,
            inside=inside,
        )
        services = self._services
        attempt = Attempt(
            step,
            generation=run.generation,
            attempt=no,
            item=item,
            context=context,
            values=values,
            report=self._report,
            alarms=services.alarms,
            slots=services.slots,
            entrance=None if step.guard is None else self._entrance(state, step, step.guard, no, item),
            ticket=order.ticket,
        )
        self._launches.append(attempt)

    def _entrance(
        self, state: ExecutionState, step: PlannedStep, guard: Guard, no: int, item: int | None
    ) -> Entrance | None:
        """What that attempt has to pass, if agents are guarded here."""
        guards = self._services.guards
        if guards is None:
            return None
        nudge = Nudge(step.no, state.steps[step.no].generation, no, item)
        holder = f"{state.id}:{step.no}:{nudge.generation}:{no}"
        if item is not None:
            holder += f":{item}"
        return Entrance(guards, Pass(guard=guard, holder=holder, execution_id=state.id, nudge=nudge))

    def start(self, level: asyncio.TaskGroup) -> None:
        """Start what was ordered, in this level."""
        for attempt in self._launches:
            self._attempts[attempt.step.no, attempt.item] = attempt
            level.create_task(attempt.run())
        self._launches.clear()

    def interrupt(self, reason: Interrupt) -> None:
        """Cancel every body; what was ordered and not started is called off."""
        for attempt in self._launches:
            self._report(attempt.reported(Interrupted(reason)))
        self._launches.clear()
        for attempt in self._attempts.values():
            attempt.interrupt(reason)

    def unwind(self) -> None:
        """The level is given up, and nobody is left to report to: bodies just end."""
        for attempt in self._attempts.values():
            attempt.is_unwinding = True

    def take(self, report: StepReport | StepEnded) -> None:
        """Note that a body has ended (or, while its thread lingers, has not)."""
        if isinstance(report, StepEnded) or not report.lingers:
            self._attempts.pop((report.step_no, report.item), None)


def _of(chosen: Candidate | None, step: PlannedStep) -> PlannedStep:
    """The step as the agent performs it that was chosen."""
    if chosen is None:
        return step
    return msgspec.structs.replace(
        step, inputs=chosen.inputs, perform=chosen.perform, mode=chosen.mode, guard=chosen.guard
    )


def _part(step: PlannedStep, run: StepRun, inside: StepValues, item: int | None) -> tuple[Values, str, int]:
    """What a body may read, what it is called, and the number of its attempt."""
    if item is not None and step.for_each is not None and run.loop is not None:
        names = {step.for_each.as_name: run.loop.item(item), step.for_each.index_name: item}
        return NamedValues(inside, names), f"{step.key}[{item}]", run.loop.open[item].attempt
    if step.repeat is not None:
        return _iteration_values(inside, run), step.key, run.attempt
    return inside, step.key, run.attempt


def _iteration_values(values: Values, run: StepRun) -> NamedValues:
    """What the body of a step that repeats may read."""
    previous = None if run.previous is None else msgspec.json.decode(run.previous)
    return NamedValues(values, {ITERATION: run.iteration, PREVIOUS: previous})


def _idempotency_key(execution_id: str, step: PlannedStep, run: StepRun, item: int | None) -> str:
    """The name of what is done: the step's, and which iteration or item of it."""
    key = f"{execution_id}:{step.key}:{run.lineage}"
    if item is not None:
        return f"{key}:{item}"
    return key if step.repeat is None else f"{key}:{run.iteration}"
