"""What outlives the incarnations of one execution's actor."""

from __future__ import annotations

from perdure.actors.decider.course.schedule import WINDING_UP
from perdure.actors.effects.turn import Asker, Order
from perdure.actors.execution.actor import ExecutionActor
from perdure.actors.execution.relatives import Relatives
from perdure.actors.execution.services import Services
from perdure.actors.state import code
from perdure.actors.state.execution import ExecutionState
from perdure.store.states import State

Prepared = tuple[ExecutionState, list[Order]]  # a state that is durable, and what is to follow from it


class Slot:
    """The live incarnation, who waits for the execution, and what the next incarnation begins with."""

    __slots__ = ("actor", "epoch", "handed", "prepared", "waiters")

    def __init__(self, prepared: Prepared | None, epoch: int | None) -> None:
        """Begin with a state just made durable, with an execution claimed in `epoch`, or with neither."""
        self.actor: ExecutionActor | None = None
        self.prepared = prepared
        self.epoch = epoch
        self.waiters: list[Asker] = []
        self.handed: set[int] = set()  # inbox messages that are in its mailbox, or were

    def incarnate(self, services: Services, relatives: Relatives, execution_id: str) -> ExecutionActor:
        """The next incarnation; only the first finds a state prepared, or the execution claimed."""
        prepared, self.prepared = self.prepared, None
        epoch, self.epoch = self.epoch, None
        self.actor = ExecutionActor(
            services,
            execution_id,
            relatives=relatives,
            waiters=self.waiters,
            handed=self.handed,
            prepared=prepared,
            epoch=epoch,
        )
        return self.actor


def is_left_to_others(state: ExecutionState) -> bool:
    """Whether the execution could go on, in a process that has what it needs."""
    if code.is_here(state):
        return False
    return state.state is State.SCHEDULING or state.state in WINDING_UP
