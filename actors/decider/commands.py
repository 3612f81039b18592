"""What each command from outside means to an execution, state by state. Pure.

`MEANING` says which commands a state takes; everything else is an `IllegalTransition` that changes
nothing. A command that finds its wish fulfilled already is answered with where things stand.
"""

from __future__ import annotations

from typing import Final

from perdure.actors.decider import planner, reopening, resuming, stopping
from perdure.actors.decider.course import schedule
from perdure.actors.decider.kinds import approving, children, waiting
from perdure.actors.decider.stopping import illegal
from perdure.actors.effects.inbox import Refused
from perdure.actors.effects.patching import merge
from perdure.actors.effects.turn import Asker, InterruptSteps, Turn, encode
from perdure.actors.messages import (
    COMMAND_WORDS,
    AnyCommand,
    Approve,
    Cancel,
    ChildEnded,
    ChildRested,
    Interrupt,
    Pause,
    PauseMode,
    PlanResume,
    Posted,
    PutAside,
    Reject,
    RestorePoint,
    Resume,
    Retry,
    Rollback,
    Signal,
    TakeCheckpoint,
    UpdateContext,
)
from perdure.actors.state.execution import ExecutionState
from perdure.store.codec import encode as checked
from perdure.store.errors import (
    Conflict,
    MailboxFull,
    NotSerializable,
    PayloadTooLarge,
    PerdureError,
)
from perdure.store.records import SIGNALS_MAX
from perdure.store.states import TERMINAL, State

_ACTIVE: Final = frozenset(
    {State.IDLE, State.SCHEDULING, State.EXECUTING, State.AWAITING_COMPLETION, State.PAUSING}
)
_ALIVE: Final = _ACTIVE | {State.PAUSED, State.CANCELLING, State.COMPENSATING}

MEANING: Final[dict[type, frozenset[State]]] = {
    Pause: _ACTIVE | {State.PAUSED, State.CANCELLING},
    Resume: frozenset({State.PAUSING, State.PAUSED}),
    PlanResume: frozenset({State.PAUSING, State.PAUSED}),
    Cancel: _ALIVE,
    Rollback: _ALIVE | {State.COMPLETED, State.FAILED, State.CANCELLED},
    Signal: _ALIVE,
    Approve: _ACTIVE | {State.PAUSED},
    Reject: _ACTIVE | {State.PAUSED},
    UpdateContext: _ACTIVE | {State.PAUSED},
    TakeCheckpoint: _ACTIVE | {State.PAUSED},
    Retry: frozenset({State.FAILED, State.CANCELLED}),
    ChildRested: _ALIVE,
    ChildEnded: _ALIVE,
    RestorePoint: frozenset({State.PAUSED, State.FAILED, State.CANCELLED}),
}

# As seen by whoever asks: a resume of one that only waits is taken, too, see `may_adopt`.
TAKEN: Final = MEANING | {Resume: MEANING[Resume] | {State.AWAITING_COMPLETION}}

_REOPENS: Final = frozenset({Retry, RestorePoint})  # what has ended
_LEAVES_QUEUE: Final = (Pause, Cancel, Rollback)  # of one that waits for a slot: it waits no longer

HINTS: Final[dict[type, str]] = {
    Resume: "only a paused execution can be resumed",
    PlanResume: "only a paused execution can be resumed",
    Retry: "only a failed or cancelled execution can be retried",
    RestorePoint: "pause it first, or wait until it has failed or was cancelled",
}


def refusal(turn: Turn, command: AnyCommand, *, kind: type | None = None) -> PerdureError | None:
    """Why the command cannot be applied now, or None."""
    state = turn.state
    kind = kind or type(command)
    stale = _stale(turn, command)
    if stale is not None:
        return stale
    if kind is RestorePoint and state.state is State.FAILED and state.rollback_reason is not None:
        return illegal(turn, command, hint="part of what it did was undone: `retry` goes on with that")
    if kind in _REOPENS and state.plan.is_of_the_past:
        return illegal(turn, command, hint="it was imported: what it did was done elsewhere, and stays")
    if isinstance(command, Resume) and _is_theirs(turn, command):
        return illegal(turn, command, hint="it was not paused with its parent")
    if state.state not in MEANING[kind]:
        return illegal(turn, command, hint=_hint(state, kind))
    return _unfit(command)


def _hint(state: ExecutionState, kind: type) -> str:
    """What to do instead of what cannot be done now."""
    if state.state is State.COMPENSATING:
        return "it is being rolled back: wait for the end, or `cancel` that; `retry` then goes on with it"
    if state.state is State.ROLLED_BACK:
        return "what it did was undone: start it again"
    if kind is Resume and state.state in _ACTIVE:
        return "it is already running"
    return HINTS.get(kind, "it has ended" if state.state in TERMINAL else "")


def apply(
    turn: Turn, command: AnyCommand, asker: Asker, waiters: list[Asker], *, is_closing: bool = False
) -> None:
    """Take a command that `refusal` has let pass. `is_closing`: nothing starts any more."""
    state = turn.state
    if state.state is State.IDLE and (state.queue is None or isinstance(command, _LEAVES_QUEUE)):
        planner.begin(turn)
    problem = _take(turn, command, asker, waiters)
    if problem is not None:
        turn.respond(asker, problem)
        return
    resuming.consider(turn, command if isinstance(command, Signal) else None)
    planner.proceed(turn, is_closing=is_closing)
    if asker not in waiters:
        turn.respond_here(asker)


