"""What becomes of a step whose needs have let it in, when more than its needs has a say. Pure.

A condition (`when`) is asked once, when the step could start: True lets it start, False skips it,
and whatever else happens (it raises, it gives no truth value) fails it. So a mistake in a condition
never passes for a no. Nothing is asked while nothing may start: a pause leaves the question open,
and an execution whose code is missing leaves it to a runner that has it.
"""

from __future__ import annotations

from perdure.actors.decider.course import schedule
from perdure.actors.decider.course.evaluating import evaluate, unanswered
from perdure.actors.decider.kinds import gating, looping, waiting
from perdure.actors.effects.turn import Turn
from perdure.actors.state import code
from perdure.store.states import StepState


def decide(turn: Turn) -> None:
    """Decide of every step that enters what it is to do; this may let further steps in."""
    state = turn.state
    if state.state not in schedule.MAY_LAUNCH or not code.is_here(state):
        return
    while state.entering and not state.is_blocked and state.state in schedule.MAY_LAUNCH:
        _decide(turn, state.entering.popleft())
    state.entering.clear()


def _decide(turn: Turn, step_no: int) -> None:
    state = turn.state
    step = state.plan.steps[step_no]
    if state.steps[step_no].state is not StepState.PENDING:
        return
    if step.when is not None:
        answer, error = evaluate(step.when, turn, step, what="condition")
        if error is None and not isinstance(answer, bool):
            error = unanswered(step, what="condition", why=f"it gave {answer!r:.80}, not true or false")
        if error is not None:
            schedule.fail(turn, step_no, error, has_begun=False)
            return
        if not answer:
            schedule.skip(turn, step_no, reason="when")
            schedule.settle(turn, step_no)
            return
    if step.gate is not None:
        gating.judge(turn, step_no, step.gate)
        return
    if step.wait is not None:
        waiting.begin(turn, step_no, step.wait)
        return
    if step.for_each is not None:
        looping.begin(turn, step_no, step.for_each)
        return
    state.ready.append(step_no)
