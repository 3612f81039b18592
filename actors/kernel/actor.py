"""The inside of an actor: what one is written as, and what it is told about itself."""

from __future__ import annotations

import asyncio
from typing import Final, Generic, TypeVar

import anyio

from perdure.actors.kernel.mailbox import BATCH_MAX, Mailbox
from perdure.actors.kernel.ref import Ref, Stop
from perdure.actors.kernel.reply import Reply

STOPPED_S_MAX: Final = 1.0  # a cancelled actor's clean-up is shielded; longer would hang a shutdown

M = TypeVar("M")


class Cell(Generic[M]):
    """The slot an actor lives in: it outlives incarnations, and so do its name and its mailbox."""

    __slots__ = ("achieved", "crashes", "incarnation", "mailbox", "name", "outages", "ref")

    def __init__(self, *, name: str, mailbox: Mailbox[M], ref: Ref[M] | None = None) -> None:
        """Made by the supervisor; a test may make one by hand."""
        self.name = name
        self.mailbox = mailbox
        self.ref = ref or Ref(name=name, mailbox=mailbox)
        self.incarnation = 0
        self.achieved = 0
        self.crashes = 0
        self.outages = 0

    @property
    def is_stopping(self) -> bool:
        """Whether this actor was asked to stop."""
        return self.ref.is_stopping

    def progress(self) -> None:
        """Say that something lasting was achieved: the crashes before it no longer count."""
        self.achieved += 1
        self.crashes = 0
        self.outages = 0


class Actor(Generic[M]):
    """One incarnation of an actor: something that handles one message after the other.

    Subclass it and write `receive`. The instance lives until it returns or crashes; the next
    incarnation is a new instance from the child's factory, with the same cell.
    """

    cell: Cell[M]

    async def started(self) -> None:
        """Get ready; runs before the first message. To crash here is to crash."""

    async def receive(self, message: M, reply: Reply | None) -> None:
        """Handle one message; `reply` is there when somebody waits for an answer.

        To raise is to crash: the message goes back to the front of the mailbox and the supervisor
        decides. What is the asker's fault belongs into `reply.fail`.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say what it does with {message!r}")

    async def stopped(self) -> None:
        """Clean up; runs at every end of an incarnation that got as far as `started`.

        When the actor is being cancelled it has STOPPED_S_MAX seconds.
        """

    async def run(self) -> None:
        """Live: get ready, handle messages until asked to stop, clean up.

        A subclass may override it, for instance to handle batches; it must then `take` and `ack`,
        end when it takes a `Stop`, and call `cell.progress()` when something lasting was achieved.
        """
        await self.started()
        try:
            await self._serve()
        except GeneratorExit:
            raise  # the coroutine is being thrown away: it may not await any more
        except BaseException as end:
            await self._clean_up_after(end)
            raise
        await self.stopped()

    async def _serve(self) -> None:
        """Handle messages one by one until a Stop comes."""
        mailbox = self.cell.mailbox
        while True:
            await mailbox.wait()
            for _ in range(BATCH_MAX):
                batch = mailbox.take(1)
                if not batch:
                    break
                envelope = batch[0]
                if isinstance(envelope.message, Stop):
                    mailbox.ack()
                    return
                await self.receive(envelope.message, envelope.reply)
                mailbox.ack()
                self.cell.progress()

    async def _clean_up_after(self, end: BaseException) -> None:
        """Run `stopped` without letting its errors hide what the incarnation ended of."""
        is_cancelled = isinstance(end, asyncio.CancelledError)
        try:
            with anyio.CancelScope(shield=is_cancelled) as grace:
                if is_cancelled:
                    grace.deadline = anyio.current_time() + STOPPED_S_MAX
                await self.stopped()
        except Exception as error:  # noqa: BLE001 recorded on the error that matters, which is raised
            end.add_note(f"its clean-up failed as well: {error!r}")
