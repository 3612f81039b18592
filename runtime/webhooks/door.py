"""The calls of webhooks as people see them, and the task that makes them."""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio

from perdure.runtime.arguments import InvalidArgument, at_least_one
from perdure.runtime.webhooks.courier import LOOK_S, Courier
from perdure.store.scripts.deliveries import DEAD, DELIVERED, PENDING, Delivery, RepeatDelivery

if TYPE_CHECKING:
    from perdure.runtime.runtime import Runtime

STATES = (PENDING, DELIVERED, DEAD)
FLUSH_S = 2.0  # a runtime that closes makes the calls that are due, if it takes no longer


class Webhooks:
    """What can be done with the calls of webhooks."""

    def __init__(self, runtime: Runtime) -> None:
        """Made by `Runtime.webhooks`."""
        self._runtime = runtime

    async def list(self, *, state: str | None = None, limit: int = 50) -> builtins.list[Delivery]:
        """Calls, newest first: all, or those that are `pending`, `delivered` or `dead`."""
        if state is not None and state not in STATES:
            raise InvalidArgument(f"state is {state!r}: it is one of {', '.join(STATES)}")
        at_least_one(limit, what="limit")
        return await self._runtime.store.deliveries(state=state, limit=limit)

    async def repeat(self, delivery_id: str) -> None:
        """Let a call be made once more, under its id; tries begin anew. Raises NotFound."""
        services = self._runtime.machine.services
        await services.writer.write(RepeatDelivery(id=delivery_id, at=services.now_ms()))
        services.outbox.on_mail()
        await self._runtime.ring_workers()


@asynccontextmanager
async def couriered(runtime: Runtime, *, delivers: bool) -> AsyncIterator[None]:
    """Make the calls in that runtime's outbox, where it `delivers`; its machine has been assembled."""
    if not delivers:
        yield
        return
    services = runtime.machine.services
    courier = Courier(services, post=runtime.seams.post, look_s=LOOK_S * runtime.seams.patience)
    async with anyio.create_task_group() as group:
        runtime.machine.listen(courier.ask)
        services.helpers(group).keep(courier.run, name="webhooks")
        yield
        group.cancel_scope.deadline = anyio.current_time() + FLUSH_S
        courier.close()
