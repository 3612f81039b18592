"""The actor of one execution: the only one that changes it.

It carries out what `planner` and `commands` decide, always in the order peek, decide, commit, pop,
act: a message leaves the mailbox when its effect is durable, and nothing that follows from it (a
body started, a subscriber told, an asker answered) happens before. A crash therefore loses nothing:
the next incarnation folds the state from the store and finds the same messages.

While bodies are in flight they live in one task group; the actor handles its mailbox beside them.
When nothing is in flight and nothing due soon, the same commit that finds this out gives the
execution up, and the actor ends: a waiting execution is a row, not a task.
"""

from __future__ import annotations

import asyncio
from typing import TypeGuard

from perdure.actors.decider import commands, planner, reopening, resuming
from perdure.actors.decider.course import undoing
from perdure.actors.decider.kinds import children, looping
from perdure.actors.effects.inbox import Refused, posted
from perdure.actors.effects.orders import Ring, StartChild, UndoChild
from perdure.actors.effects.turn import (
    Asker,
    InterruptSteps,
    Launch,
    Order,
    Refuse,
    Respond,
    Turn,
    encode,
)
from perdure.actors.execution.claiming import check_lease, claim, read_again, read_claimed
from perdure.actors.execution.crew import Crew
from perdure.actors.execution.publishing import publish
from perdure.actors.execution.reading import find_restore_point
from perdure.actors.execution.relatives import Relatives
from perdure.actors.execution.services import Services
from perdure.actors.execution.wakeups import Wakeups
from perdure.actors.kernel import Actor, Envelope, Stop
from perdure.actors.log import bind
from perdure.actors.messages import (
    COMMANDS,
    Answer,
    AnyCommand,
    CheckpointDue,
    ChildRefused,
    ChildStarted,
    ChildUndone,
    Completed,
    ExecutionMessage,
    Interrupt,
    LeaseDoubted,
    Nudge,
    Posted,
    PutAside,
    Query,
    Restore,
    RestorePoint,
    Resume,
    StepEnded,
    StepReport,
    TimersDue,
)
from perdure.actors.state.execution import ExecutionState
from perdure.actors.trace import trace_id
from perdure.store.errors import DuplicateCommand, PerdureError, StatementFailed
from perdure.store.records import Message
from perdure.store.states import State
from perdure.store.writes import AnswerMessage, Changed, Release


