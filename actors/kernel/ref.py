"""The outside of an actor: how others talk to it and learn of its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Generic, TypeVar, cast

import anyio
import msgspec

from perdure.actors.kernel.errors import ActorStopped, AskTimeout
from perdure.actors.kernel.mailbox import Mailbox
from perdure.actors.kernel.reply import Reply
from perdure.actors.kernel.reports import Down, notify

M = TypeVar("M")


class Stop(msgspec.Struct, frozen=True):
    """The control message with which an actor is asked to stop; put in by `Ref.stop` alone."""


class Ref(Generic[M]):
    """An actor as others see it. Stays valid, and harmless, after the actor ended."""

    __slots__ = ("_down", "_is_stopping", "_mailbox", "_on_stop", "_watchers", "name")

    def __init__(self, *, name: str, mailbox: Mailbox[M], on_stop: Callable[[], None] | None = None) -> None:
        """Made by the supervisor; `on_stop` is called when the actor is first asked to stop."""
        self.name = name
        self._mailbox = mailbox
        self._on_stop = on_stop
        self._is_stopping = False
        self._down: Down | None = None
        self._watchers: list[Callable[[Down], object]] | None = None

    def __repr__(self) -> str:
        """The name, and the reason of the end if there was one."""
        return f"<Ref {self.name!r}{f' {self._down.reason}' if self._down else ''}>"

    @property
    def down(self) -> Down | None:
        """How the actor ended; None while it lives."""
        return self._down

    @property
    def is_stopping(self) -> bool:
        """Whether the actor was asked to stop; stays true afterwards."""
        return self._is_stopping

    def post(self, message: M, *, control: bool = False) -> None:
        """Send without waiting, room or no room. Raises ActorStopped when the actor has ended."""
        self._mailbox.post(message, control=control)

    async def tell(self, message: M, *, control: bool = False) -> None:
        """Send; wait for room in the mailbox. Raises ActorStopped when the actor has ended."""
        await self._mailbox.tell(message, control=control)

    async def ask(self, message: M, *, timeout: float | None, control: bool = False) -> Any:
        """Send, and wait for the answer; room and answer together within `timeout` seconds.

        A crash of the actor goes unnoticed while the message is not acknowledged: it goes back into
        the mailbox and the next incarnation answers. Never ask yourself: the answer would wait for
        the asker.

        Raises AskTimeout; ActorStopped when the actor ends first; ActorRestarted when it acknowledged
        the message and crashed before it answered, unless the reply was kept; PoisonMessage when the
        message crashed it; or the error given for an answer.
        """
        reply = Reply()
        if timeout is None:
            await self._mailbox.tell(message, control=control, reply=reply)
            return await reply.wait()
        deadline = asyncio.get_running_loop().time() + timeout
        if control or self._mailbox.has_room:
            self._mailbox.post(message, control=control, reply=reply)
        else:
            with anyio.CancelScope(deadline=deadline):
                await self._mailbox.tell(message, control=control, reply=reply)
        alarm = asyncio.get_running_loop().call_at(deadline, self._expire, reply, timeout)
        try:
            return await reply.wait()
        finally:
            alarm.cancel()

    def stop(self) -> None:
        """Ask the actor to end after the control messages it already has; a second time changes nothing.

        What is then still in its mailbox is answered with ActorStopped.
        """
        if self._is_stopping or self._down is not None:
            return
        self._is_stopping = True
        with suppress(ActorStopped):  # its mailbox was closed under it: it finds out when it next looks
            self._mailbox.post(cast("M", Stop()), control=True)
        if self._on_stop is not None:
            self._on_stop()

    def watch(self, watcher: Callable[[Down], object]) -> Callable[[], None]:
        """Call `watcher` exactly once when the actor has ended; at once if it already has.

        Returns the function that calls the watch off.
        """
        if self._down is not None:
            notify(watcher, self._down)
            return _nothing
        if self._watchers is None:
            self._watchers = []
        watchers = self._watchers
        watchers.append(watcher)

        def unwatch() -> None:
            if watcher in watchers:
                watchers.remove(watcher)

        return unwatch

    async def wait_stopped(self) -> Down:
        """Wait until the actor has ended, and tell how."""
        if self._down is not None:
            return self._down
        ended: asyncio.Future[Down] = asyncio.get_running_loop().create_future()

        def arrive(down: Down) -> None:
            if not ended.done():
                ended.set_result(down)

        unwatch = self.watch(arrive)
        try:
            return await ended
        finally:
            unwatch()

    def mark_down(self, down: Down) -> None:
        """For the supervisor: the actor has ended; tell the watchers."""
        assert self._down is None, "an actor ends once"
        self._down = down
        watchers, self._watchers = self._watchers or (), None
        self._on_stop = None
        for watcher in list(watchers):
            notify(watcher, down)

    def _expire(self, reply: Reply, timeout_s: float) -> None:
        """The deadline of an ask has come."""
        reply.fail(AskTimeout(self.name, timeout_s=timeout_s))


def _nothing() -> None:
    """There is nothing to call off."""
