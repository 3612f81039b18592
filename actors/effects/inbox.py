"""Commands on their way through the durable inbox: how they are written, read and answered."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec

from perdure.actors import errors
from perdure.actors.effects.turn import encode
from perdure.actors.messages import Answer, AnyCommand, Posted
from perdure.store import errors as store_errors
from perdure.store.errors import PerdureError
from perdure.store.records import Message


class Refused(PerdureError):
    """A runner in another process refused a command, in a way or for a reason that has no name here."""


def payload_of(command: AnyCommand) -> bytes:
    """A command as it is kept in the inbox."""
    return encode(command)


def posted(message: Message) -> Posted:
    """A row of the inbox as a message to the execution's actor."""
    try:
        command = _decoder().decode(message.payload)
    except msgspec.DecodeError:
        command = None
    return Posted(message.no, command, message.applied_version is not None)


@cache
def _decoder() -> msgspec.json.Decoder[AnyCommand]:
    """Made when the first message comes: it has to know all commands there are."""
    return msgspec.json.Decoder(AnyCommand)


def answer_from(encoded: bytes) -> Answer | PerdureError:
    """What the owner has answered: where the command led, or the refusal as the error it was."""
    answer: dict[str, Any] = msgspec.json.decode(encoded)
    if "refused" not in answer:
        return msgspec.convert(answer, Answer)
    fields = dict(answer["fields"])
    kind = getattr(errors, answer["refused"], None) or getattr(store_errors, answer["refused"], None)
    error: PerdureError = Refused(answer["message"])
    if isinstance(kind, type) and issubclass(kind, PerdureError):
        error = kind.__new__(kind, answer["message"])
        error.args = (answer["message"],)
    vars(error).update(fields)
    return error