class ExecutionActor(Actor[ExecutionMessage]):
    """One incarnation. `prepared` is a state just made durable; else it is claimed, if not in `epoch`."""

    def __init__(
        self,
        services: Services,
        execution_id: str,
        *,
        relatives: Relatives,
        waiters: list[Asker],
        handed: set[int],
        prepared: tuple[ExecutionState, list[Order]] | None = None,
        epoch: int | None = None,
    ) -> None:
        """What outlives it: `waiters` for the execution's rest, `handed` messages of the inbox."""
        super().__init__()
        self._services = services
        self._id = execution_id
        self._relatives = relatives
        self._waiters = waiters
        self._handed = handed
        self._prepared = prepared
        self._epoch = epoch
        self._checkpointed = 0
        self._is_parked = False
        self._is_closing = False
        self._has_adopted = False
        self.state: ExecutionState | None = None if prepared is None else prepared[0]

    async def run(self) -> None:
        """Take the execution up and work on it until it needs no actor."""
        self._crew = Crew(self._services, self.cell.mailbox.post)
        self._wakeups = Wakeups(self._services, self.cell.mailbox.post)
        try:
            await self._begin()
            if self._is_parked:
                self.cell.progress()  # it was given up again; mail that came meanwhile is for the next
            state = self._bind_trace()
            self._wakeups.set_checkpoint(state.plan.checkpoint_interval_ms)
            while not self._is_parked:
                if self._crew.has_launches:
                    async with asyncio.TaskGroup() as level:
                        await self._work(level)
                else:
                    await self._turn()
        finally:
            self._wakeups.cancel()

    async def _work(self, level: asyncio.TaskGroup) -> None:
        """Start bodies in `level` and take mail beside them; what begins when none is left is the next."""
        try:
            self._crew.start(level)
            while self._crew.is_at_work:
                await self._turn()
                if self._crew.is_at_work:
                    self._crew.start(level)
        except BaseException:
            self._crew.unwind()
            raise

    async def _begin(self) -> None:
        """Have a state to work on. Raises LeaseLost when another runner was faster."""
        if self._prepared is not None:
            (state, orders), self._prepared = self._prepared, None
            await self._carry_out(orders)
            self._wakeups.set_due(planner.due_times(state))
            return
        self.cell.mailbox.discard(_is_of_a_body)  # all of which have ended with the incarnation before
        if self._epoch is None:
            loaded = await claim(self._services, self._id)
        else:
            loaded = await read_claimed(self._services, self._id, self._epoch)
        plan = await self._services.plans.plan(loaded.execution.workflow_no)
        self.state = ExecutionState.fold(plan, loaded)
        is_due = self._epoch is not None and self.state.state is State.AWAITING_COMPLETION
        self._has_adopted = self.state.state not in planner.RESTING and not is_due
        for message in loaded.inbox:
            if message.no not in self._handed:
                self._handed.add(message.no)
                self.cell.mailbox.post(posted(message), control=True)
        _forget_answered(self._waiters, loaded.inbox)
        turn = self._new_turn()
        planner.take_up(turn, crash_budget=self._services.crash_budget)
        resuming.take_due(turn)
        await self._commit(turn, launches=not len(self.cell.mailbox))

    def _bind_trace(self) -> ExecutionState:
        """Let every log line of its bodies, and every execution they start, carry this one's trace."""
        assert self.state is not None
        trace_id.set(self.state.trace_id)
        bind(trace_id=self.state.trace_id, execution_id=self._id)
        return self.state

    async def _turn(self) -> None:
        """Handle what is in the mailbox: reports share a commit, anything else has its own."""
        mailbox = self.cell.mailbox
        await mailbox.wait()
        turn = self._new_turn()
        batch = mailbox.take()
        for position, envelope in enumerate(batch, start=1):
            if _has_statements(envelope.message):
                if position > 1:
                    await self._commit(turn, is_last=False)
                is_last = position == len(batch)
                await self._take_transaction(envelope.message, is_last=is_last, in_hand=len(batch))
                turn = self._new_turn()
            elif not self._take_own(turn, envelope.message):
                if position > 1:  # a command that comes first may be about to stop everything
                    await self._commit(turn, is_last=False)
                turn = await self._take_other(envelope)
                if position < len(batch):
                    await self._commit(turn, is_last=False)
                    turn = self._new_turn()
        if not self._is_parked:
            await self._commit(turn, in_hand=len(batch))
        mailbox.ack()
        self.cell.progress()
        self._has_adopted = False

    async def _take_transaction(self, report: StepReport, *, is_last: bool, in_hand: int) -> None:
        """Take an outcome with statements of the user's, alone: refused, it is the step's failure."""
        self._crew.take(report)
        turn = self._new_turn()
        planner.take_report(turn, report)
        try:
            await self._commit(turn, is_last=is_last, in_hand=in_hand)
        except StatementFailed as refused:
            self.state = await read_again(self._services, turn.state)
            fresh = self._new_turn()
            planner.take_refusal(fresh, report, refused, before=turn.state)
            await self._commit(fresh, is_last=is_last, in_hand=in_hand)

    def _take_own(self, turn: Turn, message: ExecutionMessage) -> bool:
        """Take a message of our own steps and timers; False for any other."""
        match message:
            case StepReport():
                self._crew.take(message)
                planner.take_report(turn, message)
            case StepEnded():
                self._crew.take(message)
                looping.take_end(turn, message)
            case ChildStarted():
                children.take_started(turn, message)
            case ChildRefused():
                children.take_refused(turn, message)
            case ChildUndone():
                undoing.take_undone(turn, message.child, message.error)
            case TimersDue() | Nudge():
                resuming.take_wakeup(turn, message)
            case CheckpointDue():
                self._wakeups.set_checkpoint(turn.state.plan.checkpoint_interval_ms)
                if turn.state.state is State.EXECUTING and turn.state.version > self._checkpointed:
                    self._checkpointed = turn.state.version + 1
                    turn.checkpoint(label=None, by=None, is_automatic=True)
            case _:
                return False
        return True

    async def _take_other(self, envelope: Envelope[ExecutionMessage]) -> Turn:
        """Take a command or a query, in a turn of its own."""
        turn = self._new_turn()
        message = envelope.message
        asker = Asker(reply=envelope.reply)
        match message:
            case Query():
                turn.respond(asker, turn.state.describe())
            case PutAside():
                commands.put_aside(turn, message)
            case LeaseDoubted():
                await check_lease(self._services, turn.state)
            case Stop():
                self._is_closing = True
                turn.orders.append(InterruptSteps(Interrupt.SHUTDOWN))
            case Posted(message_no, command, is_applied):
                asker = Asker(message_no=message_no, ask=children.asked_by(turn.state, command))
                if command is None:
                    turn.respond(asker, Refused("the runner's release cannot read the command: upgrade it"))
                elif is_applied:  # before a crash; it waits for its answer only
                    if asker not in self._waiters:  # nor from an incarnation before
                        self._waiters.append(asker)
                else:
                    await self._take_command(turn, command, asker)
            case _:
                assert isinstance(message, COMMANDS)
                await self._take_command(turn, message, asker)
        return turn

    async def _take_command(self, turn: Turn, command: AnyCommand, asker: Asker) -> None:
        """Do what it says, or answer why not."""
        if isinstance(command, Resume) and commands.may_adopt(turn, command, was_taken_up=self._has_adopted):
            commands.adopt(turn, command, asker)
        elif isinstance(command, Restore):
            await self._restore(turn, command, asker)
        elif (refused := commands.refusal(turn, command)) is not None:
            turn.respond(asker, refused)
        else:
            commands.apply(turn, command, asker, self._waiters, is_closing=self._is_closing)
            if asker in self._waiters and asker.reply is not None:
                asker.reply.keep()

    async def _restore(self, turn: Turn, command: Restore, asker: Asker) -> None:
        """Go back to a checkpoint, if the state allows it and the store has it."""
        point: RestorePoint | PerdureError | None = commands.refusal(turn, command, kind=RestorePoint)
        if point is None:
            point = await find_restore_point(self._services.store, self._id, command.checkpoint)
        if isinstance(point, RestorePoint):
            reopening.restore(turn, command, point, asker)
        else:
            turn.respond(asker, point)

    def _new_turn(self) -> Turn:
        assert self.state is not None
        services = self._services
        return Turn(self.state, now=services.now_ms(), chance=services.chance(), workload=services.workload)

    async def _commit(
        self, turn: Turn, *, launches: bool = True, is_last: bool = True, in_hand: int = 0
    ) -> None:
        """Let the machine run on, make the turn durable, then publish and act.

        `launches` is False when a command is waiting that may be about to stop everything.
        `is_last`: of what was taken from the mailbox (`in_hand`) nothing comes after this turn, so the
        execution may be given up where nothing else is in it.
        """
        state = turn.state
        services = self._services
        if launches:
            planner.proceed(turn, is_closing=self._is_closing)
        are_answered = planner.answer_waiters(turn, self._waiters)
        children.tell(turn)
        parks = (
            is_last
            and len(self.cell.mailbox) == in_hand
            and planner.may_park(turn, linger_ms=services.linger_ms, is_closing=self._is_closing)
        )
        if not turn.is_empty:
            if parks:
                turn.release()
            try:
                changed = await services.writer.write(turn.change(), is_patient=True)
            except DuplicateCommand as duplicate:
                await self._reload(turn, duplicate.command_id, is_last=is_last, in_hand=in_hand)
                return
            assert isinstance(changed, Changed)
            state.version = changed.version
            publish(services, state, turn, version=changed.version, first_event_id=changed.first_event_id)
        elif parks:
            release = Release(execution_no=state.no, epoch=state.epoch)
            await services.writer.write(release, is_patient=True)
        if are_answered:
            self._waiters.clear()
        self._is_parked = parks
        await self._carry_out(turn.orders)
        if not parks:
            self._wakeups.set_due([] if self._is_closing else planner.due_times(state))

    async def _reload(self, turn: Turn, command_id: str, *, is_last: bool, in_hand: int) -> None:
        """A command came twice, so nothing was written: go on from what the store has."""
        before = turn.state
        state = self.state = await read_again(self._services, before)
        applied = await self._services.store.applied(self._id, command_id)
        answer = Answer(state.state, applied or state.version)
        await self._answer_repeated([asker for asker in _askers(turn) if asker not in self._waiters], answer)
        fresh = self._new_turn()
        planner.take_over(fresh, before)
        await self._commit(fresh, is_last=is_last, in_hand=in_hand)

    async def _answer_repeated(self, askers: list[Asker], answer: Answer) -> None:
        """Answer who asked for what was done before; who waits for a rest goes on waiting."""
        for asker in askers:
            if asker.reply is not None:
                asker.reply.answer(answer)
            elif asker.message_no is not None:
                await self._carry_out([Refuse(asker.message_no, encode(answer))])

    async def _carry_out(self, orders: list[Order]) -> None:
        assert self.state is not None
        for order in orders:
            match order:
                case Launch():
                    self._crew.launch(self.state, order)
                case StartChild():
                    self.cell.mailbox.post(await self._relatives.start(self.state, order))
                case UndoChild():
                    self._relatives.undo(self._id, order)
                case Ring(execution_id):
                    self._relatives.ring(execution_id)
                case InterruptSteps(reason):
                    self._crew.interrupt(reason)
                case Respond(reply, answer):
                    if isinstance(answer, PerdureError):
                        reply.fail(answer)
                    else:
                        reply.answer(answer)
                case Refuse(message_no, refusal):
                    write = AnswerMessage(message_no=message_no, answer=refusal)
                    await self._services.writer.write(write, is_patient=True)
                    self._services.on_commit(self._id)  # no change of the execution rings for it


def _has_statements(message: ExecutionMessage) -> TypeGuard[StepReport]:
    """Whether it is the outcome of a step that wants statements of its own executed with it."""
    if not isinstance(message, StepReport):
        return False
    return isinstance(message.outcome, Completed) and bool(message.outcome.statements)


def _forget_answered(waiters: list[Asker], inbox: tuple[Message, ...]) -> None:
    """Let those go whom the last change of a crashed incarnation has answered.

    `inbox` holds the messages that wait for their answers.
    """
    unanswered = {message.no for message in inbox}
    waiters[:] = [asker for asker in waiters if asker.message_no is None or asker.message_no in unanswered]


def _is_of_a_body(message: ExecutionMessage) -> bool:
    """Whether a body says this, which a body of the same attempt in another incarnation does not."""
    return isinstance(message, StepReport | StepEnded)


def _askers(turn: Turn) -> list[Asker]:
    """Whom a turn that was not written would have answered."""
    here = [Asker(reply=order.reply) for order in turn.orders if isinstance(order, Respond)]
    return here + [Asker(message_no=message.no) for message in turn.delta().messages]
