"""The part of a turn that is about moments: timers, the deadline, when a resting execution goes on."""

from __future__ import annotations

from typing import Any

import msgspec

from perdure.actors.effects.keeping import Keeping
from perdure.actors.state.execution import DEADLINE_TIMER
from perdure.store.records import ResumePlan
from perdure.store.writes import EXECUTION_TIMER, RESUME_TIMER, TimerWrite


class Timing(Keeping):
    """What a turn writes of it."""

    __slots__ = ()

    _fields: dict[str, Any]

    def set_timer(self, kind: str, step_no: int, due_at: int | None) -> None:
        """Set or clear one durable timer."""
        self.keep("timers", TimerWrite(kind, step_no, due_at))

    def set_deadline(self, deadline_at: int | None) -> None:
        """Set or clear the execution's deadline."""
        if deadline_at == self.state.deadline_at:
            return
        self.state.deadline_at = deadline_at
        self._fields["deadline_at"] = deadline_at
        self.set_timer(DEADLINE_TIMER, EXECUTION_TIMER, deadline_at)

    def set_remaining(self, remaining_ms: int | None) -> None:
        """Keep what is left of the deadline while it does not run."""
        if remaining_ms != self.state.remaining_ms:
            self.state.remaining_ms = self._fields["remaining_ms"] = remaining_ms

    def plan_resume(self, plan: ResumePlan | None) -> None:
        """Keep when, or on which rule, the execution is to go on by itself, or keep nothing."""
        self.state.resume_plan = plan
        self._fields["resume_plan"] = None if plan is None else msgspec.json.encode(plan).decode()
        self.set_timer(RESUME_TIMER, EXECUTION_TIMER, None if plan is None else plan.at_ms)
