"""The way of a message to an execution, wherever it is.

It finds the execution's actor if there is one here. If there is none the execution is a row: either
another runner's, then the message goes through the durable inbox and a bell is rung, or nobody's,
then one commit moves it, or an actor is started here, which claims it first.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

from perdure.actors.cluster.doorbell import call
from perdure.actors.cluster.membership import Membership
from perdure.actors.dispatch.dispatcher import Dispatcher
from perdure.actors.dispatch.elsewhere import Elsewhere
from perdure.actors.effects.inbox import posted
from perdure.actors.effects.orders import UndoChild
from perdure.actors.errors import DecisionRefused, RuntimeClosed, error_of
from perdure.actors.execution.reading import read_back
from perdure.actors.execution.services import Services
from perdure.actors.execution.supervisor import Executions
from perdure.actors.kernel import ActorRestarted, ActorStopped, KernelError, Reason
from perdure.actors.log import get_logger
from perdure.actors.messages import (
    COMMAND_WORDS,
    CONTROL,
    Answer,
    AnyCommand,
    ChildUndone,
    Query,
    Restore,
    Retry,
    Rollback,
)
from perdure.actors.state.execution import ExecutionState
from perdure.actors.wording import repr_of
from perdure.store.errors import (
    Conflict,
    IllegalTransition,
    NotFound,
    OutcomeUnknown,
    PerdureError,
    StoreClosed,
    StoreError,
    StoreUnavailable,
)
from perdure.store.records import Error, Execution, Runner
from perdure.store.states import TERMINAL, State

ROUTE_TRIES: Final = 20  # an execution may park, or change hands, just as a message is on its way
REOPENED: Final = dict.fromkeys((State.FAILED, State.CANCELLED), "; `retry` opens it again")

log = get_logger("perdure.executions")


class Routing:
    """Asks executions: hot ones, those of others, and those that are rows."""

    def __init__(self, services: Services, executions: Executions, membership: Membership) -> None:
        """`executions` are those that are hot here."""
        self._services = services
        self._executions = executions
        self._membership = membership
        self._dispatcher = Dispatcher(services, executions, membership)
        self._elsewhere = Elsewhere(services, membership, on_orphan=self._adopt)

    def close(self) -> None:
        """Let those who wait for other processes go."""
        self._elsewhere.close()

    async def ask(self, execution_id: str, command: AnyCommand) -> Answer:
        """Send a command to wherever the execution is, and wait for what became of it.

        One that was applied before is answered with where the execution stands by now, also where it
        would be refused: who asks again has not heard the first answer. Raises StoreUnavailable while
        the store is down, OutcomeUnknown when it goes down, and stays so, with the command on its way.
        """
        writer = self._services.writer
        await writer.reach()
        try:
            routed = self._route(execution_id, command)
            return await writer.outage.bounded(routed, OutcomeUnknown, _unsure(execution_id, command))
        except (IllegalTransition, Conflict, DecisionRefused):
            version = await self._services.store.applied(execution_id, command.id)
            execution = None if version is None else await self._services.store.execution(execution_id)
            if version is None or execution is None:
                raise
            return Answer(execution.state, version)

    async def _route(self, execution_id: str, command: AnyCommand) -> Answer:
        for _ in range(ROUTE_TRIES):
            self._executions.check_open()
            ref = self._executions.find(execution_id)
            if ref is None:
                if await self._is_busy(execution_id):
                    continue
                answer = await self._ask_row(execution_id, command)
                if answer is not None:
                    return answer
                if await self._is_busy(execution_id):
                    continue
                ref = self._executions.spawn(execution_id)
            try:
                answer = await ref.ask(command, timeout=None, control=isinstance(command, CONTROL))
            except ActorStopped:
                if ref.down is not None and ref.down.reason is Reason.QUARANTINED:
                    raise StoreError(
                        f"execution {execution_id} keeps crashing its actor: {repr_of(ref.down.error)}"
                    ) from ref.down.error
                continue
            except ActorRestarted:
                continue  # the command was applied, or was not: its id tells the next incarnation
            assert isinstance(answer, Answer)
            return answer
        raise StoreError(f"execution {execution_id} changes hands too fast to {_word(command)} it: try again")

    async def _ask_row(self, execution_id: str, command: AnyCommand) -> Answer | None:
        """Ask an execution that has no actor here; None when it takes one."""
        answer = await self._dispatcher.recall(execution_id, command)
        if answer is not None:
            return answer
        found = await self._services.store.load_parked(execution_id)
        if found is None:
            raise NotFound("execution", execution_id)
        if isinstance(found, Execution):
            _check_end(found, command)
            owner = await self._elsewhere.owner(found)
            return None if owner is None else await self._elsewhere.ask(execution_id, command, owner)
        if await self._is_busy(execution_id):
            return None
        return await self._dispatcher.move(found, command)

    async def _is_busy(self, execution_id: str) -> bool:
        """Whether the execution is hot after all, or was just being moved."""
        return self._executions.is_hot(execution_id) or await self._executions.wait_for_start(execution_id)

    async def _adopt(self, execution_id: str) -> None:
        """Take up what was asked elsewhere and is nobody's now; what is ours by now has to hear of it.

        Raises StoreError where it was set aside.
        """
        if self._executions.is_set_aside(execution_id):
            raise StoreError(f"execution {execution_id} keeps crashing its actor: the command waits there")
        if self._executions.is_hot(execution_id):
            await self.ring(execution_id)
        else:
            self._executions.take_up(execution_id)

    async def query(self, execution_id: str) -> dict[str, Any]:
        """Describe the execution as it is, from its actor if it has one here, else from the store."""
        ref = self._executions.find(execution_id)
        if ref is not None:
            try:
                described: dict[str, Any] = await ref.ask(Query(), timeout=None)
            except (ActorStopped, ActorRestarted):
                pass  # it has just parked: the store knows
            else:
                return described
        loaded = await self._services.store.load(execution_id)
        if loaded is None:
            raise NotFound("execution", execution_id)
        plan = await self._services.plans.plan(loaded.execution.workflow_no)
        return ExecutionState.fold(plan, loaded).describe()

    def is_for_us(self, execution_id: str) -> bool:
        """Whether the execution has an actor here, or had one until that crashed too often."""
        return self._executions.is_hot(execution_id) or self._executions.is_set_aside(execution_id)

    async def owner_elsewhere(self, execution_id: str) -> Runner | None:
        """The living runner in another process that has the execution, if any."""
        if self._executions.is_hot(execution_id):
            return None
        execution = await self._services.store.execution(execution_id)
        return None if execution is None else await self._elsewhere.owner(execution)

    async def ring(self, execution_id: str) -> None:
        """The inbox of an execution has mail: hand it to its actor, starting one where there is none.

        While the store is down it waits: mail is never lost, whoever carries it. One whose definition only a
        newer release can read is left to that: an actor here would crash of it, and keep it.
        """
        services = self._services
        try:
            found = await read_back(services, lambda store: store.inbox(execution_id))
            if found is None:
                return
            execution, inbox = found
            await read_back(services, lambda _: services.plans.plan(execution.workflow_no))
        except PerdureError as error:
            log.warning("ring_unheard", execution_id=execution_id, error=str(error))
            return
        await self._executions.wait_for_start(execution_id)
        ref = self._executions.find(execution_id)
        if ref is None:
            if execution.runner in (None, self._membership.id):
                self._executions.take_up(execution_id)
            return
        for message in inbox:
            if self._executions.hand_over(execution_id, message.no):
                ref.post(posted(message), control=True)

    async def deliver(self, execution_id: str) -> None:
        """A message was left for an execution: see that whoever performs it hears of it.

        Should it not be heard, the next sweep finds the message.
        """
        if self._executions.is_hot(execution_id):
            await self.ring(execution_id)
            return
        try:
            execution = await read_back(self._services, lambda store: store.execution(execution_id))
            owner = None if execution is None else await self._elsewhere.owner(execution)
        except PerdureError as error:
            log.warning("ring_unheard", execution_id=execution_id, error=str(error))
            return
        if owner is not None:
            async with call(owner.doorbell) as line:
                line.say(f"ring {execution_id}")
                await line.flush()
        elif execution is not None and execution.state not in TERMINAL:
            await self.ring(execution_id)

    async def roll_back(self, parent_id: str, order: UndoChild) -> None:
        """Have a child that has completed undo what it has done.

        How that ended the child tells its parent itself; here it is told where nothing comes of it.
        """
        writer = self._services.writer
        error: Error | None = None
        try:
            while True:
                try:
                    command = Rollback(id=order.id, by=parent_id, reason="its parent is rolled back")
                    await self.ask(order.child, command)
                except (StoreUnavailable, OutcomeUnknown) as failure:
                    writer.suspect(failure)
                    await writer.outage.over()
                else:
                    return
        except (RuntimeClosed, StoreClosed):
            return
        except IllegalTransition:
            pass  # it has nothing to undo, or has done so
        except (PerdureError, KernelError) as failure:
            error = error_of(failure)
        ref = self._executions.find(parent_id)
        if ref is not None:
            with suppress(ActorStopped):
                ref.post(ChildUndone(child=order.child, error=error))


def _check_end(execution: Execution, command: AnyCommand) -> None:
    """Refuse what an execution that has ended cannot be asked. Raises Conflict, IllegalTransition."""
    if execution.state not in TERMINAL or isinstance(command, Retry | Restore | Rollback):
        return
    expected = command.expected_version
    if expected is not None and expected != execution.version:
        raise Conflict(execution.id, expected=expected, current=execution.version)
    raise IllegalTransition(
        execution.id,
        state=execution.state.value,
        command=_word(command),
        version=execution.version,
        hint="it has ended" + REOPENED.get(execution.state, ""),
    )


def _word(command: AnyCommand) -> str:
    return COMMAND_WORDS[type(command)]


def _unsure(execution_id: str, command: AnyCommand) -> str:
    return (
        f"the {_word(command)} of execution {execution_id} may be applied once the store is back; "
        f"to learn what became of it, give it again under its id {command.id}"
    )
