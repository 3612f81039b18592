"""Recovery begins again after a crash of its own as if it had never been at work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from perdure.actors.cluster.doorbell import Doorbell
from perdure.actors.dispatch.recovery import Recovery
from perdure.actors.kernel import Alarms
from perdure.store.records import Runner

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not hasattr(asyncio, "start_unix_server"), reason="no Unix sockets"),
]


class Empty:
    """A store in which nothing is to be done; `crashes` is set for its next question to fail."""

    crashes = False

    async def mail(self, **_: Any) -> list[Any]:
        """Nobody has any."""
        if self.crashes:
            self.crashes = False
            raise ZeroDivisionError("nobody has thought of it")
        return []

    async def next_due(self, **_: Any) -> None:
        """Never."""


def runner(doorbell: str | None) -> Runner:
    """Another one, who lives."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return Runner(
        no=1,
        id="there",
        pid=1,
        host="host",
        kind="worker",
        lock_path=None,
        doorbell=doorbell,
        started_at=at,
        heartbeat_at=at,
        lease_ms=30_000,
    )


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop go on until something holds."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - the loop itself is what has to go on
            await asyncio.sleep(0)


async def test_the_bells_of_others_are_listened_to_again_after_a_crash():
    """Or nobody would hear of a death before the next sweep, for as long as the process lives."""
    bell = Doorbell("there", on_ring=print, on_work=print, on_company=print)
    await bell.open()

    async def living() -> list[Runner]:
        return [runner(bell.path)]

    store = Empty()
    services: Any = SimpleNamespace(store=store, alarms=Alarms(), now_ms=lambda: 0)
    executions: Any = SimpleNamespace(is_idle=False, room=0, max_active=1)
    membership: Any = SimpleNamespace(no=2, living=living)
    recovery = Recovery(services, executions, cast("Any", None), membership)
    first = asyncio.create_task(recovery.run())
    await until(lambda: len(bell._open) == 1)
    store.crashes = True
    recovery.ask()
    await asyncio.wait([first])
    assert isinstance(first.exception(), ExceptionGroup)
    await until(lambda: not bell._open)
    second = asyncio.create_task(recovery.run())
    await until(lambda: len(bell._open) == 1)
    second.cancel()
    await asyncio.wait([second])
    await bell.close()
