"""What is to be learnt from the store, also when it has to come back first."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from perdure.actors.bus import Outcome
from perdure.actors.execution.publishing import outcome_of
from perdure.actors.execution.services import Services
from perdure.actors.state.execution import ExecutionState
from perdure.store.errors import NotFound, StoreUnavailable
from perdure.store.protocol import Store

T = TypeVar("T")


async def read_back(services: Services, read: Callable[[Store], Awaitable[T]]) -> T:
    """What `read` finds in the store, as soon as it can be read. Raises what will not pass by itself."""
    writer = services.writer
    while True:
        await writer.outage.over()
        try:
            return await read(services.store)
        except StoreUnavailable as error:
            writer.suspect(error)


async def stored_outcome(services: Services, execution_id: str) -> Outcome | None:
    """How an execution ended, from the store; None while it has not. Raises NotFound."""
    loaded = await services.store.load(execution_id)
    if loaded is None:
        raise NotFound("execution", execution_id)
    if not loaded.execution.is_terminal:
        return None
    plan = await services.plans.plan(loaded.execution.workflow_no)
    return outcome_of(ExecutionState.fold(plan, loaded))
