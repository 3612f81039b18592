"""What the tests over PostgreSQL share: a fleet on a server, and a wire that can be cut at a bad moment."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import asyncpg
from fleet import Fleet, Worker

from perdure.store.postgres.address import Address

SOCKET = ".s.PGSQL.5432"


class PostgresFleet(Fleet):
    """Workers over one schema of a server."""

    def __init__(self, folder: Path, url: str) -> None:
        """Nobody works yet."""
        super().__init__(folder)
        self.url = url

    @property
    def path(self) -> str:
        """Where the facts are."""
        return self.url

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        """What the database says, to somebody who only looks."""
        return asyncio.run(self._ask(query))

    async def _ask(self, query: str) -> list[tuple[Any, ...]]:
        address = Address.parse(self.url)
        connection = await asyncpg.connect(address.dsn, server_settings={"search_path": address.schema})
        try:
            return [tuple(row) for row in await connection.fetch(query)]
        finally:
            await connection.close()

    def stop(self, worker: Worker) -> None:
        """Stop it, wherever it is: the server ends a transaction that nobody goes on with."""
        worker.signal(signal.SIGSTOP)


class Wire:
    """A proxy before the server that passes on what is said, and swallows an answer when told to."""

    def __init__(self, server_folder: Path) -> None:
        """Between its clients and the server whose socket lies there."""
        self._server = server_folder / SOCKET
        self.commits = 0
        self.cut_every = 0  # the answer to every so manieth commit is swallowed, and the line cut
        self.cuts = 0

    @asynccontextmanager
    async def listening(self, folder: Path) -> AsyncIterator[str]:
        """Serve at a socket in that folder; the host for a URL."""
        server = await asyncio.start_unix_server(self._serve, folder / SOCKET)
        try:
            yield str(folder)
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_unix_connection(self._server)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pass_on(reader, upstream_writer))
                both.create_task(self._answer(upstream_reader, writer))
        except* ConnectionError:
            pass
        finally:
            for end in (writer, upstream_writer):
                end.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while said := await reader.read(65_536):
            writer.write(said)
            await writer.drain()
        raise ConnectionResetError

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass answers on, but for one that says that something was written, when it is its turn."""
        while answer := await reader.read(65_536):
            if b"workflow_all_or_nothing" not in answer and b"SELECT 1\0" in answer and self.cut_every:
                self.commits += 1
                if self.commits % self.cut_every == 0:
                    self.cuts += 1
                    raise ConnectionResetError
            with contextlib.suppress(ConnectionError):
                writer.write(answer)
                await writer.drain()
        raise ConnectionResetError
