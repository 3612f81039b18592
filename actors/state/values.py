"""What one step may read of its execution: what its compiled closures ask, and what its body is let see."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from perdure.actors.state.execution import ExecutionState
from perdure.store.states import Role


class StepValues:
    """What one step may read: as the compiled closures want it (`plan.Values`), and its body (`Inside`)."""

    __slots__ = ("_state", "_step_no")

    def __init__(self, state: ExecutionState, step_no: int) -> None:
        """Look at that state, for that step."""
        self._state = state
        self._step_no = step_no

    @property
    def context(self) -> Mapping[str, Any]:
        """The execution's context as it is now."""
        return self._state.context

    def output(self, step_no: int) -> Any:
        """The output of a settled step, decoded anew."""
        return self._state.output(step_no)

    def needs(self) -> dict[str, Any]:
        """The outputs of the steps this one depends on, by key; null where an optional one failed."""
        state = self._state
        steps = state.plan.steps
        if steps[self._step_no].role is Role.HOOK:
            return state.outputs()
        return {steps[need].key: state.output(need) for need in steps[self._step_no].needs}

    def heartbeat(self, detail: Any) -> None:
        """Keep the last detail, for whoever queries the execution."""
        self._state.steps[self._step_no].note = detail

    def state(self, step_no: int) -> str:
        """The state of a step."""
        return self._state.steps[step_no].state.value

    def error(self, step_no: int) -> Mapping[str, str] | None:
        """Why a step has failed; None where it has not."""
        return self._state.steps[step_no].failure

    @property
    def execution(self) -> Mapping[str, Any]:
        """What hooks and compensations may know of the execution."""
        state = self._state
        return {
            "id": state.id,
            "workflow": state.plan.workflow,
            "state": (state.end or state.state).value,
            "error": None if state.error is None else msgspec.to_builtins(state.error),
            "reason": state.rollback_reason,
        }
