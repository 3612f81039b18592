"""Moves an execution that nobody owns by one commit, without an actor.

What is at rest or only waits is a row. A command to it is a turn like any other: decided on its state,
written by compare-and-swap. Where that leaves it at rest, nobody ever owned it; where it lets steps
begin, the same commit makes this runner the owner, and an actor goes on from there. Whatever is out of
the ordinary (mail, a crash to recover from, a race that was lost) is left to an actor from the start.
"""

from __future__ import annotations

import asyncio
from typing import Final

from perdure.actors.cluster.membership import Membership
from perdure.actors.decider import commands, planner, resuming
from perdure.actors.effects.turn import Asker, Respond, Turn
from perdure.actors.execution.publishing import publish
from perdure.actors.execution.services import Services
from perdure.actors.execution.supervisor import Executions
from perdure.actors.kernel import Reply
from perdure.actors.messages import Answer, AnyCommand, Restore, Resume, Retry
from perdure.actors.state.execution import ExecutionState
from perdure.store.errors import (
    Conflict,
    DuplicateCommand,
    IllegalTransition,
    LeaseLost,
    NotFound,
    OutcomeUnknown,
    PerdureError,
)
from perdure.store.protocol import Answer as Written
from perdure.store.records import Loaded
from perdure.store.states import PARKED
from perdure.store.writes import Change, Changed

LOST_RACES: Final = (Conflict, LeaseLost, DuplicateCommand, IllegalTransition, NotFound)


class Dispatcher:
    """Applies commands to executions that nobody owns."""

    def __init__(self, services: Services, executions: Executions, membership: Membership) -> None:
        """What is set going becomes one of `executions`."""
        self._services = services
        self._executions = executions
        self._membership = membership

    async def recall(self, execution_id: str, command: AnyCommand) -> Answer | None:
        """Apply the command to the state as it is remembered; None when that is not to be believed.

        Only a commit that finds the row as it is remembered makes it true, so nothing is refused here.
        """
        state = self._executions.cold.take(execution_id)
        return None if state is None else await self._move(state, command, is_fresh=False)

    async def move(self, loaded: Loaded, command: AnyCommand) -> Answer | None:
        """Apply the command to the state as it is stored; None when that takes an actor.

        Raises the refusal, and as the writer does.
        """
        if loaded.inbox:
            return None
        plan = await self._services.plans.plan(loaded.execution.workflow_no)
        if self._executions.is_ours(loaded.execution.id):
            return None
        return await self._move(ExecutionState.fold(plan, loaded), command, is_fresh=True)

    async def _move(self, state: ExecutionState, command: AnyCommand, *, is_fresh: bool) -> Answer | None:
        """Decide, write, and set going what may go on. No one else can interfere before it is on its way."""
        if state.state not in PARKED or state.running or isinstance(command, Retry | Restore):
            return None
        if state.family.under_way or state.family.parent_step is not None:
            return None  # a change of it is to be told to others
        services = self._services
        turn = Turn(state, now=services.now_ms(), chance=services.chance(), workload=services.workload)
        reply = Reply()
        try:
            refused = self._decide(turn, command, Asker(reply=reply))
        except Exception:  # noqa: BLE001 - an actor is to crash of it, where that is counted and told
            return None
        answer = next((order.answer for order in turn.orders if isinstance(order, Respond)), None)
        if turn.is_empty or refused is not None:
            if not is_fresh:
                return None
            if turn.is_empty and refused is not None:
                raise refused
        if not isinstance(answer, Answer):
            return None  # refused after something fell due, or not to be answered before more has happened
        if turn.is_empty:
            self._executions.cold.keep(state)
            return answer
        return answer if await self._write(turn) else None

    def _decide(self, turn: Turn, command: AnyCommand, asker: Asker) -> PerdureError | None:
        """What the command means, once what fell due has had its say; or why it is refused."""
        waiters: list[Asker] = []
        planner.take_up(turn, crash_budget=self._services.crash_budget)
        resuming.take_due(turn)
        if isinstance(command, Resume) and commands.may_adopt(turn, command, was_taken_up=False):
            commands.adopt(turn, command, asker)
            return None
        refused = commands.refusal(turn, command)
        if refused is None:
            commands.apply(turn, command, asker, waiters)
            planner.answer_waiters(turn, waiters)
        return refused

    async def _write(self, turn: Turn) -> bool:
        """Make the turn durable, in this runner's name if it goes on; False when others were faster."""
        services, state = self._services, turn.state
        is_parked = planner.may_park(turn, linger_ms=services.linger_ms, is_closing=False)
        change = turn.change(claimed_by=None if is_parked else self._membership.no)
        written = services.writer.submit(change)
        written.add_done_callback(lambda done: self._go_on(turn, change, done, is_parked=is_parked))
        self._executions.note_move(state.id, written)
        answer = await asyncio.shield(written)
        if isinstance(answer, LOST_RACES):
            return False
        if isinstance(answer, PerdureError):
            raise answer
        return True

    def _go_on(self, turn: Turn, change: Change, done: asyncio.Future[Written], *, is_parked: bool) -> None:
        """It is durable: tell it, and let it go on, even if whoever asked no longer waits."""
        state = turn.state
        error = None if done.cancelled() else done.exception()
        if isinstance(error, OutcomeUnknown) and not is_parked:
            self._executions.take_up_unsure(state.id)
        if done.cancelled() or error is not None:
            return
        changed = done.result()
        if not isinstance(changed, Changed):
            return
        state.version = changed.version
        state.epoch += not is_parked
        publish(self._services, state, turn, version=changed.version, first_event_id=changed.first_event_id)
        if is_parked:
            sets_timers = any(timer.due_at is not None for timer in change.delta.timers)
            self._executions.leave_cold(state, has_news=sets_timers or state.state is not turn.before)
        else:
            self._executions.go_on(turn)
