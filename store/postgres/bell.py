"""A bell that every process on the same schema hears: NOTIFY, off the path of the writes.

It only rings: what there is to know is in the tables. What is to be rung is collected and sent over a
session of its own, at once at rest and at most every RING_EVERY_S under load, each thing once. When
that session is lost, or a pooler swallows what it should hear, whoever listens is told every LOOK_EVERY_S
to look by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import anyio
import asyncpg
import msgspec

from perdure.store.postgres.address import Address
from perdure.store.postgres.link import Link
from perdure.store.postgres.translate import FAILURES
from perdure.store.protocol import Answer
from perdure.store.states import PARKED, TERMINAL
from perdure.store.writes import Change, Deregister, Post, Release, Start, Write

RING_EVERY_S: Final = 0.02  # at most fifty notices a second from a process, however much it writes
LOOK_EVERY_S: Final = 5.0  # the safety net: how late what no bell has told is found out
IDS_MAX: Final = 50  # of one notice: its text may have 8,000 bytes, an id 128
WORK: Final = "work"
MAIL: Final = "mail:"

RESTING: Final = TERMINAL | PARKED


class Listener(msgspec.Struct, frozen=True, kw_only=True):
    """Who wants to know; see `protocol.Audible`."""

    on_mail: Callable[[str], None]
    on_work: Callable[[], None]
    on_doubt: Callable[[], None]


class Bell:
    """One process's end of it."""

    def __init__(self, address: Address) -> None:
        """Nothing is opened yet."""
        self._link = Link(address, lambda sql: sql)
        self._channel = "perdure_" + hashlib.sha256(address.schema.encode()).hexdigest()[:16]
        self.is_deaf = False  # behind a pooler that would give what is heard to others
        self._pending: dict[str, None] = {}
        self._listener: Listener | None = None
        self._ringing: asyncio.Task[None] | None = None
        self._looking: asyncio.TimerHandle | None = None
        self._leaving = asyncio.Event()

    def hear(self, listener: Listener) -> None:
        """Begin to listen, until `close`; must be called while a loop runs."""
        self._listener = listener
        self._look()

    def ring(self, writes: Sequence[Write], answers: Sequence[Answer]) -> None:
        """Let the others know what these writes have left for them. Never waits."""
        for write, answer in zip(writes, answers, strict=True):
            if not isinstance(answer, Exception):
                self._pending.update(dict.fromkeys(_words(write)))
        if self._pending and (self._ringing is None or self._ringing.done()):
            self._ringing = asyncio.create_task(self._ring())

    async def close(self) -> None:
        """Send what is collected, then fall silent."""
        if self._looking is not None:
            self._looking.cancel()
        self._listener = None
        self._leaving.set()
        if self._ringing is not None:
            await asyncio.wait([self._ringing])
        self._leaving.clear()
        await self._link.close()

    async def _ring(self) -> None:
        """Send it, in as few notices as will hold it, until nothing is left."""
        while self._pending:
            words, self._pending = list(self._pending), {}
            with contextlib.suppress(*FAILURES):
                connection = await self._open()
                async with connection.transaction():
                    for text in _texts(words):
                        await connection.execute("SELECT pg_notify($1, $2)", self._channel, text)
            with anyio.move_on_after(RING_EVERY_S):
                await self._leaving.wait()

    def _look(self) -> None:
        """Make sure that there is something to hear with, and have the listener look by itself."""
        if self._listener is None:
            return
        self._looking = asyncio.get_running_loop().call_later(LOOK_EVERY_S, self._look)
        if self._ringing is None or self._ringing.done():
            self._ringing = asyncio.create_task(self._reopen())
        self._listener.on_doubt()

    async def _reopen(self) -> None:
        with contextlib.suppress(*FAILURES):
            await self._open()
        await self._ring()

    async def _open(self) -> asyncpg.Connection[Any]:
        if not self._link.is_open:
            self._link.is_pooled = self.is_deaf
            connection = await self._link.open()
            if self._listener is not None and not self.is_deaf:
                await connection.add_listener(self._channel, self._on_notice)
        return await self._link.open()

    def _on_notice(self, _connection: object, pid: int, _channel: str, text: object) -> None:
        listener = self._listener
        if listener is None or pid == self._link.pid:
            return
        for word in str(text).split():
            if word == WORK:
                listener.on_work()
            else:
                listener.on_mail(word.removeprefix(MAIL))


def _words(write: Write) -> Iterator[str]:
    """What a write that was done leaves for others to do."""
    match write:
        case Post(execution_id=execution_id):
            yield MAIL + execution_id
        case Start(runner_no=None) | Release() | Deregister():
            yield WORK
        case Change(fields={"runner_no": None}, state=state) if state not in RESTING:
            yield WORK
        case _:
            pass
    if isinstance(write, Start | Change):
        for post in write.delta.posts:
            yield MAIL + post.execution_id


def _texts(words: Sequence[str]) -> Iterator[str]:
    for first in range(0, len(words), IDS_MAX):
        yield " ".join(words[first : first + IDS_MAX])
