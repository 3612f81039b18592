"""How often a question goes to the server and back: each way costs what the network takes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from perdure.store.postgres import PostgresStore
from perdure.store.scripts.reads import load_by_no
from perdure.store.states import StepState
from perdure.store.writes import TimerWrite

pytestmark = pytest.mark.anyio

SOCKET = ".s.PGSQL.5432"


class Wire:
    """What lies between a store and its server, and counts what is sent there."""

    def __init__(self, server: Path) -> None:
        """Nothing has been sent."""
        self._server = server / SOCKET
        self.sent = 0

    @asynccontextmanager
    async def laid(self, folder: Path) -> AsyncIterator[None]:
        """Serve at a socket in that folder."""
        server = await asyncio.start_unix_server(self._serve, folder / SOCKET)
        yield
        server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_unix_connection(self._server)
        with contextlib.suppress(asyncio.CancelledError, OSError):
            await asyncio.gather(self._carry(reader, to_server, 1), self._carry(from_server, writer, 0))

    async def _carry(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, counts: int) -> None:
        while words := await source.read(1 << 20):
            self.sent += counts
            target.write(words)
            await target.drain()
        target.close()


@pytest.fixture
async def wire(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Any]:
    """A wire, and a store at its end."""
    head, _, folder = postgres_url.partition("host=")
    server, _, options = folder.partition("&")
    if not (Path(server) / SOCKET).exists():
        pytest.skip("the server is not at a socket of its own")
    place = tmp_path_factory.mktemp("w")
    wire = Wire(Path(server))
    async with wire.laid(place):
        store = PostgresStore(f"{head}host={place}&{options}")
        await store.open()
        yield wire, store
        await store.close()


async def test_an_execution_is_taken_up_in_one_question(wire: Any, book_of: Any) -> None:
    """Between the beginning and the end of its transaction; each table asked alone made it nine."""
    wire, store = wire
    book = book_of(store)
    execution = await book.start()
    timers = (TimerWrite("wait", 1, 7), TimerWrite("retry", 0, 5))
    attempts = (book.outcome(0), book.attempt(2), book.attempt(1))
    await book.move(execution, attempts=attempts, timers=timers)
    await store.load("e1")  # prepares it
    wire.sent = 0
    loaded = await store.load("e1")
    assert wire.sent == 3
    assert [each.state for each in loaded.attempts] == [StepState.COMPLETED, *[StepState.RUNNING] * 2]
    assert [timer.kind for timer in loaded.timers] == ["retry", "wait"]
    assert (loaded.inbox, loaded.signals, loaded.approvals, loaded.loops) == ((), (), (), ())
    assert await store._ask(load_by_no(loaded.execution.no)) == loaded
    assert await store.load("nobody") is None
