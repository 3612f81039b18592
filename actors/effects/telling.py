"""The part of a turn that leaves messages for other executions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from perdure.actors.effects.keeping import Keeping
from perdure.actors.effects.orders import Ring
from perdure.store.telling import PostWrite

if TYPE_CHECKING:
    from perdure.actors.messages import Command


class Telling(Keeping):
    """What a turn writes into the inboxes of others, and whom it therefore rings."""

    __slots__ = ("asks_answered",)

    orders: list[Any]

    def __init__(self) -> None:
        """Nothing has been said yet."""
        super().__init__()
        self.asks_answered: tuple[str, ...] = ()  # what the parent has asked and is to hear of

    def post(self, execution_id: str, command: Command) -> None:
        """Leave a message in the inbox of another execution."""
        kind, sender = type(command).__name__, self.state.id
        payload = msgspec.json.encode(command)
        self.keep("posts", PostWrite(execution_id, command.id, kind, payload, sender))
        self.orders.append(Ring(execution_id))
