"""What was done beside the graph: whether the hooks of the end have run, and all was undone that could be."""

from __future__ import annotations

from typing import Final

from perdure.store.states import SETTLED_STEP, StepState
from simulation.model import Told, beneath, succeeds
from simulation.past import Past
from simulation.workflows import HOOK, UNDO, StepSpec, WorkflowSpec

MOMENTS: Final = {"completed": "onSuccess", "failed": "onFailure", "cancelled": "onCancel"}
CUTTING: Final = frozenset({"cancel_requested", "rollback_requested"})


def left(past: Past, spec: WorkflowSpec) -> frozenset[str]:
    """The steps that have completed, could be undone and are not."""
    undoable = [step.key for step in spec.steps if step.undo is not None or _is_undone_by_child(step)]
    done = [key for key in undoable if key in past.newest and not _is_shared(past, key)]
    return frozenset(key for key in done if past.newest[key].state is StepState.COMPLETED)


def _is_undone_by_child(step: StepSpec) -> bool:
    return step.child is not None and step.child.waits and step.child.follows


def _is_shared(past: Past, key: str) -> bool:
    """Whether what a fork has of a step is its source's, which alone may undo it."""
    types = {event.type for event in past.events if event.step == key}
    return "step_shared" in types and not types & {"step_started", "child_started"}


def odd_beside(past: Past, spec: WorkflowSpec, told: Told) -> list[str]:
    """A sentence for each hook that did not run, and for each step that was left for no reason."""
    problems = [f"{hook.key} {why}" for hook in _due(past, spec) if (why := _oddity(past, hook, told))]
    if not told.is_undone or _was_called_off(past):
        return problems
    stuck = [key for key in told.left if _is_stuck(past, spec, key, told)]
    ground = {need for key in stuck for need in beneath(spec, spec.step(key))}
    return problems + [f"{key} is not undone" for key in told.left - ground - set(stuck)]


def _due(past: Past, spec: WorkflowSpec) -> list[StepSpec]:
    """The hooks of the end it has come to."""
    is_undone = past.status == "rolled_back"
    end = past.status if not is_undone else "cancelled" if past.execution.error is None else "failed"
    return [hook for hook in spec.hooks if hook.key in (f"{HOOK}{MOMENTS[end]}", f"{HOOK}finally")]


def _oddity(past: Past, hook: StepSpec, told: Told) -> str | None:
    """What is wrong with a hook that is due."""
    newest = past.newest.get(hook.key)
    if newest is None or newest.state not in SETTLED_STEP:
        return "did not run"
    if newest.state is StepState.CANCELLED and not any(event.type in CUTTING for event in past.events):
        return "was cancelled by nobody"
    if newest.state is StepState.FAILED and succeeds(hook, told) and hook.key not in told.given_up:
        return "failed before its time"
    return None


def _is_stuck(past: Past, spec: WorkflowSpec, key: str, told: Told) -> bool:
    """Whether what undoes a step has failed as it had to; of a child, as its own past has to tell."""
    if spec.step(key).undo is None:
        return any(event.type == "step_compensation_failed" for event in past.of(key))
    undo = spec.step(f"{key}{UNDO}")
    newest = past.newest.get(undo.key)
    has_failed = newest is not None and newest.state is StepState.FAILED
    return has_failed and (not succeeds(undo, told) or undo.key in told.given_up)


def _was_called_off(past: Past) -> bool:
    """Whether somebody has cancelled the undoing."""
    words = [event.type for event in past.events if event.type in CUTTING | {"workflow_retried"}]
    return words[-1:] == ["cancel_requested"]
