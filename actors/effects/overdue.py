"""Waits that last: each is told of once, by an event and a line in the log. Pure.

A pause, and a step that waits for a signal or for people, has a timer of its own beside any other. It
is stored, so it outlives the process; whoever finds it due takes the execution up, tells of it, and
gives it up again. A wait that ends sooner takes its timer along.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure.store.writes import EXECUTION_TIMER, WARN_TIMER

if TYPE_CHECKING:
    from perdure.actors.effects.turn import Turn


def watch(turn: Turn, step_no: int = EXECUTION_TIMER, *, due_at: int | None = None) -> None:
    """A wait has begun, of a step or (a pause) of all; one that is over by `due_at` may never be long."""
    after_ms = turn.state.plan.warn_after_ms
    if after_ms is None or (due_at is not None and due_at <= turn.now + after_ms):
        return
    turn.state.warnings[step_no] = turn.now + after_ms
    turn.set_timer(WARN_TIMER, step_no, turn.now + after_ms)


def forget(turn: Turn, *step_nos: int) -> None:
    """Waits are over."""
    for step_no in step_nos:
        if turn.state.warnings.pop(step_no, None) is not None:
            turn.set_timer(WARN_TIMER, step_no, None)


def take(turn: Turn, step_no: int) -> None:
    """A wait has lasted for long: say so, once."""
    state = turn.state
    since = state.warnings[step_no] - (state.plan.warn_after_ms or 0)
    forget(turn, step_no)
    told: dict[str, Any] = {"for": "pause", "since_ms": since, "waited_ms": turn.now - since}
    if step_no == EXECUTION_TIMER:
        turn.note("waiting_long", data=told)
    else:
        step = state.plan.steps[step_no]
        told |= {} if step.wait is None else step.wait.describe()
        told.pop("form", None)
        turn.note("waiting_long", step_no=step_no, attempt=state.steps[step_no].attempt, data=told)
        told["step"] = step.key
    turn.lines += (("waiting_long", told),)
