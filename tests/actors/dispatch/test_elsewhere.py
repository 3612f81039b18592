"""Who waits for an execution in another process waits no longer than there is something to wait for."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from perdure.actors.dispatch.elsewhere import Elsewhere
from perdure.actors.messages import Cancel
from perdure.actors.outage import Outage
from perdure.runtime.testing.virtual import virtual_time
from perdure.store.errors import NotFound
from perdure.store.records import Runner
from perdure.store.writes import Write


class Emptied:
    """A store and its writer in one: it takes a message, and then its execution is deleted."""

    def __init__(self) -> None:
        """All is well with it."""
        self.outage = Outage()

    async def write(self, write: Write) -> int:
        """Its number."""
        return 1

    async def message(self, no: int) -> None:
        """It is gone with the execution."""

    async def execution(self, execution_id: str) -> None:
        """Gone."""


async def never(execution_id: str) -> None:
    """Nobody has an execution that is gone."""
    raise AssertionError(execution_id)


@virtual_time
async def test_a_command_to_an_execution_that_is_deleted_meanwhile_is_told_so():
    """Nobody will ever answer it."""
    store: Any = Emptied()
    services: Any = SimpleNamespace(store=store, writer=store, now_ms=lambda: 0)
    membership: Any = SimpleNamespace(id="here")
    at = datetime(2026, 1, 1, tzinfo=UTC)
    owner = Runner(
        no=1,
        id="there",
        pid=1,
        host="host",
        kind="worker",
        lock_path=None,
        doorbell=None,
        started_at=at,
        heartbeat_at=at,
    )
    elsewhere = Elsewhere(services, membership, on_orphan=never)
    with anyio.fail_after(60), pytest.raises(NotFound, match="deleted"):
        await elsewhere.ask("e1", Cancel(id="c1"), owner)
