"""Cancel and rollback: how people stop an execution for good, with what it has done or without. Pure.

A cancel cuts short what is in flight, and so does another one that comes while a hook runs on the way
to the end. Cancelling a rollback leaves what is not undone yet as it is: the execution fails, and a
retry goes on with it.
"""

from __future__ import annotations

from perdure.actors.decider.course import outside, schedule, undoing
from perdure.actors.effects.turn import Asker, Turn
from perdure.actors.messages import COMMAND_WORDS, AnyCommand, Cancel, Interrupt, Rollback
from perdure.store.errors import IllegalTransition
from perdure.store.states import TERMINAL, State


def stop(
    turn: Turn, command: Cancel | Rollback, asker: Asker, waiters: list[Asker]
) -> IllegalTransition | None:
    """Do what the command says, or say why it cannot be done."""
    if isinstance(command, Rollback):
        return _rollback(turn, command, asker, waiters)
    _cancel(turn, command, asker, waiters)
    return None


def illegal(turn: Turn, command: AnyCommand, *, hint: str) -> IllegalTransition:
    """The refusal of a command that the execution's state does not take."""
    state = turn.state
    word = COMMAND_WORDS[type(command)]
    return IllegalTransition(
        state.id, state=state.state.value, command=word, version=state.version, hint=hint
    )


def _cancel(turn: Turn, command: Cancel, asker: Asker, waiters: list[Asker]) -> None:
    """Write the wish and stop everything; answered at the end."""
    state = turn.state
    _wait(turn, asker, waiters)
    is_on_its_way = (
        state.rollback_reason is not None
        if command.compensate
        else state.state is State.CANCELLING and not outside.is_at_work(state)
    )
    if is_on_its_way:
        return
    data = {"reason": command.reason} | ({"compensate": True} if command.compensate else {})
    turn.note("cancel_requested", by=command.by, command_id=command.id, data=data)
    if state.state not in schedule.WINDING_UP:  # else it has been stopped before, and the error says why
        turn.set_error(None)
    if command.compensate:
        undoing.rollback(turn, command.reason, by=command.by)
    else:
        schedule.stop_everything(turn, Interrupt.CANCEL)


def _rollback(turn: Turn, command: Rollback, asker: Asker, waiters: list[Asker]) -> IllegalTransition | None:
    """Undo what was done, or wait with those who have asked for it; answered at the end."""
    state = turn.state
    is_over = state.state in TERMINAL
    if is_over and not undoing.has_anything(state):
        return illegal(turn, command, hint="nothing that it has completed itself has a compensation")
    _wait(turn, asker, waiters)
    if state.rollback_reason is None or is_over:
        turn.set_error(None)
        undoing.rollback(turn, command.reason, by=command.by, command_id=command.id)
    return None


def _wait(turn: Turn, asker: Asker, waiters: list[Asker]) -> None:
    waiters.append(asker)
    if asker.message_no is not None:
        turn.mark_applied(asker.message_no)
