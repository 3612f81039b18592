"""What lies in a mailbox, and how a mailbox describes itself."""

from __future__ import annotations

from typing import Final, Generic, TypeVar

import msgspec

from perdure.actors.kernel.reply import Reply

POISON_CRASHES: Final = 3  # once is chance, twice may be a bad neighbourhood, three times is the message

M = TypeVar("M")


class Envelope(msgspec.Struct, Generic[M], frozen=True, kw_only=True, eq=False):
    """A message on its way, with where the answer goes and how often it crashed its receiver."""

    message: M
    reply: Reply | None = None
    control: bool = False
    crashes: int = 0

    def blamed(self) -> Envelope[M]:
        """The same envelope with one crash more to its name."""
        return Envelope(
            message=self.message, reply=self.reply, control=self.control, crashes=self.crashes + 1
        )


class MailboxStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """How full a mailbox is: messages per lane and in hand, senders waiting, totals since it was made."""

    control: int
    normal: int
    in_hand: int
    senders_waiting: int
    limit: int
    acked: int
    is_closed: bool
