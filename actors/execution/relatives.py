"""What is done for the children and the parent of an execution: they are started, and told of messages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from perdure.actors.decider.course.schedule import STOPPING
from perdure.actors.effects.orders import StartChild, UndoChild
from perdure.actors.errors import ChildNotStarted, RuntimeClosed, error_of
from perdure.actors.execution.services import Services
from perdure.actors.execution.starting import NewExecution
from perdure.actors.messages import ChildRefused, ChildStarted
from perdure.actors.state.execution import ExecutionState
from perdure.store.errors import LeaseLost, OutcomeUnknown, PerdureError, StoreUnavailable
from perdure.store.records import Kin

DEPTH_MAX: Final = 16  # generations above a child: deeper is a workflow that starts itself without end
CHILDREN_MAX: Final = 10_000  # of one execution; who has more to do for each of many items has forEach


class Relatives:
    """Shared by all executions of a runtime."""

    def __init__(
        self,
        services: Services,
        *,
        start: Callable[[NewExecution], Awaitable[bool]],
        ring: Callable[[str], None],
        undo: Callable[[str, UndoChild], None],
    ) -> None:
        """`start` makes an execution durable, `ring` sees that whoever performs one reads its inbox.

        `undo` has a child rolled back for its parent, which hears of it.
        """
        self._services = services
        self._start = start
        self.ring = ring
        self.undo = undo

    async def start(self, parent: ExecutionState, order: StartChild) -> ChildStarted | ChildRefused:
        """Start a child, unless it is there already; what became of it is for the parent to take.

        Waits while the store is down. While the parent comes to rest or to its end it is only looked
        for. Raises LeaseLost when the parent is no longer ours: whoever has it starts the child.
        """
        while True:
            try:
                exists = await self._find(parent, order) or await self._begin(parent, order)
            except (StoreUnavailable, OutcomeUnknown) as error:
                self._services.writer.suspect(error)
                await self._services.writer.outage.over()
            except LeaseLost:
                raise
            except PerdureError as error:
                return _refused(order, error)
            else:
                return ChildStarted(step_no=order.step_no, child=order.child, exists=exists)

    async def _find(self, parent: ExecutionState, order: StartChild) -> bool:
        """Whether the child is there. Raises ChildNotStarted where its id is somebody else's."""
        found = await self._services.store.execution(order.child)
        if found is not None and found.parent_id != parent.id:
            raise ChildNotStarted(order.wait.workflow, why=f"another execution has the id {order.child}")
        return found is not None

    async def _begin(self, parent: ExecutionState, order: StartChild) -> bool:
        """Start it; False when that is not to be: the parent stops, or the runtime closes."""
        if parent.state in STOPPING:
            return False
        wait = order.wait
        kin = await self._services.store.kin(parent.id, limit=CHILDREN_MAX)
        _check_room(parent.id, kin, wait.workflow)
        plan, context = await self._services.plans.callee(
            wait.workflow, version=wait.version, context=order.context
        )
        new = NewExecution(
            id=order.child,
            plan=plan,
            context=context,
            trace_id=parent.trace_id,
            priority=kin.priority,
            triggered_by=f"step {parent.plan.steps[order.step_no].key}",
            parent_id=parent.id,
            parent_step=order.step_no if wait.waits else None,
            parent_epoch=parent.epoch,
            agents=parent.agents,
            timeout_ms=order.timeout_ms,
            is_detached=not plan.is_performable,
        )
        try:
            await self._start(new)
        except RuntimeClosed:
            return False
        return True


def _check_room(parent: str, kin: Kin, workflow: str) -> None:
    """Refuse what grows without end. Raises ChildNotStarted."""
    if kin.depth + 1 > DEPTH_MAX:
        why = f"it would be {kin.depth + 1} deep, and at most {DEPTH_MAX} may be: does it start itself?"
        raise ChildNotStarted(workflow, why=why)
    if kin.children >= CHILDREN_MAX:
        why = f"execution {parent} has started {CHILDREN_MAX:,} already, which is as many as one may"
        raise ChildNotStarted(workflow, why=why)


def _refused(order: StartChild, error: PerdureError) -> ChildRefused:
    told = (
        error if isinstance(error, ChildNotStarted) else ChildNotStarted(order.wait.workflow, why=str(error))
    )
    names = [kind.__name__ for each in (told, error) for kind in type(each).__mro__ if kind is not object]
    kept = error_of(told)
    return ChildRefused(
        step_no=order.step_no, child=order.child, error=kept, names=tuple(dict.fromkeys(names))
    )
