"""What an execution leaves for others in their inboxes. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from perdure.actors.effects.orders import Ring
from perdure.store.telling import PostWrite

if TYPE_CHECKING:
    from perdure.actors.effects.turn import Turn
    from perdure.actors.messages import Command


def post(turn: Turn, execution_id: str, command: Command) -> None:
    """Leave a message in the inbox of another execution, and ring it."""
    payload = msgspec.json.encode(command)
    row = PostWrite(execution_id, command.id, type(command).__name__, payload, turn.state.id)
    turn.kept.row("posts", row)
    turn.orders.append(Ring(execution_id))
