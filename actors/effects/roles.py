"""What the log calls what happens to steps beside the graph."""

from __future__ import annotations

from typing import Final

from perdure.actors.instructions.plan import PlannedStep

UNDO_EVENTS: Final = {"step_started": "step_compensating", "step_completed": "step_compensated"}


def told_as(step: PlannedStep, kind: str) -> tuple[str, int]:
    """What happens to a hook is told of the hook, what happens to a compensation of the step it undoes."""
    if step.undoes is None:
        return kind.replace("step_", "hook_", 1), step.no
    return UNDO_EVENTS.get(kind, kind.replace("step_", "step_compensation_", 1)), step.undoes
