"""Takes an execution from the store: as its new owner, or once more."""

from __future__ import annotations

from perdure.actors.services import Services
from perdure.actors.state import ExecutionState
from perdure.store.errors import Conflict, LeaseLost, NotFound
from perdure.store.protocol import Answer
from perdure.store.records import Execution, Loaded
from perdure.store.writes import Claim


async def claim(services: Services, execution_id: str) -> Loaded:
    """Take over an execution that nobody owns, or this runner itself; answer all there is to know of it.

    While the store is down it waits. Raises NotFound, and LeaseLost when another runner has it.
    """
    await services.writer.outage.over()
    execution = await services.store.execution(execution_id)
    if execution is None:
        raise NotFound("execution", execution_id)
    if execution.runner not in (None, services.membership.id):
        raise LeaseLost(execution_id, held_epoch=execution.epoch - 1, current_epoch=execution.epoch)
    runner_no = services.membership.no
    try:
        claimed = await _claim(services, execution, runner_no)
    except NotFound as error:
        if error.kind != "runner":
            raise
        await services.membership.rejoin(runner_no)
        claimed = await _claim(services, execution, services.membership.no)
    assert isinstance(claimed, Loaded)
    return claimed


async def _claim(services: Services, execution: Execution, runner_no: int) -> Answer:
    wish = Claim(
        execution_no=execution.no,
        execution_id=execution.id,
        epoch=execution.epoch,
        runner_no=runner_no,
        at=services.now_ms(),
    )
    try:
        return await services.writer.write(wish, is_patient=True)
    except Conflict as lost:
        raise LeaseLost(execution.id, held_epoch=lost.expected, current_epoch=lost.current) from None


async def read_again(services: Services, state: ExecutionState) -> ExecutionState:
    """The state as the store has it, in place of one that has moved on without being written.

    Raises LeaseLost when another runner has taken the execution over meanwhile.
    """
    loaded = await services.store.load(state.id)
    assert loaded is not None
    _check_epoch(state, loaded.execution)
    return ExecutionState.fold(state.plan, loaded)


async def check_lease(services: Services, state: ExecutionState) -> None:
    """Raise LeaseLost, which ends the actor and every body of it, unless the execution is still ours."""
    execution = await services.store.execution(state.id)
    if execution is None:
        raise NotFound("execution", state.id)
    _check_epoch(state, execution)


def _check_epoch(state: ExecutionState, execution: Execution) -> None:
    if execution.epoch != state.epoch:
        raise LeaseLost(state.id, held_epoch=state.epoch, current_epoch=execution.epoch)
