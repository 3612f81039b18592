"""The budget of an execution: whether what it has used leaves room for another attempt. Pure.

Asked for each attempt, of a step or of an item, just before it would start; only where there is a budget.
"""

from __future__ import annotations

from typing import Any

import msgspec

from perdure.actors.decider.course import schedule
from perdure.actors.effects import accounting
from perdure.actors.effects.turn import Turn
from perdure.actors.errors import error_of
from perdure.actors.instructions.budget import (
    NOTHING,
    Budget,
    BudgetExceeded,
    OnExceeded,
    Room,
    room_for,
    shown,
)
from perdure.actors.messages import PauseMode
from perdure.actors.state.execution import ExecutionState
from perdure.store.records import Error
from perdure.store.states import State, StepState
from perdure.store.usage import Limits, Usage


def admit(turn: Turn, step_no: int) -> schedule.Admission:
    """Whether the step begins now, is held in its place, or has been dealt with otherwise.

    What is done beside the graph begins whatever is left.
    """
    if step_no >= turn.state.size:
        return schedule.Admission.GRANTED
    admission, error = ask(turn, step_no)
    if error is not None:
        if turn.state.steps[step_no].state is StepState.WAITING:
            schedule.stop_waiting(turn, step_no)
        schedule.fail(turn, step_no, error, has_begun=False)
    return admission


def ask(turn: Turn, step_no: int) -> tuple[schedule.Admission, Error | None]:
    """Whether an attempt of the step, or of an item of it, may begin; or why the step is to fail."""
    state = turn.state
    budget = budget_of(state)
    if budget is None:
        return schedule.Admission.GRANTED, None
    step = state.plan.steps[step_no]
    room = room_for(step.estimate, used=state.usage, reserved=_reserved(state), limits=budget.limits)
    if room is Room.NONE:
        return schedule.Admission.DENIED, _exceed(turn, step_no, budget)
    return (schedule.Admission.GRANTED if room is Room.ENOUGH else schedule.Admission.HELD), None


def budget_of(state: ExecutionState) -> Budget | None:
    """The budget in force: the workflow's, with the limits somebody has given the execution since."""
    budget = state.plan.budget
    if state.limits is None:
        return budget
    return msgspec.structs.replace(budget or Budget(), limits=state.limits)


def raise_budget(turn: Turn, limits: Limits) -> dict[str, Any]:
    """Give the execution other limits, those that are named; answers what an event says of it."""
    budget = budget_of(turn.state)
    before = Limits() if budget is None else budget.limits
    after = Limits(
        cost=before.cost if limits.cost is None else limits.cost,
        tokens=before.tokens if limits.tokens is None else limits.tokens,
    )
    accounting.set_budget(turn, after)
    return {"budget": msgspec.to_builtins(after)}


def _reserved(state: ExecutionState) -> Usage:
    """What the attempts in flight declare to use: of a step, or of each of its items."""
    reserved = NOTHING
    for step_no in state.running | state.lingering:
        estimate, loop = state.plan.steps[step_no].estimate, state.steps[step_no].loop
        if estimate is not None:
            reserved += estimate if loop is None else estimate.times(loop.in_flight)
    return reserved


def _exceed(turn: Turn, step_no: int, budget: Budget) -> Error | None:
    """The attempt would exceed the budget: pause the execution, or say why the step fails."""
    state = turn.state
    step = state.plan.steps[step_no]
    data = {
        "used": msgspec.to_builtins(state.usage),
        "budget": msgspec.to_builtins(budget.limits),
        "estimate": None if step.estimate is None else msgspec.to_builtins(step.estimate),
        "on_exceeded": budget.on_exceeded.value,
    }
    turn.note("budget_exceeded", step_no=step_no, data=data)
    if budget.on_exceeded is OnExceeded.PAUSE:
        reason = f"the budget: {shown(state.usage)} used of {shown(budget.limits)}"
        turn.set_pause(PauseMode.DRAIN.value, by="budget", reason=reason)
        turn.become(State.PAUSING)
        return None
    return error_of(BudgetExceeded(step.key, used=state.usage, limits=budget.limits, estimate=step.estimate))
