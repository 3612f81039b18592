"""What an execution gives back: what its workflow declares, else the output of each step. Pure.

Nothing of it is stored: at the end steps and context stand still, so it comes out the same whenever
it is asked for. Outputs that cannot be given fail the execution at the moment it would have completed.
"""

from __future__ import annotations

from typing import Any, Final

from perdure.actors.decider.course.evaluating import attempt
from perdure.actors.errors import OutputError, error_of
from perdure.actors.state.execution import ExecutionState
from perdure.actors.state.values import StepValues
from perdure.store.records import Error
from perdure.store.states import State

NO_STEP: Final = -1  # whose values those of the whole execution are


def outputs_of(state: ExecutionState) -> dict[str, Any]:
    """The declared outputs of one that has completed; without a declaration what its steps gave, by key."""
    if state.plan.outputs is None:
        return state.outputs()
    if state.state is not State.COMPLETED:
        return {}
    given: dict[str, Any] | None = attempt(state.plan.outputs, StepValues(state, NO_STEP))[0]
    return given or {}


def problem(state: ExecutionState) -> Error | None:
    """Why an execution whose steps have all ended well cannot give what its workflow declares, or None."""
    if state.plan.outputs is None:
        return None
    _, why = attempt(state.plan.outputs, StepValues(state, NO_STEP))
    return None if why is None else error_of(OutputError(state.id, why=why))
