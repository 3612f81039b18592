"""A Unix socket that only rings: what there is to know is in the store.

A line `ring ID` says that the inbox of that execution has mail, `work` that there may be something
to take up, `here` that a runner has joined. A line `watch ID` subscribes the connection: an empty
line comes back after each commit of that execution. When the runner dies the connection ends, which
is news as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import stat
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final, cast

import anyio
from anyio.lowlevel import cancel_shielded_checkpoint

from perdure.actors.kernel import faults, outside
from perdure.actors.log import get_logger

POLL_S: Final = 1.0  # how often a watcher looks all the same, where no bell can be heard
UNREAD_BYTES_MAX: Final = 65_536  # rings waiting for one watcher; past it further ones say nothing new
ACCEPT_CYCLES: Final = 4  # of the loop, which a connection needs from being accepted to being ended
LINE_BYTES_MAX: Final = 1_024  # an id is at most 128 characters

ID_CHARS: Final = 12  # of a runner's id in its socket's name: the node of a UUID, 48 bits of chance

log = get_logger("perdure.runner")

_hung = itertools.count()  # the bells this process has made


class Doorbell:
    """The bell of one runner."""

    def __init__(
        self,
        runner_id: str,
        *,
        on_ring: Callable[[str], None],
        on_work: Callable[[], None],
        on_company: Callable[[], None],
    ) -> None:
        """`on_ring` gets the id of an execution that has mail."""
        self._runner_id = runner_id
        self._on_ring = on_ring
        self._on_work = on_work
        self._on_company = on_company
        self._server: asyncio.Server | None = None
        self._watchers: dict[str, dict[_Caller, None]] = {}  # in the order they came, which no hash disturbs
        self._open: dict[_Caller, None] = {}
        self.path: str | None = None

    async def open(self) -> None:
        """Hang the bell; where there are no Unix sockets there is none, and others poll."""
        loop = asyncio.get_running_loop()
        if not hasattr(asyncio, "start_unix_server"):
            return
        try:
            path = _private_folder() / _name(self._runner_id)
            self._server = await loop.create_unix_server(lambda: _Caller(self), path)
            path.chmod(0o600)
        except OSError as error:
            log.warning("doorbell_not_hung", error=str(error))
            return
        self.path = str(path)

    async def close(self) -> None:
        """Take the bell down and end every connection, also one that is only just coming in."""
        server, self._server = self._server, None
        if server is None:
            return
        remove(self.path)  # nobody can come in any more
        for caller in list(self._open):
            caller.end()
        for _ in range(ACCEPT_CYCLES):  # asyncio leaks what it is accepting when its server is closed
            await cancel_shielded_checkpoint()
        server.close()

    def announce(self, execution_id: str) -> None:
        """Tell those who watch that execution that something was committed."""
        for caller in self._watchers.get(execution_id, ()):
            caller.tell()

    def _arrive(self, caller: _Caller) -> None:
        self._open[caller] = None
        if self._server is None:
            caller.end()

    def _leave(self, caller: _Caller) -> None:
        self._open.pop(caller, None)
        for execution_id in caller.watched:
            watchers = self._watchers.get(execution_id, {})
            watchers.pop(caller, None)
            if not watchers:
                self._watchers.pop(execution_id, None)

    def _hear(self, caller: _Caller, line: str) -> None:
        word, _, execution_id = line.partition(" ")
        if word == "ring":
            self._on_ring(execution_id)
        elif word == "work":
            self._on_work()
        elif word == "here":
            self._on_company()
        elif word == "watch":
            caller.watched.append(execution_id)
            self._watchers.setdefault(execution_id, {})[caller] = None
            caller.tell()


class _Caller(asyncio.Protocol):
    """One connection to the bell, from its first moment to its last: no task that could miss either."""

    def __init__(self, doorbell: Doorbell) -> None:
        self._doorbell = doorbell
        self._transport: asyncio.Transport | None = None
        self._unread = b""
        self.watched: list[str] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by name, but in all it does
        self._doorbell._arrive(self)  # noqa: SLF001 - its own module

    def data_received(self, data: bytes) -> None:
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            self._doorbell._hear(self, line.decode("ascii", "replace").strip())  # noqa: SLF001
        if len(self._unread) > LINE_BYTES_MAX:
            self.end()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - as asyncio calls it
        self._doorbell._leave(self)  # noqa: SLF001 - its own module

    def tell(self) -> None:
        """Send an empty line, unless a mass of them is unread."""
        transport = self._transport
        assert transport is not None
        if transport.get_write_buffer_size() < UNREAD_BYTES_MAX:
            transport.write(b"\n")

    def end(self) -> None:
        """Hang up, without waiting for somebody who does not read."""
        if self._transport is not None:
            self._transport.abort()


def _name(runner_id: str) -> str:
    """What a new bell's socket is called, like no other one's even where ids repeat, as seeded ones do.

    Short, for a socket's whole path has a hundred characters: processes of one system differ by their
    number, those of containers that share the folder by the end of an id that comes by chance.
    """
    return f"{os.getpid()}-{next(_hung)}-{runner_id[-ID_CHARS:]}.sock"


def _private_folder() -> Path:
    """Where sockets lie: a folder of this user's alone. Raises OSError when somebody else made it."""
    import tempfile  # noqa: PLC0415  for whoever hangs a bell, which to import this is not

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
            with contextlib.suppress(OSError):
                self._streams[1].write(f"{line}\n".encode("ascii", "replace"))
            if faults.hit is not None:
                faults.hit("doorbell.ring:after")

    async def flush(self) -> None:
        """Wait until what was said is on its way."""
        if self._streams is not None:
            with contextlib.suppress(OSError):
                await self._streams[1].drain()

    async def broken(self) -> None:
        """Return when the other end is gone; at once where there was none."""
        while self._streams is not None:
            try:
                if not await self._streams[0].readline():
                    self._hang_up()
            except (OSError, ValueError):
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
        except (OSError, ValueError):
            self._hang_up()

    def _hang_up(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
        self._streams = None


@contextlib.asynccontextmanager
async def call(path: str | None) -> AsyncIterator[Line]:
    """Connect to a runner's bell; where that cannot be done the line falls back to polling."""
    line = Line(None if path is None else await _connected(path))
    try:
        yield line
    finally:
        line._hang_up()  # noqa: SLF001 - its own module


async def _connected(path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
    """Connect; None where that cannot be done.

    Where a stopped runner has as many callers as the system keeps waiting, asyncio takes the refusal of one
    more for a connection: only the socket knows that nobody is at its other end.
    """
    try:
        with outside():
            streams = await asyncio.open_unix_connection(path, limit=LINE_BYTES_MAX)
    except OSError:
        return None
    try:
        streams[1].get_extra_info("socket").getpeername()
    except OSError:
        streams[1].close()
        return None
    return streams


async def _sleep(seconds: float) -> None:
    """Let loop time pass."""
    with anyio.move_on_after(seconds):
        await anyio.sleep_forever()
