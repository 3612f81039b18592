"""What follows a commit: events to those who watch, the end to those who wait, a line in the log."""

from __future__ import annotations

import logging

import msgspec

from perdure.actors.bus import Outcome
from perdure.actors.decider.course import ending, results
from perdure.actors.effects.turn import Turn
from perdure.actors.execution.services import Services
from perdure.actors.kernel import faults
from perdure.actors.log import get_logger
from perdure.actors.state.execution import ExecutionState
from perdure.store.records import Event
from perdure.store.scripts.rows import moment
from perdure.store.states import TERMINAL

log = get_logger("perdure.execution")
reader = logging.getLogger("perdure.execution")  # asked first: most programs do not want the lines


def publish(
    services: Services, state: ExecutionState, turn: Turn, *, version: int, first_event_id: int
) -> None:
    """Tell the world what has just become durable."""
    if faults.hit is not None:
        faults.hit("publish:before")
    bus = services.bus
    if turn.events and bus.is_watched(state.id):
        bus.publish(state.id, _records(state, turn, version, first_event_id))
    if state.state is not turn.before:
        _log_change(state, turn, version)
        if state.state in TERMINAL and bus.is_end_awaited(state.id):
            bus.publish_end(outcome_of(state))
    for name, fields in turn.lines:
        log.warning(
            name, execution_id=state.id, trace_id=state.trace_id, workflow=state.plan.workflow, **fields
        )
    services.on_commit(state.id)
    if state.plan.webhooks:
        services.outbox.on_mail()
    if faults.hit is not None:
        faults.hit("publish:after")


def outcome_of(state: ExecutionState) -> Outcome:
    """How the execution has ended, with the outputs of what completed."""
    return Outcome(
        state.id,
        state.state,
        results.outputs_of(state),
        state.error,
        state.outputs(),
        rollback_reason=state.rollback_reason,
        hook_errors=ending.errors_of(state),
    )


def _records(state: ExecutionState, turn: Turn, version: int, first_event_id: int) -> list[Event]:
    at = moment(turn.now)
    steps = state.plan.steps
    return [
        Event(
            id=first_event_id + position,
            execution_id=state.id,
            version=version,
            at=at,
            type=event.type,
            step=None if event.step_no is None else steps[event.step_no].key,
            attempt=event.attempt,
            by=event.by,
            command_id=event.command_id,
            trace_id=state.trace_id,
            data=None if event.data is None else msgspec.json.decode(event.data),
        )
        for position, event in enumerate(turn.events)
    ]


def _log_change(state: ExecutionState, turn: Turn, version: int) -> None:
    """One line after each change of state, where anybody reads it."""
    if not reader.isEnabledFor(logging.INFO):
        return
    error = state.error
    log.info(
        "execution_state_changed",
        execution_id=state.id,
        trace_id=state.trace_id,
        workflow=state.plan.workflow,
        state_before=turn.before.value,
        state=state.state.value,
        version=version,
        duration_ms=None if state.started_at is None else turn.now - state.started_at,
        error=None if error is None else f"{error.type}: {error.message}",
    )
