"""Takes an execution from the store: as its new owner, or once more."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from perdure.actors.execution.reading import read_back
from perdure.actors.execution.services import Services
from perdure.actors.state.execution import ExecutionState
from perdure.store.claims import Claimed, ClaimFree
from perdure.store.errors import Conflict, LeaseLost, NotFound
from perdure.store.protocol import Answer
from perdure.store.records import Execution, Loaded
from perdure.store.writes import Claim


async def claim(services: Services, execution_id: str) -> Loaded:
    """Take over an execution that nobody owns, or this runner itself; answer all there is to know of it.

    While the store is down it waits. Raises NotFound, and LeaseLost when another runner has it.
    """
    execution = await _claimable(services, execution_id)
    try:
        return await _claim_listed(services, execution)
    except LeaseLost:  # a sweep of this very runner may have been faster: what it took is ours
        return await _claim_listed(services, await _claimable(services, execution_id))


async def _claimable(services: Services, execution_id: str) -> Execution:
    """The execution, unless another runner has it."""
    await services.writer.outage.over()
    execution = await services.store.execution(execution_id)
    if execution is None:
        raise NotFound("execution", execution_id)
    if execution.runner not in (None, services.membership.id):
        raise LeaseLost(execution_id, held_epoch=execution.epoch - 1, current_epoch=execution.epoch)
    return execution


async def _claim_listed(services: Services, execution: Execution) -> Loaded:
    """Claim it as the runner that is on the list, entering it anew where others took us off."""
    claimed = await services.membership.as_listed(partial(_claim, services, execution))
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


async def claim_free(services: Services, execution_nos: Sequence[int]) -> dict[str, int]:
    """Take over those of these executions that are still free; the epoch of each by its id.

    While the store is down it waits. Raises OutcomeUnknown when it cannot be told what was taken.
    """
    claimed = await services.membership.as_listed(partial(_claim_free, services, execution_nos))
    assert isinstance(claimed, Claimed)
    return claimed.epochs


async def _claim_free(services: Services, execution_nos: Sequence[int], runner_no: int) -> Answer:
    wish = ClaimFree(execution_nos=tuple(execution_nos), runner_no=runner_no, at=services.now_ms())
    return await services.writer.write(wish, is_patient=True)


async def read_claimed(services: Services, execution_id: str, epoch: int) -> Loaded:
    """All there is to know of an execution that was claimed in that epoch.

    While the store is down it waits. Raises NotFound, and LeaseLost when another runner has it by now.
    """
    loaded = await read_back(services, lambda store: store.load(execution_id))
    if loaded is None:
        raise NotFound("execution", execution_id)
    if loaded.execution.epoch != epoch:
        raise LeaseLost(execution_id, held_epoch=epoch, current_epoch=loaded.execution.epoch)
    return loaded


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
