"""What is to be learnt from the store, also when it has to come back first."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from perdure.actors.bus import Outcome
from perdure.actors.execution.publishing import outcome_of
from perdure.actors.execution.services import Services
from perdure.actors.messages import RestorePoint
from perdure.actors.state.execution import ExecutionState
from perdure.actors.writer import OUTAGES
from perdure.store.errors import NotFound
from perdure.store.protocol import Store
from perdure.store.scripts.questions import Questions
from perdure.store.states import State

T = TypeVar("T")
NAMES_MAX: Final = 10  # checkpoints that a refusal names


async def read_back(services: Services, read: Callable[[Store], Awaitable[T]]) -> T:
    """What `read` finds in the store, as soon as it can be read. Raises what will not pass by itself.

    A dead runner that it takes off the list on its way it may take off once more.
    """
    writer = services.writer
    while True:
        await writer.outage.over()
        try:
            return await read(services.store)
        except OUTAGES as error:
            writer.suspect(error)


async def stored_outcome(services: Services, execution_id: str) -> Outcome | None:
    """How an execution ended, from the store; None while it has not. Raises NotFound."""
    found = await services.store.load_ended(execution_id)
    if found is None:
        raise NotFound("execution", execution_id)
    if isinstance(found, State):
        return None
    plan = await services.plans.plan(found.execution.workflow_no)
    return outcome_of(ExecutionState.fold(plan, found))


async def find_restore_point(
    store: Store | Questions, execution_id: str, wanted: str | int
) -> RestorePoint | NotFound:
    """The outcomes and the context at a checkpoint, by its label (the newest one) or its version.

    The word `latest` stands for the newest checkpoint unless one is labelled so.
    """
    found = await store.checkpoint(execution_id, wanted)
    if found is None:
        newest = await store.checkpoints(execution_id, limit=NAMES_MAX)
        if wanted != "latest" or not newest:
            names = ", ".join(str(checkpoint.label or checkpoint.version) for checkpoint in newest)
            return NotFound("checkpoint", wanted, hint=f"there are: {names or 'none'}")
        found = newest[0]
    outcomes = await store.fold(execution_id, found.version)
    context = await store.context_at(execution_id, found.version)
    signals = await store.signals_taken(execution_id, after=found.version)
    return RestorePoint(found.version, found.label, tuple(outcomes), context, signals)
