"""What the log calls what happens to steps beside the graph."""

from __future__ import annotations

from typing import Final

from perdure.actors.plan import PlannedStep

UNDO_EVENTS: Final = {
    "step_started": "step_compensating",
    "step_completed": "step_compensated",
    "step_failed": "step_compensation_failed",
    "step_interrupted": "step_compensation_interrupted",
    "step_cancelled": "step_compensation_cancelled",
}


def told_as(step: PlannedStep, kind: str) -> tuple[str, int]:
    """What happens to a hook is told of the hook, what happens to a compensation of the step it undoes."""
    if step.undoes is None:
        return kind.replace("step_", "hook_", 1), step.no
    return UNDO_EVENTS[kind], step.undoes
