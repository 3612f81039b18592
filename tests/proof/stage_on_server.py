"""The stage on PostgreSQL: the same play, with the facts in a schema of a real server.

Virtual time stands still while a session waits for the server, as it does for a thread. Whoever is
killed loses its sessions and is known to be dead at once: on a real machine its process number tells
so, and here all processes have the same one.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import pytest
from stage import Stage

from perdure.actors.cluster import membership
from perdure.actors.kernel import outside
from perdure.runtime.testing import RuntimeProcess
from perdure.store.postgres import PostgresStore
from perdure.store.postgres.link import Link
from perdure.store.records import Runner


class ServerStage(Stage):
    """Processes that share a schema, which nobody has used."""

    def __init__(self, url: str, *, seed: int) -> None:
        """Nobody is open yet."""
        super().__init__(url, seed=seed)
        self._opened: list[RuntimeProcess] = []
        self._patch = pytest.MonkeyPatch()
        self._patch.setattr(membership, "is_alive", self._is_alive)
        hold_clock_for_server(self._patch.setattr)

    def leave(self) -> None:
        """Close whoever is open, and the loop."""
        try:
            super().leave()
        finally:
            self._patch.undo()

    def _make(self, name: str, *, seed: str) -> RuntimeProcess:
        store = MortalStore(self._location)
        process = RuntimeProcess(self._location, name=name, seed=seed, workflows=self._workflows, store=store)
        store.process = process
        self._opened.append(process)
        return process

    def _is_alive(self, runner: Runner, **_: Any) -> bool:
        """Whether the process lives that has made the runner's id."""
        return any(process.is_alive and process.has_made(runner.id) for process in self._opened)


class MortalStore(PostgresStore):
    """A store whose sessions end with its process, without a good-bye."""

    process: RuntimeProcess

    async def close(self) -> None:
        """Let go of every session; those of the dead are gone."""
        if self.process.is_alive:
            await super().close()


def hold_clock_for_server(setattr: Callable[[Any, str, Any], None] = setattr) -> None:
    """Have virtual time stand still while a session is waited for, from here on or as `setattr` keeps it."""
    setattr(Link, "_connect", _holding(Link._connect))


def _holding(connect: Any) -> Any:
    """Connect, with the clock held for as long as the server is waited for, then and later."""

    async def connected(link: Link, settings: dict[str, str]) -> Any:
        with outside():
            connection = await connect(link, settings)
        connection._protocol = _Holding(connection._protocol)
        return connection

    return connected


class _Holding:
    """A session's protocol; whoever waits for it holds the clock."""

    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._protocol, name)
        if not inspect.iscoroutinefunction(found):
            return found

        @functools.wraps(found)
        async def waited_for(*args: Any, **kwargs: Any) -> Any:
            with outside():
                return await found(*args, **kwargs)

        return waited_for
