"""Takes an execution from the store: as its new owner, or once more."""

from __future__ import annotations

from perdure.actors.services import Services
from perdure.actors.state import ExecutionState
from perdure.store.errors import Conflict, LeaseLost, NotFound
from perdure.store.records import Loaded
from perdure.store.writes import Claim


async def claim(services: Services, execution_id: str) -> Loaded:
    """Take the execution over and answer all there is to know of it.

    While the store is down it waits. Raises NotFound, and LeaseLost when another runner was faster:
    it has the execution.
    """
    await services.writer.outage.over()
    loaded = await services.store.load(execution_id)
    if loaded is None:
        raise NotFound("execution", execution_id)
    execution = loaded.execution
    wish = Claim(
        execution_no=execution.no,
        execution_id=execution.id,
        epoch=execution.epoch,
        runner_no=services.runner_no,
        at=services.now_ms(),
    )
    try:
        claimed = await services.writer.write(wish, is_patient=True)
    except Conflict as lost:
        raise LeaseLost(execution_id, held_epoch=lost.expected, current_epoch=lost.current) from None
    assert isinstance(claimed, Loaded)
    return claimed


async def read_again(services: Services, state: ExecutionState) -> ExecutionState:
    """The state as the store has it, in place of one that has moved on without being written."""
    loaded = await services.store.load(state.id)
    assert loaded is not None
    return ExecutionState.fold(state.plan, loaded)
