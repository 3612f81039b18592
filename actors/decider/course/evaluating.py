"""Asks the closures of a plan in the planner's own turn: whatever they raise fails their step. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from perdure.actors.effects.turn import Turn
from perdure.actors.errors import ExpressionError, error_of
from perdure.actors.instructions.plan import PlannedStep, Values
from perdure.actors.state.values import StepValues
from perdure.actors.wording import text_of, type_of
from perdure.store.errors import PerdureError
from perdure.store.records import Error

WHY_CHARS_MAX: Final = 2_000  # of what a closure says of its failure


def evaluate(
    closure: Callable[[Values], Any], turn: Turn, step: PlannedStep, *, what: str
) -> tuple[Any, Error | None]:
    """What a closure of a step answers, or the typed error it fails the step with."""
    answer, why = attempt(closure, StepValues(turn.state, step.no))
    return answer, None if why is None else unanswered(step, what=what, why=why)


def attempt(closure: Callable[[Values], Any], values: Values) -> tuple[Any, str | None]:
    """What a closure answers, or why it does not."""
    try:
        return closure(values), None
    except BaseException as error:  # noqa: BLE001 - other people's code at the step boundary: it fails its step
        return None, _why(error)


def unanswered(step: PlannedStep, *, what: str, why: str) -> Error:
    """The record of an expression that gave no answer."""
    return error_of(ExpressionError(step.key, what=what, why=why))


def _why(error: BaseException) -> str:
    text = text_of(error)
    shown = text if isinstance(error, PerdureError) else f"{type_of(error)}: {text}"
    return shown[:WHY_CHARS_MAX]
