"""The moments of a whole execution: its deadline, and when one that rests goes on by itself. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from perdure.actors.state.execution import DEADLINE_TIMER
from perdure.store.records import ResumePlan
from perdure.store.writes import EXECUTION_TIMER, RESUME_TIMER

if TYPE_CHECKING:
    from perdure.actors.effects.turn import Turn


def set_deadline(turn: Turn, deadline_at: int | None) -> None:
    """Set or clear the execution's deadline."""
    if deadline_at == turn.state.deadline_at:
        return
    turn.state.deadline_at = deadline_at
    turn.fields["deadline_at"] = deadline_at
    turn.set_timer(DEADLINE_TIMER, EXECUTION_TIMER, deadline_at)


def set_remaining(turn: Turn, remaining_ms: int | None) -> None:
    """Keep what is left of the deadline while it does not run."""
    if remaining_ms != turn.state.remaining_ms:
        turn.state.remaining_ms = turn.fields["remaining_ms"] = remaining_ms


def plan_resume(turn: Turn, plan: ResumePlan | None) -> None:
    """Keep when, or on which rule, the execution is to go on by itself, or keep nothing."""
    turn.state.resume_plan = plan
    turn.fields["resume_plan"] = None if plan is None else msgspec.json.encode(plan).decode()
    turn.set_timer(RESUME_TIMER, EXECUTION_TIMER, None if plan is None else plan.at_ms)
