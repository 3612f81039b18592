"""Unix sockets in memory: lines may be late, lost or doubled, and streams break when a process dies."""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simulation.loop import SimulatedLoop

Delays = Callable[[Random], list[float]]


class Network:
    """Every socket of the simulated machine."""

    def __init__(self, loop: SimulatedLoop) -> None:
        """Reliable until `delays` is replaced."""
        self.loop = loop
        self.delays: Delays = at_once
        self._context = contextvars.copy_context()
        self._servers: dict[str, Server] = {}
        self._ends: list[End] = []
        self._connections = 0

    def listen(self, path: str, factory: Callable[[], Any]) -> Server:
        """Bind a socket: its file appears."""
        Path(path).touch()
        server = Server(self, path, factory)
        self._servers[path] = server
        return server

    def connect(self, path: str, factory: Callable[[], Any]) -> tuple[End, Any]:
        """Connect to whoever listens there."""
        server = self._servers.get(path)
        if server is None:
            raise ConnectionRefusedError(path) if Path(path).exists() else FileNotFoundError(path)
        self._connections += 1
        protocol = factory()
        here = End(self, protocol, contextvars.copy_context(), f"{self._connections} out")
        there = End(self, server.factory, server.context, f"{self._connections} in")
        here.peer, there.peer = there, here
        self._ends += [here, there]
        protocol.connection_made(here)
        self.loop.call_soon(there.accept, context=there.context)
        return here, protocol

    def cut(self, belongs: Callable[[contextvars.Context], bool]) -> None:
        """Break everything that those contexts hold, as the kernel does when their process dies."""
        for path, server in list(self._servers.items()):
            if belongs(server.context):
                del self._servers[path]
        for end in self._ends:
            if belongs(end.context) and not end.is_closing():
                end.vanish()
        self._ends = [end for end in self._ends if not end.is_closing()]

    def close(self, server: Server) -> None:
        """Listen there no more."""
        if self._servers.get(server.path) is server:
            del self._servers[server.path]

    @property
    def open_ends(self) -> int:
        """How many ends of connections nobody has closed."""
        return sum(not end.is_closing() for end in self._ends)

    def call_at(self, when: float, arrive: Callable[..., None], *args: Any) -> None:
        """Do something on nobody's behalf."""
        self.loop.call_at(when, arrive, *args, context=self._context)


class Server:
    """A bound socket."""

    def __init__(self, network: Network, path: str, factory: Callable[[], Any]) -> None:
        """Made by `Network.listen`."""
        self.path = path
        self.factory = factory
        self.context = contextvars.copy_context()
        self._network = network

    def close(self) -> None:
        """Take no more connections."""
        self._network.close(self)


class End(asyncio.Transport):
    """One end of a connection."""

    def __init__(self, network: Network, protocol: Any, context: contextvars.Context, name: str) -> None:
        """`protocol` is a factory until the connection is accepted; `name` seeds what befalls the lines."""
        super().__init__()
        self.context = context
        self.peer: End
        self._network = network
        self._protocol = protocol
        self._chance = Random(f"{network.loop.seed} {name}")
        self._is_accepted = name.endswith("out")
        self._is_closed = False
        self._busy_until = 0.0
        self._under_way: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()

    def accept(self) -> None:
        """In the listening process: the connection has come."""
        if not self._is_closed:
            self._protocol = self._protocol()
            self._is_accepted = True
            self._protocol.connection_made(self)

    def write(self, data: bytes) -> None:
        """Send; how often and how late it arrives is the network's business."""
        if not self._is_closed:
            for delay in self._network.delays(self._chance):
                self._send(self.peer._receive, data, delay=delay)

    def close(self) -> None:
        """End the connection; what was sent still arrives."""
        if self._is_closed:
            return
        self._is_closed = True
        self._send(self.peer._end)
        if self._is_accepted:
            self._network.loop.call_soon(self._protocol.connection_lost, None, context=self.context)

    def abort(self) -> None:
        """The same."""
        self.close()

    def vanish(self) -> None:
        """Its process is dead: the other end finds out."""
        self._is_closed = True
        self._send(self.peer._end)

    def is_closing(self) -> bool:
        """Whether it was closed."""
        return self._is_closed

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """It is its own socket; more is not known."""
        return self if name == "socket" else default

    def getpeername(self) -> str:
        """What it is connected to bears no name."""
        return ""

    def get_write_buffer_size(self) -> int:
        """Nothing waits here."""
        return 0

    def get_protocol(self) -> Any:
        """Whoever reads this end."""
        return self._protocol

    def set_protocol(self, protocol: Any) -> None:
        """Let another read this end."""
        self._protocol = protocol

    def pause_reading(self) -> None:
        """A line more or less does no harm."""

    def resume_reading(self) -> None:
        """Nothing was paused."""

    def _send(self, arrive: Callable[..., None], *args: Any, delay: float = 0.0) -> None:
        """Let something arrive at the other end, in the order of sending, in that end's process."""
        loop, peer = self._network.loop, self.peer
        self._busy_until = max(loop.time() + delay, self._busy_until)
        self._under_way.append((arrive, args))
        if self._busy_until <= loop.time():
            loop.call_soon(self._arrive, context=peer.context)
            return
        self._network.call_at(self._busy_until, lambda: loop.call_soon(self._arrive, context=peer.context))

    def _arrive(self) -> None:
        """The next of what is under way arrives: whoever is called first, it is the oldest."""
        arrive, args = self._under_way.popleft()
        arrive(*args)

    def _receive(self, data: bytes) -> None:
        if not self._is_closed and self._is_accepted:
            self._protocol.data_received(data)

    def _end(self) -> None:
        if not self._is_closed and self._is_accepted:
            self._protocol.eof_received()


def at_once(_: Random) -> list[float]:
    """What is written arrives."""
    return [0.0]
