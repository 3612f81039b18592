"""Who outside is to be told of a change of an execution, decided with the change itself. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from perdure.actors.instructions.webhook import EVENTS, Webhook
from perdure.store.writes import DeliveryWrite

if TYPE_CHECKING:
    from perdure.actors.effects.turn import Turn

TOLD: Final = {f"workflow_{event}": event for event in EVENTS} | {"checkpoint_restored": "paused"}
MESSAGE_MAX: Final = 2_000  # characters of an error; the log has all of it


def deliveries_of(turn: Turn) -> tuple[DeliveryWrite, ...]:
    """What is to be told of this turn, and to whom."""
    return tuple(
        _delivery(turn, event, webhook)
        for event in _events(turn)
        for webhook in turn.state.plan.webhooks
        if event in webhook.events
    )


def _events(turn: Turn) -> list[str]:
    """What has happened in it that anybody may want to be told of, as its lines of the log say, in order."""
    return [told for event in turn.events if (told := TOLD.get(event.type)) is not None]


def _delivery(turn: Turn, event: str, webhook: Webhook) -> DeliveryWrite:
    state, error = turn.state, turn.state.error
    payload: dict[str, Any] = {
        "event": event,
        "execution": state.id,
        "workflow": state.plan.workflow,
        "revision": state.plan.revision,
        "state": state.state.value,
        "version": turn.version_before + 1,
        "at_ms": turn.now,
        "trace_id": state.trace_id,
        "error": None if error is None else {"type": error.type, "message": error.message[:MESSAGE_MAX]},
    }
    return DeliveryWrite(state.id, event, webhook.url, webhook.secret, msgspec.json.encode(payload))
