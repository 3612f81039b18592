"""Whether a step that is ready may really begin: what stands in its way besides its needs. Pure.

Asked for each attempt, just before it would start, and only of plans that have such guards.
"""

from __future__ import annotations

from typing import Any

import msgspec

from perdure.actors.decider.course import outside, schedule
from perdure.actors.decider.kinds import looping
from perdure.actors.effects.turn import Turn
from perdure.actors.instructions.budget import (
    NOTHING,
    Budget,
    BudgetExceeded,
    OnExceeded,
    Room,
    room_for,
    shown,
)
from perdure.actors.messages import Held, Nudge, PauseMode
from perdure.actors.state.execution import RETRY_TIMER, ExecutionState
from perdure.store.records import Error
from perdure.store.states import State, StepState
from perdure.store.usage import Limits, Usage


def admit(turn: Turn, step_no: int) -> schedule.Admission:
    """Whether the step begins now, is held in its place, or has been dealt with otherwise.

    What is done beside the graph begins whatever is left.
    """
    state = turn.state
    budget = budget_of(state)
    if budget is None or step_no >= state.size:
        return schedule.Admission.GRANTED
    step = state.plan.steps[step_no]
    room = room_for(step.estimate, used=state.usage, reserved=_reserved(state), limits=budget.limits)
    if room is Room.NONE:
        _exceed(turn, step_no, budget)
        return schedule.Admission.DENIED
    return schedule.Admission.GRANTED if room is Room.ENOUGH else schedule.Admission.HELD


def hold(turn: Turn, step_no: int, held: Held) -> None:
    """A guard did not let the body through: it waits, no attempt used up, and asks again."""
    state = turn.state
    if outside.is_called_off(state, step_no):
        schedule.cancel(turn, step_no)
        return
    turn.move_step(step_no, StepState.WAITING, due_at=held.until)
    data = {"agent": held.agent, "why": held.why, "until_ms": held.until}
    turn.note("step_held", step_no=step_no, attempt=state.steps[step_no].attempt, data=data)
    state.waiting.add(step_no)
    turn.set_timer(RETRY_TIMER, step_no, held.until)


def take_nudge(turn: Turn, nudge: Nudge) -> None:
    """A guard may let a step through that it has held; one that waits for something else says nothing."""
    if nudge.item is not None:
        looping.take_nudge(turn, nudge, nudge.item)
        return
    state, run = turn.state, turn.state.steps[nudge.step_no]
    is_meant = (run.generation, run.attempt) == (nudge.generation, nudge.attempt)
    may_go_on = state.state in schedule.MAY_LAUNCH or state.state in schedule.WINDING_UP
    if is_meant and nudge.step_no in state.waiting and may_go_on:
        outside.make_ready(state, nudge.step_no)


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
    turn.set_budget(after)
    return {"budget": msgspec.to_builtins(after)}


def _reserved(state: ExecutionState) -> Usage:
    """What the steps in flight declare to use."""
    steps = state.plan.steps
    declared = (steps[no].estimate for no in state.running | state.lingering)
    return sum((each for each in declared if each is not None), NOTHING)


def _exceed(turn: Turn, step_no: int, budget: Budget) -> None:
    """The step would exceed the budget: pause the execution, or fail the step."""
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
        return
    if state.steps[step_no].state is StepState.WAITING:
        state.waiting.discard(step_no)
        turn.clear_step_timer(step_no)
    error = BudgetExceeded(step.key, used=state.usage, limits=budget.limits, estimate=step.estimate)
    schedule.fail(turn, step_no, Error(type=type(error).__name__, message=str(error)), has_begun=False)
