"""The bodies of one execution that are in flight, and the task group of the level they live in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from perdure.actors.context import StepContext
from perdure.actors.guards import Entrance
from perdure.actors.held import Pass
from perdure.actors.log import get_logger
from perdure.actors.messages import Interrupt, Interrupted, Nudge, StepEnded, StepReport
from perdure.actors.names import iteration_values
from perdure.actors.plan import Candidate, PlannedStep, Values
from perdure.actors.services import Services
from perdure.actors.state import ExecutionState
from perdure.actors.step import Attempt
from perdure.actors.turn import Launch
from perdure.actors.values import StepValues

log = get_logger("perdure.step")


class Crew:
    """Starts bodies once their start is durable, interrupts them, and knows which still run.

    A launch waits in `_launches` until a level's task group takes it: the one that is open while
    anything runs in it, else the next. So a body never outlives the level it belongs to.
    """

    __slots__ = ("_attempts", "_launches", "_report", "_services")

    def __init__(self, services: Services, report: Callable[[StepReport | StepEnded], None]) -> None:
        """`report` is how a body's end reaches the execution's mailbox."""
        self._services = services
        self._report = report
        self._attempts: dict[int, Attempt] = {}
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
        """Order the current attempt of a step to be started."""
        step_no = order.step_no
        step = _of(order.chosen, state.plan.steps[step_no])
        run = state.steps[step_no]
        inside = StepValues(state, step_no)
        values: Values = inside if step.repeat is None else iteration_values(inside, run)
        key = f"{state.id}:{step.key}:{run.lineage}"
        context = StepContext(
            execution_id=state.id,
            workflow=state.plan.workflow,
            step=step.key,
            attempt=run.attempt,
            generation=run.generation,
            idempotency_key=key if step.repeat is None else f"{key}:{run.iteration}",
            iteration=run.iteration,
            trace_id=state.trace_id,
            log=log,
            inside=inside,
        )
        services = self._services
        attempt = Attempt(
            step,
            generation=run.generation,
            attempt=run.attempt,
            context=context,
            values=values,
            report=self._report,
            alarms=services.alarms,
            slots=services.slots,
            entrance=self._entrance(state, step),
            ticket=order.ticket,
        )
        self._launches.append(attempt)

    def _entrance(self, state: ExecutionState, step: PlannedStep) -> Entrance | None:
        """What the current attempt of a step has to pass, if its agent is guarded."""
        step_no, guard = step.no, step.guard
        guards = self._services.guards
        if guard is None or guards is None:
            return None
        run = state.steps[step_no]
        nudge = Nudge(step_no, run.generation, run.attempt)
        holder = f"{state.id}:{step_no}:{run.generation}:{run.attempt}"
        return Entrance(guards, Pass(guard=guard, holder=holder, execution_id=state.id, nudge=nudge))

    def start(self, level: asyncio.TaskGroup) -> None:
        """Start what was ordered, in this level."""
        for attempt in self._launches:
            self._attempts[attempt.step.no] = attempt
            level.create_task(attempt.run())
        self._launches.clear()

    def interrupt(self, reason: Interrupt) -> None:
        """Cancel every body; what was ordered and not started is called off."""
        for attempt in self._launches:
            report = StepReport(attempt.step.no, attempt.generation, attempt.attempt, Interrupted(reason))
            self._report(report)
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
            self._attempts.pop(report.step_no, None)


def _of(chosen: Candidate | None, step: PlannedStep) -> PlannedStep:
    """The step as the agent performs it that was chosen."""
    if chosen is None:
        return step
    return msgspec.structs.replace(
        step, inputs=chosen.inputs, perform=chosen.perform, mode=chosen.mode, guard=chosen.guard
    )
