"""Steps that wait, for a moment or a signal: no body, no task, a row and perhaps a timer. Pure.

A signal is kept from the moment it comes until a step takes it, so it cannot fall between a look and
a wait: who begins to wait looks at what is kept first, and what comes is kept first, then offered to
those who wait, the one that has waited longest before the others. Signals of one name are taken in
the order of their arrival.

Begun is a wait only where steps may start. While an execution rests, signals are still taken, but no
moment comes: what falls due fires when it is resumed, in due order; so a wait whose time was up when
the signal came does not get it.
"""

from __future__ import annotations

from collections import deque
from datetime import timedelta
from typing import Final, assert_never

from perdure.actors.decider.course import schedule
from perdure.actors.decider.course.evaluating import evaluate, unanswered
from perdure.actors.decider.kinds import approving, children
from perdure.actors.effects import arrivals, overdue
from perdure.actors.effects.turn import Turn, encode
from perdure.actors.errors import WaitTimeout, error_of
from perdure.actors.instructions.plan import PlannedStep
from perdure.actors.instructions.waits import ForApproval, ForChild, ForSignal, OnTimeout, Sleep, Wait
from perdure.actors.state.execution import WAIT_TIMER, ExecutionState
from perdure.actors.state.step_run import EPOCH
from perdure.store.records import Error, KeptSignal
from perdure.store.states import StepState

MOMENT_MIN: Final = -62_135_596_800_000  # the first millisecond of the year 1
MOMENT_MAX: Final = 253_402_300_799_999  # the last one of the year 9999


def begin(turn: Turn, step_no: int, wait: Wait) -> None:
    """Let a step begin to wait; what it waits for may be there already."""
    state = turn.state
    step = state.plan.steps[step_no]
    due_at: int | None = None
    match wait:
        case Sleep():
            due_at, error = _moment(turn, step, wait)
            if error is not None:
                schedule.fail(turn, step_no, error, has_begun=False)
                return
        case ForApproval():
            approving.begin(turn, step_no, wait)
            return
        case ForSignal():
            due_at = None if wait.timeout_ms is None else turn.now + wait.timeout_ms
        case ForChild():
            children.begin(turn, step_no)
            return
        case _:
            assert_never(wait)
    run = state.steps[step_no]
    run.attempt = max(run.attempt, 1)
    turn.move_step(step_no, StepState.WAITING, due_at=due_at, begins=True)
    data = wait.describe() | {"due_at_ms": due_at}
    turn.note("step_waiting", step_no=step_no, attempt=run.attempt, data=data)
    state.waiting.add(step_no)
    kept = next((each for each in state.signals if _is_for(wait, each)), None)
    if kept is not None:
        _take(turn, step_no, kept)
        return
    if isinstance(wait, ForSignal):
        overdue.watch(turn, step_no, due_at=due_at)
    if due_at is not None:
        turn.set_timer(WAIT_TIMER, step_no, due_at)
        if due_at <= turn.now:
            take_moment(turn, step_no)


def _moment(turn: Turn, step: PlannedStep, wait: Sleep) -> tuple[int, Error | None]:
    """When (ms) a step that sleeps wakes up, or why that cannot be told."""
    due_at, error = evaluate(lambda values: wait.until(values, turn.now), turn, step, what="moment")
    if error is None and not (isinstance(due_at, int) and MOMENT_MIN <= due_at <= MOMENT_MAX):
        error = unanswered(step, what="moment", why=f"{due_at!r:.80} is no time")
    return due_at, error


def receive(turn: Turn, name: str, payload: bytes) -> None:
    """Keep a signal and offer it to those who wait."""
    signal = arrivals.keep_signal(turn, name, payload)
    state = turn.state
    for step_no in sorted(waits_of(state), key=lambda no: (state.steps[no].started_at or 0, no)):
        wait, due_at = state.plan.steps[step_no].wait, state.steps[step_no].due_at
        if _is_for(wait, signal) and (due_at is None or due_at > turn.now):
            _take(turn, step_no, signal)
            return


def take_moment(turn: Turn, step_no: int) -> None:
    """The moment of a waiting step has come: what it slept for, or the end of its patience."""
    state = turn.state
    step = state.plan.steps[step_no]
    due_at = state.steps[step_no].due_at
    match step.wait:
        case Sleep():
            moment = EPOCH + timedelta(milliseconds=due_at or 0)
            schedule.complete_wait(turn, step_no, encode(moment))
        case ForApproval():
            approving.take_timeout(turn, step_no, step.wait)
        case ForSignal(name=name, timeout_ms=timeout_ms, on_timeout=OnTimeout.FAIL):
            error = WaitTimeout(step.key, what=f"signal {name!r}", timeout_ms=timeout_ms or 0)
            schedule.stop_waiting(turn, step_no)
            schedule.fail(turn, step_no, error_of(error))
        case ForSignal(on_timeout=OnTimeout.SKIP):
            schedule.stop_waiting(turn, step_no)
            schedule.skip(turn, step_no, reason="timeout")
            schedule.settle(turn, step_no)
        case ForSignal():
            schedule.complete_wait(turn, step_no, b"null")
        case ForChild():
            children.start(turn, step_no)
        case None:
            raise AssertionError(step.key)


def abandon(turn: Turn) -> None:
    """A required step has failed: nobody is to wait any longer before the execution fails.

    Nor is a step to be repeated, whether it waits for its next iteration or could begin it, or to go on
    with its items.
    """
    state = turn.state
    again = [no for no in (*state.waiting, *state.ready) if state.steps[no].is_between_parts]
    for step_no in sorted([*waits_of(state), *again]):
        schedule.stop_waiting(turn, step_no)
        schedule.cancel(turn, step_no)
    state.ready = deque(no for no in state.ready if no not in again)


def waits_of(state: ExecutionState) -> list[int]:
    """The steps that wait for something of their own, not for their next attempt or for a child."""
    waits = ((no, state.plan.steps[no].wait) for no in state.waiting)
    return [no for no, wait in waits if wait is not None and not isinstance(wait, ForChild)]


def _is_for(wait: Wait | None, signal: KeptSignal) -> bool:
    return isinstance(wait, ForSignal) and wait.name == signal.name


def _take(turn: Turn, step_no: int, signal: KeptSignal) -> None:
    arrivals.take_signal(turn, signal, step_no=step_no)
    turn.note("signal_taken", step_no=step_no, data={"name": signal.name, "version": signal.version})
    schedule.complete_wait(turn, step_no, bytes(signal.payload))
