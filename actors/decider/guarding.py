"""Steps whose agent's guard did not let them through: they wait, and ask again. Pure."""

from __future__ import annotations

from perdure.actors.decider.course import outside, schedule
from perdure.actors.decider.kinds import looping
from perdure.actors.effects.turn import Turn
from perdure.actors.messages import Held, Nudge
from perdure.actors.state.execution import RETRY_TIMER
from perdure.store.states import StepState


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
    if nudge.step_no >= len(turn.state.steps):
        return  # it was held in another version of the workflow
    if nudge.item is not None:
        looping.take_nudge(turn, nudge, nudge.item)
        return
    state, run = turn.state, turn.state.steps[nudge.step_no]
    is_meant = (run.generation, run.attempt) == (nudge.generation, nudge.attempt)
    may_go_on = state.state in schedule.MAY_LAUNCH or state.state in schedule.WINDING_UP
    if is_meant and nudge.step_no in state.waiting and may_go_on:
        outside.make_ready(state, nudge.step_no)
