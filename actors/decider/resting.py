"""Where an execution comes to rest: what it means that no body is in flight any more. Pure."""

from __future__ import annotations

from perdure.actors.decider.course import ending, outside, results, schedule, undoing
from perdure.actors.decider.kinds import children
from perdure.actors.effects import timing
from perdure.actors.effects.turn import Turn
from perdure.actors.instructions.plan import OnFailure
from perdure.actors.state import code
from perdure.store.states import State, StepState


def come_to_rest(turn: Turn, *, is_closing: bool) -> None:
    """No body is in flight: find out what that means."""
    state = turn.state
    if children.hold_up(state):
        return
    undo = undoing.next_undo(state) if state.state is State.COMPENSATING else None
    if undo is not None:
        outside.go_on(turn, undo, is_closing=is_closing)
    elif state.state in schedule.WINDING_UP and state.rollback_reason is not None:
        _conclude(turn, undoing.verdict(turn), is_closing=is_closing)
    elif state.state is State.CANCELLING:
        end = State.FAILED if state.error is not None else State.CANCELLED
        _conclude(turn, end, is_closing=is_closing)
    elif state.has_graph_ended:
        _conclude(turn, _aggregate(turn), is_closing=is_closing)
    elif state.state is State.PAUSING:
        _pause(turn)
    elif not code.is_here(state) and (state.ready or state.entering or not state.waiting):
        turn.become(State.SCHEDULING)  # waits for its code: a runner that has it takes it up
    elif state.ready:
        turn.become(State.EXECUTING)  # a thread lingers: no timer would wake the next owner
    else:
        turn.become(State.AWAITING_COMPLETION)


def _pause(turn: Turn) -> None:
    """Settle a pause: what is left of the deadline is kept, the clock stops."""
    state = turn.state
    turn.note("workflow_paused", data={"mode": state.pause_mode})
    if state.deadline_at is not None:
        timing.set_remaining(turn, max(0, state.deadline_at - turn.now))
        timing.set_deadline(turn, None)
    turn.become(State.PAUSED)


def _aggregate(turn: Turn) -> State:
    """Nothing more of the graph can run: completed, unless a required step has failed."""
    state = turn.state
    for step in state.plan.steps[: state.size]:
        run = state.steps[step.no]
        if run.state is StepState.FAILED and not step.is_optional:
            if state.error is None:
                turn.set_error(schedule.step_failed(step.key, run.attempt, run.error))
            return State.FAILED
    if (error := results.problem(state)) is not None:
        turn.set_error(error)
        return State.FAILED
    return State.COMPLETED


def _conclude(turn: Turn, end: State, *, is_closing: bool) -> None:
    """The graph has come to that end: let what is to happen before it is written happen, then write it."""
    state = turn.state
    must_undo = (
        end is State.FAILED
        and state.plan.on_failure is OnFailure.COMPENSATE
        and state.rollback_reason is None
    )
    hook = None if must_undo else ending.next_hook(state, end)
    if not must_undo and hook is None:
        _end(turn, end)
    elif state.state is State.PAUSING:
        _pause(turn)
    elif hook is not None:
        state.end = end
        timing.set_deadline(turn, None)  # the graph has come to its end in time
        outside.go_on(turn, hook, is_closing=is_closing)
    else:
        undoing.rollback(turn, None if state.error is None else state.error.message)
        come_to_rest(turn, is_closing=is_closing)


def _end(turn: Turn, terminal: State) -> None:
    state = turn.state
    state.end = None
    if terminal is State.CANCELLED:
        turn.note("workflow_cancelled")
    elif terminal is State.ROLLED_BACK:
        turn.note("workflow_rolled_back", data={"reason": state.rollback_reason})
    elif terminal is State.FAILED:
        error = state.error
        data = None if error is None else {"error": {"type": error.type, "message": error.message}}
        turn.note("workflow_failed", data=data)
    else:
        turn.note("workflow_completed")
    turn.become(terminal)
