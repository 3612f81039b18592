"""What a failed attempt leads to: another one, or the failure of its step. Pure."""

from __future__ import annotations

from perdure.actors.decider.course import outside, schedule
from perdure.actors.decider.course.retry import delay_before, may_retry
from perdure.actors.effects.turn import Turn
from perdure.actors.messages import Failed
from perdure.store.states import StepState


def take_failure(turn: Turn, step_no: int, failed: Failed) -> int | None:
    """Record the failure; answers when (ms) the next attempt is due, for which the step waits now.

    None: there is none, the step has failed.
    """
    state = turn.state
    step = state.plan.steps[step_no]
    run = state.steps[step_no]
    if outside.is_called_off(state, step_no) or not may_retry(step.retry, failed, attempt=run.attempt):
        schedule.fail(turn, step_no, failed.error)
        return None
    turn.move_step(step_no, StepState.FAILED, error=failed.error)
    data = {"error": {"type": failed.error.type, "message": failed.error.message}, "will_retry": True}
    delay = delay_before(step.retry, retry=run.attempt, chance=turn.chance)
    turn.note("step_failed", step_no=step_no, attempt=run.attempt, data=data | {"delay_ms": delay})
    run.next_attempt()
    due_at = turn.now + delay
    turn.move_step(step_no, StepState.WAITING, due_at=due_at)
    return due_at
