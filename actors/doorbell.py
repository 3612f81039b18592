"""A Unix socket that only rings: what there is to know is in the store.

A line `ring ID` says that the inbox of that execution has mail, `work` that there may be something
to take up. A line `watch ID` subscribes the connection: an empty line comes back after each commit
of that execution. When the runner dies the connection ends, which is news as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

import anyio

from perdure.actors.kernel import faults, outside
from perdure.actors.log import get_logger

POLL_S: Final = 1.0  # how often a watcher looks all the same, where no bell can be heard
UNREAD_BYTES_MAX: Final = 65_536  # rings waiting for one watcher; past it further ones say nothing new
LINE_BYTES_MAX: Final = 1_024  # an id is at most 128 characters

log = get_logger("perdure.runner")


class Doorbell:
    """The bell of one runner."""

    def __init__(
        self, runner_id: str, *, on_ring: Callable[[str], None], on_work: Callable[[], None]
    ) -> None:
        """`on_ring` gets the id of an execution that has mail."""
        self._runner_id = runner_id
        self._on_ring = on_ring
        self._on_work = on_work
        self._server: asyncio.Server | None = None
        self._watchers: dict[str, set[asyncio.StreamWriter]] = {}
        self._open: set[asyncio.StreamWriter] = set()
        self.path: str | None = None

    async def open(self) -> None:
        """Hang the bell; where there are no Unix sockets there is none, and others poll."""
        if not hasattr(asyncio, "start_unix_server"):
            return
        try:
            path = _private_folder() / f"{self._runner_id}.sock"
            self._server = await asyncio.start_unix_server(self._serve, path, limit=LINE_BYTES_MAX)
            path.chmod(0o600)
        except OSError as error:
            log.warning("doorbell_not_hung", error=str(error))
            return
        self.path = str(path)

    async def close(self) -> None:
        """Take the bell down and end every connection."""
        if self._server is None:
            return
        self._server.close()
        for writer in list(self._open):
            writer.close()
        remove(self.path)
        self._server = None

    def announce(self, execution_id: str) -> None:
        """Tell those who watch that execution that something was committed."""
        for writer in self._watchers.get(execution_id, ()):
            if writer.transport.get_write_buffer_size() < UNREAD_BYTES_MAX:
                writer.write(b"\n")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        watched: list[str] = []
        self._open.add(writer)
        try:
            while line := (await reader.readline()).decode("ascii", "replace").strip():
                word, _, execution_id = line.partition(" ")
                if word == "ring":
                    self._on_ring(execution_id)
                elif word == "work":
                    self._on_work()
                elif word == "watch":
                    watched.append(execution_id)
                    self._watchers.setdefault(execution_id, set()).add(writer)
                    writer.write(b"\n")
        except (ConnectionError, ValueError):
            return
        finally:
            self._open.discard(writer)
            for execution_id in watched:
                watchers = self._watchers.get(execution_id, set())
                watchers.discard(writer)
                if not watchers:
                    self._watchers.pop(execution_id, None)
            writer.close()


def _private_folder() -> Path:
    """Where sockets lie: a folder of this user's alone. Raises OSError when somebody else made it."""
    folder = Path(tempfile.gettempdir()) / f"perdure-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077 or not stat.S_ISDIR(found.st_mode):
        raise PermissionError(f"{folder} is not a folder of this user's alone")
    return folder


def remove(path: str | None) -> None:
    """Remove a file that was a runner's; one that is gone already, or is another user's, is left."""
    if path is not None:
        with contextlib.suppress(OSError):
            Path(path).unlink()


class Line:
    """A connection to another runner's bell; without one it is a clock that ticks every POLL_S."""

    def __init__(self, streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None) -> None:
        """Made by `call`."""
        self._streams = streams

    @property
    def is_connected(self) -> bool:
        """Whether a runner is at the other end."""
        return self._streams is not None

    def say(self, line: str) -> None:
        """Send one line; nobody listening is no error."""
        if self._streams is not None:
            if faults.hit is not None:
                faults.hit("doorbell.ring:before")
            with contextlib.suppress(ConnectionError):
                self._streams[1].write(f"{line}\n".encode("ascii", "replace"))
            if faults.hit is not None:
                faults.hit("doorbell.ring:after")

    async def flush(self) -> None:
        """Wait until what was said is on its way."""
        if self._streams is not None:
            with contextlib.suppress(ConnectionError):
                await self._streams[1].drain()

    async def broken(self) -> None:
        """Return when the other end is gone; at once where there was none."""
        while self._streams is not None:
            try:
                if not await self._streams[0].readline():
                    self._hang_up()
            except (ConnectionError, ValueError):
                self._hang_up()

    async def wait(self) -> None:
        """Return when something was committed, the runner has died, or POLL_S have passed."""
        if self._streams is None:
            await _sleep(POLL_S)
            return
        try:
            async with asyncio.timeout(POLL_S):
                if not await self._streams[0].readline():
                    self._hang_up()
        except TimeoutError:
            return
        except (ConnectionError, ValueError):
            self._hang_up()

    def _hang_up(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
        self._streams = None


@contextlib.asynccontextmanager
async def call(path: str | None) -> AsyncIterator[Line]:
    """Connect to a runner's bell; where that cannot be done the line falls back to polling."""
    streams = None
    if path is not None:
        with contextlib.suppress(OSError), outside():
            streams = await asyncio.open_unix_connection(path, limit=LINE_BYTES_MAX)
    line = Line(streams)
    try:
        yield line
    finally:
        line._hang_up()  # noqa: SLF001 - its own module


async def _sleep(seconds: float) -> None:
    """Let loop time pass."""
    with anyio.move_on_after(seconds):
        await anyio.sleep_forever()
