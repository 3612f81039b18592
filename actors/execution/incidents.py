"""No actor dies silently: every crash is logged with its stack, a final one marks the execution."""

from __future__ import annotations

import msgspec

from perdure.actors.effects.turn import encode
from perdure.actors.execution.services import Services
from perdure.actors.kernel import ChildExit, Crash, DeadLetter, Stuck, Supervisor, flatten
from perdure.actors.log import get_logger
from perdure.actors.messages import PutAside
from perdure.actors.wording import repr_of, stack_of, text_of, type_of
from perdure.actors.writer import OUTAGES, Writer
from perdure.store.errors import LeaseLost, NotFound, PerdureError, StoreClosed, StoreCorrupt
from perdure.store.records import Error, Execution
from perdure.store.writes import Change, Delta, EventWrite

log = get_logger("perdure.executions")


def classify(error: Exception) -> Crash:
    """What kind of crash an error of an execution's actor is."""
    if isinstance(error, LeaseLost):
        return Crash.LOST
    if isinstance(error, StoreCorrupt | msgspec.DecodeError | NotFound):
        return Crash.DETERMINISTIC
    if isinstance(error, (*OUTAGES, StoreClosed)):
        return Crash.OUTAGE
    return Crash.TRANSIENT


def tell_exit(exit_: ChildExit, writer: Writer) -> None:
    """An incarnation of an execution's actor has ended; the ordinary ends are nobody's business.

    Nor is that of one which the store failed: the outage is told, once, and the actor parked.
    """
    if exit_.error is None:
        return
    if exit_.crash is Crash.OUTAGE:
        log.debug("execution_parked", execution_id=exit_.name, error=repr_of(exit_.error))
        for error in flatten(exit_.error):
            if isinstance(error, OUTAGES):
                writer.suspect(error)
        return
    if exit_.crash is Crash.LOST:
        log.debug("execution_lost", execution_id=exit_.name, error=text_of(exit_.error))
        return
    log.error(
        "actor_crashed",
        execution_id=exit_.name,
        incarnation=exit_.incarnation,
        crashes=exit_.crashes,
        crash=None if exit_.crash is None else exit_.crash.value,
        action=exit_.verdict.action.value,
        error=repr_of(exit_.error),
        stack=stack_of(exit_.error),
    )


def put_aside(letter: DeadLetter, supervisor: Supervisor) -> None:
    """A message has crashed its receiver too often: tell it, and let the next incarnation write it down."""
    log.error(
        "message_undeliverable",
        execution_id=letter.name,
        message=type(letter.message).__name__,
        crashes=letter.crashes,
        error=repr_of(letter.error),
    )
    ref = supervisor.find(letter.name)
    if ref is not None and not isinstance(letter.message, PutAside):
        error = Error(type=type_of(letter.error), message=text_of(letter.error))
        ref.post(PutAside(letter.message, letter.crashes, error), control=True)


def tell_stuck(stuck: Stuck) -> None:
    """An actor was cancelled and does not end."""
    log.error("actor_stuck", execution_id=stuck.name, waited_s=stuck.waited_s, stack=stuck.stack)


async def mark_quarantined(services: Services, execution_id: str, error: BaseException | None) -> None:
    """Write into the execution's log that nobody works on it any more, and why.

    It stays owned by this runner, so that no sweep takes it up again before a restart; a command to
    it tries anew.
    """
    log.error("execution_quarantined", execution_id=execution_id, error=repr_of(error))
    try:
        execution = await services.store.execution(execution_id)
        if execution is None or execution.is_terminal:
            return
        if execution.runner not in (None, services.membership.id):
            return
        await services.writer.write(_quarantine(execution, error, services.now_ms()), is_patient=True)
    except PerdureError as failed:
        log.error("quarantine_not_recorded", execution_id=execution_id, error=str(failed))  # noqa: TRY400


def _quarantine(execution: Execution, error: BaseException | None, now: int) -> Change:
    data = {"error": {"type": type_of(error), "message": text_of(error)}, "stack": stack_of(error)}
    return Change(
        execution_no=execution.no,
        execution_id=execution.id,
        epoch=execution.epoch,
        version=execution.version,
        before=execution.state,
        state=execution.state,
        at=now,
        delta=Delta(events=(EventWrite("execution_quarantined", data=encode(data)),)),
    )