def may_adopt(turn: Turn, command: Resume, *, was_taken_up: bool) -> bool:
    """Whether a resume finds an active execution with nobody at work on it.

    `was_taken_up`: nobody alive owned it, and it has just been taken up. One that only waits may or
    may not have an owner, as its actor may or may not linger: the answer must not depend on that.
    """
    state = turn.state.state
    if turn.state.family.is_by_parent(command):
        return False
    return state is State.AWAITING_COMPLETION or (was_taken_up and state in schedule.MAY_LAUNCH)


def adopt(turn: Turn, command: Resume, asker: Asker) -> None:
    """Resume an active execution with nobody at work on it: it goes on already, or waits on."""
    problem = _stale(turn, command) or _unfit(command)
    if problem is None and command.data:
        problem = merge(turn, command.data, by=command.by)
    if problem is not None:
        turn.respond(asker, problem)
        return
    resuming.note_resumed(turn, command)
    turn.count_resume()
    planner.proceed(turn)
    turn.respond_here(asker)


def put_aside(turn: Turn, dead: PutAside) -> None:
    """Write into the log that a message cannot be taken; tell its sender, if that is in another process."""
    command = dead.message
    if isinstance(command, Posted):
        turn.respond(Asker(message_no=command.message_no), _undeliverable(dead))
        command = command.command
    if turn.state.state in TERMINAL:
        return
    data = {
        "message": type(command).__name__,
        "command_id": getattr(command, "id", None),
        "crashes": dead.crashes,
        "error": {"type": dead.error.type, "message": dead.error.message},
    }
    turn.note("message_undeliverable", by=getattr(command, "by", None), data=data)


def _undeliverable(dead: PutAside) -> PerdureError:
    return Refused(
        f"the command crashed the execution's actor {dead.crashes} times "
        f"({dead.error.type}: {dead.error.message}) and was put aside; the execution goes on without it: "
        "correct the cause before giving it again"
    )


def _take(turn: Turn, command: AnyCommand, asker: Asker, waiters: list[Asker]) -> PerdureError | None:
    """Do what the command says, or say why it cannot be done after all."""
    match command:
        case Pause():
            _pause(turn, command, asker, waiters)
        case Cancel() | Rollback():
            return stopping.stop(turn, command, asker, waiters)
        case Resume() | PlanResume():
            return resuming.take(turn, command)
        case Signal():
            return _signal(turn, command)
        case Approve() | Reject():
            return approving.decide(turn, command)
        case UpdateContext():
            return merge(turn, command.patch, by=command.by, command_id=command.id)
        case TakeCheckpoint():
            turn.checkpoint(
                label=command.label, by=command.by, is_automatic=command.automatic, command_id=command.id
            )
        case Retry():
            return reopening.retry(turn, command)
        case ChildRested() | ChildEnded():
            children.hear(turn, command)
        case _:
            raise AssertionError(command)
    return None


def _signal(turn: Turn, command: Signal) -> PerdureError | None:
    """Keep it, and let whoever waits for it take it."""
    if len(turn.state.signals) >= SIGNALS_MAX:
        return MailboxFull(turn.state.id, limit=SIGNALS_MAX)
    data = {"name": command.name, "payload": command.payload}
    turn.note("signal_received", by=command.by, command_id=command.id, data=data)
    waiting.receive(turn, command.name, encode(command.payload))
    return None


def _pause(turn: Turn, command: Pause, asker: Asker, waiters: list[Asker]) -> None:
    """Write the wish and stop what runs if it is to be interrupted; answered when at rest."""
    state = turn.state
    if state.state is State.PAUSED:
        if state.resume_plan is not None and not _is_theirs(turn, command):  # they want it to stay
            resuming.plan(turn, PlanResume(id=command.id, by=command.by))
        return
    waiters.append(asker)
    if asker.message_no is not None:
        turn.mark_applied(asker.message_no)
    if state.state is not State.CANCELLING and not _is_theirs(turn, command):
        turn.set_pause(command.mode.value, by=command.by, reason=command.reason)
        data = {"mode": command.mode, "reason": command.reason}
        turn.note("pause_requested", by=command.by, command_id=command.id, data=data)
        turn.become(State.PAUSING)
        if command.mode is PauseMode.INTERRUPT:
            turn.orders.append(InterruptSteps(Interrupt.PAUSE))


def _is_theirs(turn: Turn, command: Pause | Resume) -> bool:
    """Whether the parent asks for what somebody else has the say in: a pause that is not its own."""
    state, family = turn.state, turn.state.family
    is_pausing = state.state in (State.PAUSING, State.PAUSED)
    return is_pausing and family.is_by_parent(command) and not family.is_paused_by_parent


def _stale(turn: Turn, command: AnyCommand) -> PerdureError | None:
    """Why the command comes too late for what its sender has seen, or None."""
    wanted, current = command.expected_version, turn.state.version
    if wanted is None or wanted == current:
        return None
    return Conflict(turn.state.id, expected=wanted, current=current)


def _unfit(command: AnyCommand) -> PerdureError | None:
    """Why the command cannot be kept in the log, or None."""
    try:
        checked(command, what=f"the command to {COMMAND_WORDS[type(command)]} the execution")
    except (NotSerializable, PayloadTooLarge) as error:
        return error
    return None
