"""The circuit breaker of one execution: so many bad attempts within a window, and it stops. Pure.

An attempt is bad when it failed, or took longer than the workflow allows, whatever it then gave. Those of
steps are counted nowhere: their own rows say when they ended, so what a new owner folds is what the one
before it knew. An item has one row for all its attempts: when bad ones ended is kept with the breaker.
Resuming or retrying a tripped execution begins the count anew.
"""

from __future__ import annotations

import msgspec

from perdure.actors.decider.course import schedule, undoing
from perdure.actors.effects import accounting
from perdure.actors.effects.turn import Turn
from perdure.actors.errors import CircuitBreakerTripped, error_of
from perdure.actors.instructions.breaker import OnTrip
from perdure.actors.messages import Failed, Held, Interrupt, Interrupted, PauseMode, StepReport
from perdure.store.circuits import CircuitBreakerState
from perdure.store.states import State, StepState


def watch(turn: Turn, report: StepReport, *, began_at: int | None) -> None:
    """Look at an attempt that has just been taken, and trip where it was one too many."""
    state = turn.state
    policy = state.plan.circuit_breaker
    since = 0 if state.breaker is None else state.breaker.counts_since
    if (
        policy is None
        or began_at is None
        or began_at < since
        or isinstance(report.outcome, Interrupted | Held)
    ):
        return
    took_ms = turn.now - began_at
    has_failed = isinstance(report.outcome, Failed) or state.steps[report.step_no].state is StepState.FAILED
    if not (has_failed or policy.is_slow(took_ms)):
        return
    state.mishaps = policy.recent([*state.mishaps, turn.now], now=turn.now)
    if report.item is not None:
        before = state.breaker or CircuitBreakerState()
        items = policy.recent([*before.items, turn.now], now=turn.now)
        accounting.set_breaker(turn, msgspec.structs.replace(before, items=tuple(items)))
    if len(state.mishaps) >= policy.errors and _may_trip(turn):
        _trip(turn)


def reset(turn: Turn) -> None:
    """Somebody lets the execution go on: what has tripped its breaker counts no longer."""
    state = turn.state
    breaker = state.breaker
    if breaker is not None and breaker.tripped_at is not None and breaker.reset_at is None:
        state.mishaps = []
        accounting.set_breaker(turn, msgspec.structs.replace(breaker, reset_at=turn.now, items=()))


def _may_trip(turn: Turn) -> bool:
    """Whether there is anything left to be stopped."""
    state = turn.state
    return state.state in schedule.MAY_LAUNCH and not state.is_blocked and not state.is_everything_settled


def _trip(turn: Turn) -> None:
    state = turn.state
    policy = state.plan.circuit_breaker
    assert policy is not None
    slow = "" if policy.latency_ms is None else f" or took longer than {policy.latency_ms / 1000:g} s"
    reason = f"{policy.errors} attempts failed{slow} within {policy.window_ms / 1000:g} s"
    items = () if state.breaker is None else state.breaker.items
    accounting.set_breaker(turn, CircuitBreakerState(tripped_at=turn.now, reason=reason, items=items))
    turn.note("circuit_breaker_tripped", data={"reason": reason, "on_trip": policy.on_trip.value})
    match policy.on_trip:
        case OnTrip.PAUSE:
            turn.set_pause(PauseMode.DRAIN.value, by="circuit breaker", reason=reason)
            turn.become(State.PAUSING)
        case OnTrip.FAIL | OnTrip.COMPENSATE:
            error = CircuitBreakerTripped(reason, is_undone=policy.on_trip is OnTrip.COMPENSATE)
            turn.set_error(error_of(error))
            if policy.on_trip is OnTrip.COMPENSATE:
                undoing.rollback(turn, reason)
            else:
                schedule.stop_everything(turn, Interrupt.CIRCUIT_BREAKER)
