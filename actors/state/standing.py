"""Where everything in an execution stands, as plain values: the answer to a query."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from perdure.actors.instructions.plan import PlannedStep
from perdure.actors.instructions.waits import ForChild
from perdure.actors.state.step_run import StepRun
from perdure.store.states import Role, StepState

if TYPE_CHECKING:
    from perdure.actors.state.execution import ExecutionState


def describe(state: ExecutionState) -> dict[str, Any]:
    """The answer to a query: where everything stands, as plain values."""
    return {
        "id": state.id,
        "workflow": state.plan.workflow,
        "revision": state.plan.revision,
        "state": state.state.value,
        "version": state.version,
        "epoch": state.epoch,
        "trace_id": state.trace_id,
        "context": state.context,
        "error": None if state.error is None else msgspec.to_builtins(state.error),
        "rollback_reason": state.rollback_reason,
        "deadline_at_ms": state.deadline_at,
        "resume_plan": None if state.resume_plan is None else msgspec.to_builtins(state.resume_plan),
        "queue": state.queue,
        "usage": msgspec.to_builtins(state.usage),
        "budget": _budget(state),
        "circuit_breaker_state": None if state.breaker is None else msgspec.to_builtins(state.breaker),
        "levels": [[state.plan.steps[no].key for no in level] for level in state.plan.levels],
        "steps": _steps(state, Role.GRAPH),
        "hooks": _steps(state, Role.HOOK),
        "compensations": _steps(state, Role.UNDO),
        "settled": state.settled,
        "running": [state.plan.steps[no].key for no in sorted(state.running)],
        "waiting": [
            step.key
            for step, run in zip(state.plan.steps, state.steps, strict=True)
            if run.state is StepState.WAITING
        ],
    }


def _steps(state: ExecutionState, role: Role) -> dict[str, Any]:
    runs = zip(state.plan.steps, state.steps, strict=True)
    return {step.key: _step(state, step, run) for step, run in runs if step.role is role}


def _budget(state: ExecutionState) -> dict[str, Any] | None:
    budget = state.plan.budget
    limits = state.limits or (None if budget is None else budget.limits)
    return None if limits is None else msgspec.to_builtins(limits)


def _step(state: ExecutionState, step: PlannedStep, run: StepRun) -> dict[str, Any]:
    waits: dict[str, Any] | None = None
    if step.wait is not None and run.state is StepState.WAITING:
        approval = state.approval_of(step.no)
        waits = step.wait.describe() | ({} if approval is None else approval.shown())
        if isinstance(step.wait, ForChild):
            waits["child"] = state.child_of(step.no)
    described = {
        "waits": waits,
        "state": run.state.value,
        "attempt": run.attempt,
        "generation": run.generation,
        "started_at_ms": run.started_at,
        "due_at_ms": run.due_at,
        "heartbeat": run.note,
        "error": None if run.error is None else msgspec.to_builtins(run.error),
    }
    if run.loop is not None:
        described["items"] = run.loop.describe()
    return described if step.repeat is None else described | {"iteration": run.iteration}
