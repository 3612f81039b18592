"""What becomes of a step whose needs have let it in, when more than its needs has a say. Pure.

A condition (`when`) is asked once, when the step could start: True lets it start, False skips it,
and whatever else happens (it raises, it gives no truth value) fails it. So a mistake in a condition
never passes for a no. Nothing is asked while nothing may start: a pause leaves the question open,
and an execution whose code is missing leaves it to a runner that has it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from perdure.actors import schedule
from perdure.actors.errors import ExpressionError
from perdure.actors.plan import PlannedStep, Values
from perdure.actors.state import StepValues
from perdure.actors.turn import Turn
from perdure.store.errors import PerdureError
from perdure.store.records import Error
from perdure.store.states import StepState

WHY_CHARS_MAX = 2_000  # of what a closure says of its failure


def decide(turn: Turn) -> None:
    """Decide of every step that enters what it is to do; this may let further steps in."""
    state = turn.state
    if state.state not in schedule.MAY_LAUNCH or not state.plan.is_performable:
        return
    while state.entering and not state.is_blocked:
        _decide(turn, state.entering.popleft())
    state.entering.clear()


def evaluate(
    closure: Callable[[Values], Any], turn: Turn, step: PlannedStep, *, what: str
) -> tuple[Any, Error | None]:
    """What a closure of a step answers, or the typed error it fails the step with."""
    try:
        return closure(StepValues(turn.state, step.no)), None
    except BaseException as error:  # noqa: BLE001 - other people's code at the step boundary: it fails its step
        return None, unanswered(step, what=what, why=_why(error))


def unanswered(step: PlannedStep, *, what: str, why: str) -> Error:
    """The record of an expression that gave no answer."""
    error = ExpressionError(step.key, what=what, why=why)
    return Error(type=type(error).__name__, message=str(error))


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
    state.ready.append(step_no)


def _why(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - its __str__ is other people's code
        text = "(its text cannot be had)"
    shown = text if isinstance(error, PerdureError) else f"{type(error).__name__}: {text}"
    return shown[:WHY_CHARS_MAX].encode("utf-8", "backslashreplace").decode()
