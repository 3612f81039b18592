"""A pooler in transaction mode, as unforgiving as one may be: each transaction gets the other session.

It speaks the wire protocol just far enough: it answers startups by itself, refuses settings as PgBouncer
does, tells a process number that is nobody's, and gives its session back at each end of a transaction.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

SOCKET = ".s.PGSQL.5432"
SSL_REQUEST = 80877103
PASSES = {"user", "database", "client_encoding", "application_name"}
Word = asyncio.Task[tuple[bytes, bytes]]
STATEMENTS_END = frozenset(b"QS")  # each is answered by one ReadyForQuery


class Session:
    """One session with the server, lent to one client at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Open, and ready."""
        self.reader = reader
        self.writer = writer


class Pooler:
    """Between any number of clients and two sessions of a server."""

    def __init__(self, server_folder: Path) -> None:
        """Nothing is opened yet."""
        self._server = server_folder / SOCKET
        self._free: asyncio.Queue[Session] = asyncio.Queue()
        self._greeting = b""
        self.lent = 0

    @asynccontextmanager
    async def listening(self, folder: Path, *, user: str, database: str) -> AsyncIterator[str]:
        """Serve at a socket in that folder; the host for a URL."""
        sessions = [await self._session(user, database) for _ in range(2)]
        for session in sessions:
            self._free.put_nowait(session)
        server = await asyncio.start_unix_server(self._serve, folder / SOCKET)
        try:
            yield str(folder)
        finally:
            server.close()
            for session in sessions:
                session.writer.close()

    async def _session(self, user: str, database: str) -> Session:
        reader, writer = await asyncio.open_unix_connection(self._server)
        text = b"".join(part.encode() + b"\0" for part in ("user", user, "database", database)) + b"\0"
        writer.write(struct.pack("!ii", len(text) + 8, 196608) + text)
        greeting = b""
        while True:
            kind, body = await _message(reader)
            if kind == b"S":
                greeting += kind + body
            if kind == b"Z":
                break
        self._greeting = b"R" + struct.pack("!ii", 8, 0) + greeting
        return Session(reader, writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if await self._welcome(reader, writer):
                await self._relay(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer the startup; False when it asks for what is not let pass."""
        while True:
            (size,) = struct.unpack("!i", await reader.readexactly(4))
            body = await reader.readexactly(size - 4)
            if struct.unpack("!i", body[:4])[0] != SSL_REQUEST:
                break
            writer.write(b"N")
        names = body[4:].split(b"\0")[0:-2:2]
        for name in names:
            if name.decode() not in PASSES:
                text = b"SFATAL\0C08P01\0Munsupported startup parameter: " + name + b"\0\0"
                writer.write(b"E" + struct.pack("!i", len(text) + 4) + text)
                await writer.drain()
                return False
        nobody = b"K" + struct.pack("!iii", 12, 1, 1)
        writer.write(self._greeting + nobody + b"Z" + struct.pack("!i", 5) + b"I")
        return True

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Lend a session from the first word of a transaction to the last."""
        word = asyncio.create_task(_message(reader))
        try:
            while (await word)[0] != b"X":
                session = await self._free.get()
                self.lent += 1
                try:
                    word = await self._lend(session, word, reader, writer)
                finally:
                    self._free.put_nowait(session)
        finally:
            word.cancel()

    @staticmethod
    async def _lend(
        session: Session, word: Word, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> Word:
        """Pass on what is said and answered until the transaction is over; the first word after it."""
        asked = 0
        answered = 0
        answer = asyncio.create_task(_message(session.reader))
        try:
            while True:
                await asyncio.wait([word, answer], return_when=asyncio.FIRST_COMPLETED)
                if word.done():
                    kind, body = word.result()
                    session.writer.write(kind + body)
                    asked += kind[0] in STATEMENTS_END
                    word = asyncio.create_task(_message(reader))
                if answer.done():
                    kind, body = answer.result()
                    writer.write(kind + body)
                    answered += kind == b"Z"
                    if kind == b"Z" and asked == answered and body[-1:] == b"I":
                        return word
                    answer = asyncio.create_task(_message(session.reader))
        finally:
            answer.cancel()


async def _message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """The kind of one message, and the rest of it."""
    kind = await reader.readexactly(1)
    size = await reader.readexactly(4)
    return kind, size + await reader.readexactly(struct.unpack("!i", size)[0] - 4)
