"""Virtual time for the kernel's tests, and actors whose every move is written down."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest

from perdure.actors.kernel import Actor, ChildExit, ChildSpec, DeadLetter, Reply, Stuck, Supervisor
from perdure.actors.kernel.testing import VirtualLoop


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """Run every async test on a loop with virtual time."""
    return "asyncio", {"loop_factory": VirtualLoop}


class Log:
    """What a supervisor and its actors did."""

    def __init__(self) -> None:
        """Nothing has happened."""
        self.lines: list[Any] = []
        self.exits: list[ChildExit] = []
        self.dead: list[DeadLetter] = []
        self.stuck: list[Stuck] = []

    def supervisor(self, **options: Any) -> Supervisor:
        """A supervisor without jitter that writes to this log."""
        return Supervisor(
            name="boss",
            random=lambda: 0.0,
            on_exit=self.exits.append,
            on_dead_letter=self.dead.append,
            on_stuck=self.stuck.append,
            **options,
        )

    def spec(self, name: str = "worker", **options: Any) -> ChildSpec[Any]:
        """A worker that does what its messages say."""
        return ChildSpec(name=name, factory=lambda: Worker(self, name), **options)

    @staticmethod
    def living(name: str, life: Any, **options: Any) -> ChildSpec[Any]:
        """A child that lives the given life."""
        return ChildSpec(name=name, factory=lambda: Explicit(life), **options)


class Explicit(Actor[Any]):
    """An actor whose whole life is given as a function."""

    def __init__(self, life: Any) -> None:
        """`life` is called with the actor and awaited."""
        self._life = life

    async def run(self) -> None:
        """Live it."""
        await self._life(self)


class Worker(Actor[Any]):
    """Does what a message says: a callable is called, a number slept, anything else answered."""

    def __init__(self, log: Log, name: str) -> None:
        """`log` is where it writes."""
        self._log = log
        self._name = name

    async def started(self) -> None:
        """Write it down."""
        self._log.lines.append(f"{self._name} started")

    async def receive(self, message: Any, reply: Reply | None) -> None:
        """Do what the message says."""
        self._log.lines.append(message)
        if isinstance(message, BaseException):
            raise message
        if isinstance(message, (int, float)):
            await anyio.sleep(message)
        elif isinstance(message, Callable):
            message(reply)
            return
        if reply is not None:
            reply.answer(message)

    async def stopped(self) -> None:
        """Write it down."""
        self._log.lines.append(f"{self._name} stopped")


@pytest.fixture
def log() -> Log:
    """An empty log."""
    return Log()
