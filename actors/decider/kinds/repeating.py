"""Steps that are performed again and again: what follows when an iteration has ended. Pure.

Each iteration is a generation of its own, of the same lineage: its output is an outcome that stays,
and its number is the count of those before it. The one that ends the loop settles the step, so
dependents see nothing else. Between two iterations the step waits, as it does before a retry: a row,
a timer if there is a delay. Nothing new begins once a required step has failed or the execution is
being cancelled: the step is then cancelled, and a retry goes on with the iteration that was next.
"""

from __future__ import annotations

import msgspec

from perdure.actors.decider.course import schedule
from perdure.actors.decider.course.evaluating import evaluate, unanswered
from perdure.actors.effects.turn import Turn
from perdure.actors.errors import RepeatExhausted, error_of
from perdure.actors.instructions.plan import PlannedStep, Repeat
from perdure.actors.state.execution import RETRY_TIMER
from perdure.store.records import Error
from perdure.store.states import StepState


def is_repeated(turn: Turn, step: PlannedStep, repeat: Repeat, output: bytes) -> bool:
    """Take the output of an iteration; False when it is the output of the step, which is still to settle."""
    goes_on, error = _ask(turn, step, repeat, output)
    iteration = turn.state.steps[step.no].iteration
    if goes_on and error is None and iteration >= repeat.max_iterations:
        if not repeat.fails_when_exhausted:
            return False
        exhausted = RepeatExhausted(step.key, iterations=iteration)
        error = error_of(exhausted)
    if error is not None:
        schedule.fail(turn, step.no, error)
        return True
    if goes_on:
        _begin_next(turn, step, repeat, output)
    return goes_on


def _ask(turn: Turn, step: PlannedStep, repeat: Repeat, output: bytes) -> tuple[bool, Error | None]:
    """Whether another iteration is wanted, or why that cannot be told."""
    iteration = turn.state.steps[step.no].iteration
    what = "repeat condition"
    answer, error = evaluate(
        lambda values: repeat.goes_on(values, msgspec.json.decode(output), iteration), turn, step, what=what
    )
    if error is None and not isinstance(answer, bool):
        error = unanswered(step, what=what, why=f"it gave {answer!r:.80}, not true or false")
    return answer is True, error


def _begin_next(turn: Turn, step: PlannedStep, repeat: Repeat, output: bytes) -> None:
    """Keep the outcome of this iteration and open the generation of the next."""
    state = turn.state
    run = state.steps[step.no]
    turn.move_step(step.no, StepState.COMPLETED, is_outcome=True, output=output)
    data = {"iteration": run.iteration, "delay_ms": repeat.delay_ms}
    turn.note("step_repeated", step_no=step.no, attempt=run.attempt, data=data)
    state.payload_bytes -= len(output)
    run.next_iteration()
    if state.is_blocked or state.state in schedule.WINDING_UP:
        schedule.cancel(turn, step.no)
        return
    due_at = turn.now + repeat.delay_ms
    turn.move_step(step.no, StepState.WAITING, due_at=due_at)
    if repeat.delay_ms:
        state.waiting.add(step.no)
        turn.set_timer(RETRY_TIMER, step.no, due_at)
    else:
        state.ready.append(step.no)
