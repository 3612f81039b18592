"""Steps beside the graph, hooks and compensations: their names in the log, and what calls them off. Pure.

They are steps like any other, with attempts, retries, timeouts and a crash budget; only nothing in
the graph needs them. One of them runs at a time, when nothing of the graph is in flight.
"""

from __future__ import annotations

from typing import Final

from perdure.actors.decider.course import undoing
from perdure.actors.decider.course.schedule import WINDING_UP
from perdure.actors.effects.turn import Turn
from perdure.actors.messages import Interrupt
from perdure.actors.state import code
from perdure.actors.state.execution import ExecutionState
from perdure.store.states import Role, State, StepState

CUTS: Final = frozenset({Interrupt.CANCEL, Interrupt.ROLLBACK, Interrupt.DEADLINE})


def is_called_off(state: ExecutionState, step_no: int, *, reason: str | None = None) -> bool:
    """Whether a step that has not come to an outcome is to have no further attempt.

    `reason` is why its body was cut. A hook that was cut by a person's word does not go on, one that
    was cut by a crash does, also while the execution is being stopped; and one whose end is not to be
    is not tried again.
    """
    role = state.plan.steps[step_no].role
    if role is Role.GRAPH:
        return state.state in WINDING_UP
    if role is Role.UNDO:
        return state.state is State.CANCELLING
    return state.end is None if reason is None else reason in CUTS


def is_at_work(state: ExecutionState) -> bool:
    """Whether a hook or a compensation is in flight, or waits for its next attempt."""
    open_states = (StepState.RUNNING, StepState.WAITING)
    return any(run.state in open_states for run in state.steps[state.size :])


def make_ready(state: ExecutionState, step_no: int) -> None:
    """The time has come for another attempt; of a step beside the graph where the execution has come to."""
    state.waiting.discard(step_no)
    if step_no < state.size:
        state.ready.append(step_no)


def go_on(turn: Turn, step_no: int, *, is_closing: bool) -> None:
    """Start a hook or what undoes a step, unless it has to wait for its next attempt or for its code."""
    state = turn.state
    if step_no in state.waiting:
        _become(turn, State.AWAITING_COMPLETION)
    elif not code.is_here(state) or (is_closing and state.state is State.AWAITING_COMPLETION):
        _become(turn, State.SCHEDULING)  # for a runner that has the code, or the next owner
    elif not is_closing:
        _become(turn, State.EXECUTING)
        if step_no not in state.lingering:  # a thread of an attempt that is over is waited for
            undoing.start(turn, step_no)


def _become(turn: Turn, state: State) -> None:
    """What is being stopped or undone stays in the state that says so."""
    if turn.state.state not in WINDING_UP:
        turn.become(state)
