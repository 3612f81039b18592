"""Executions that a step starts and waits for: what a parent and its children decide of each other. Pure.

A step that starts a child waits under an id that its generation and attempt make, so that a start
which is repeated joins. The moment of the wait says that the child is to be started; it goes when
the child is known to be there. So whoever takes the parent up after a crash starts it once more.

Parent and child talk through their inboxes, in the transaction of the change that makes them talk:
the parent tells children to rest, to go on, to stop and to undo; a child tells that it rests and that it has
ended. A parent rests, or ends, only when the children it told so do. With the policy `abandon` it
tells them nothing. A child that somebody else has paused stays paused when its parent goes on.
"""

from __future__ import annotations

from typing import Any, Final, assert_never

import msgspec

from perdure.actors.decider.course import results, schedule, undoing
from perdure.actors.decider.course.evaluating import attempt, evaluate
from perdure.actors.decider.course.failing import take_failure
from perdure.actors.effects import accounting, telling
from perdure.actors.effects.orders import StartChild
from perdure.actors.effects.turn import Turn, encode
from perdure.actors.errors import ChildFailed, error_of
from perdure.actors.instructions.budget import NOTHING
from perdure.actors.instructions.waits import ForChild
from perdure.actors.messages import (
    AnyCommand,
    Cancel,
    ChildEnded,
    ChildRefused,
    ChildRested,
    ChildStarted,
    Failed,
    Pause,
    PauseMode,
    Resume,
)
from perdure.actors.state.execution import WAIT_TIMER, ExecutionState
from perdure.actors.state.family import Wish, wish_of
from perdure.actors.state.values import StepValues
from perdure.store.errors import PayloadTooLarge
from perdure.store.records import PAYLOAD_BYTES_MAX, Error
from perdure.store.states import TERMINAL, State, StepState

ENVELOPE_BYTES: Final = 4_096  # of a message beside the outputs it carries


def begin(turn: Turn, step_no: int) -> None:
    """Let a step wait for a child that is to be started at once."""
    run = turn.state.steps[step_no]
    run.attempt = max(run.attempt, 1)
    turn.move_step(step_no, StepState.WAITING, due_at=turn.now, begins=True)
    _wait_until(turn, step_no, turn.now)
    start(turn, step_no)


def start(turn: Turn, step_no: int) -> None:
    """Have the child of a step started; it may be there already."""
    state = turn.state
    step = state.plan.steps[step_no]
    wait = _wait_of(state, step_no)
    if step_no in state.family.starting:
        return
    context, error = evaluate(wait.input, turn, step, what="input")
    if error is not None:
        _end_wait(turn, step_no)
        schedule.fail(turn, step_no, error)
        return
    state.family.starting.add(step_no)
    run = state.steps[step_no]
    turn.orders.append(
        StartChild(
            step_no=step_no,
            generation=run.generation,
            attempt=run.attempt,
            child=state.child_of(step_no),
            wait=wait,
            context=context,
            timeout_ms=step.timeout_ms,
        )
    )


def look_for_unconfirmed(turn: Turn) -> None:
    """After a fold of one that is to rest or end: children may be there of which nobody knows."""
    state = turn.state
    for step_no in state.waiting if state.state in schedule.STOPPING else ():
        due_at = state.steps[step_no].due_at
        if _is_for_child(state, step_no) and due_at is not None and due_at <= turn.now:
            start(turn, step_no)


def take_started(turn: Turn, report: ChildStarted) -> None:
    """The child is there; or it is not, and while the parent stops it will not be."""
    state, no = turn.state, report.step_no
    if not _waits_for(state, no, report.child):
        return
    state.family.starting.discard(no)
    if not report.exists:
        if state.state in schedule.WINDING_UP:
            _end_wait(turn, no)
            schedule.cancel(turn, no)
        return
    wait, run = _wait_of(state, no), state.steps[no]
    data = wait.describe() | {"child": report.child}
    turn.note("child_started", step_no=no, attempt=run.attempt, data=data)
    turn.set_timer(WAIT_TIMER, no, None)
    if not wait.waits:
        _end_wait(turn, no, is_timed=False)
        schedule.complete(turn, no, encode(report.child))
        return
    turn.move_step(no, StepState.WAITING, due_at=None, begins=run.started_at is None)
    if wait.follows:
        state.family.under_way[no] = Wish.RUN
    elif state.state in schedule.WINDING_UP:  # it goes on by itself, and its parent has not waited to end
        _end_wait(turn, no)
        schedule.cancel(turn, no)


def take_refused(turn: Turn, report: ChildRefused) -> None:
    """The child could not be started: the attempt has failed."""
    if _waits_for(turn.state, report.step_no, report.child):
        _fail(turn, report.step_no, Failed(report.error, report.names))


def hear(turn: Turn, message: ChildRested | ChildEnded) -> None:
    """Take what a child tells of itself."""
    match message:
        case ChildRested():
            take_rest(turn, message)
        case ChildEnded():
            take_end(turn, message)
        case _:
            assert_never(message)


def take_end(turn: Turn, ended: ChildEnded) -> None:
    """A child has ended: so has the step, or its attempt; or it has been undone."""
    state, no = turn.state, _step_of(turn.state, ended)
    if no is None:
        undoing.take_end(turn, ended)
        return
    run = state.steps[no]
    about = None if ended.error is None else {"type": ended.error.type, "message": ended.error.message}
    data = {"child": ended.child, "state": ended.state, "error": about}
    turn.note("child_ended", step_no=no, attempt=run.attempt, command_id=ended.id, data=data)
    if ended.usage is not None:
        accounting.count_usage(turn, no, ended.usage)
    step = state.plan.steps[no]
    if ended.state is not State.COMPLETED:
        failure = ChildFailed(step.key, child=ended.child, state=ended.state, error=ended.error)
        _fail(turn, no, _failed(failure))
        return
    output = bytes(ended.outputs)
    if step.check_output is not None:
        check = step.check_output
        _, why = attempt(lambda _: check(msgspec.json.decode(output)), StepValues(state, no))
        if why is not None:
            _fail(turn, no, Failed(Error(type="OutputMismatch", message=why), ("OutputMismatch",)))
            return
    _end_wait(turn, no)
    schedule.complete(turn, no, output)


def take_rest(turn: Turn, rested: ChildRested) -> None:
    """A child rests as it was asked to; an answer to what has been called off since says nothing."""
    family, no = turn.state.family, _step_of(turn.state, rested)
    if no is not None and family.asked.get(no) == rested.ask:
        family.at_rest.add(no)
        turn.note("child_paused", step_no=no, command_id=rested.id, data={"child": rested.child})


def hold_up(state: ExecutionState) -> bool:
    """Whether the parent, otherwise at rest or at its end, has to wait for children."""
    family = state.family
    if state.state is State.COMPENSATING and family.undoing is not None:
        return True
    if state.state in schedule.WINDING_UP:
        return bool(family.starting or family.under_way)
    if state.state is State.PAUSING:
        return bool(family.starting or family.under_way.keys() - family.at_rest)
    return False


def leave(turn: Turn, step_no: int) -> None:
    """The step is opened anew: the child it waited for is stopped, for nobody will take its outcome."""
    family = turn.state.family
    if step_no in family.under_way:
        _tell(turn, step_no, Wish.STOP)
    family.forget(step_no)


def tell(turn: Turn) -> None:
    """Put into the turn what children and the parent are to know of it; said when all is decided."""
    state = turn.state
    family = state.family
    if family.under_way:
        wish = wish_of(state)
        for no, told in family.under_way.items():
            if told is not wish:
                _tell(turn, no, wish)
                family.under_way[no] = wish
    step_no = family.parent_step
    if step_no is None:
        return
    if state.state in TERMINAL:
        if turn.before not in TERMINAL:
            telling.post(turn, _parent(state), _end_of(turn, state, step_no))
        return
    for ask in turn.asks_answered:
        message = ChildRested(id=f"{ask}.rested", child=state.id, step_no=step_no, ask=ask)
        telling.post(turn, _parent(state), message)


def asked_by(state: ExecutionState, command: AnyCommand | None) -> str | None:
    """What the parent wants to be told of, when it is done: that this execution rests."""
    is_asked = isinstance(command, Pause) and state.family.is_by_parent(command)
    return command.id if command is not None and is_asked else None


def _tell(turn: Turn, step_no: int, wish: Wish) -> None:
    """Put a command into the inbox of a step's child; in the parent's name, by which it is known there."""
    state, family = turn.state, turn.state.family
    id_ = f"{_said_at(turn)}.{step_no}"
    family.at_rest.discard(step_no)
    family.asked.pop(step_no, None)
    command: Pause | Resume | Cancel
    match wish:
        case Wish.RUN:
            command = Resume(id=id_, by=state.id)
        case Wish.STOP:
            command = Cancel(id=id_, by=state.id, reason="its parent has stopped")
        case Wish.UNDO:
            command = Cancel(id=id_, by=state.id, reason="its parent is rolled back", compensate=True)
        case Wish.DRAIN | Wish.INTERRUPT:
            family.asked[step_no] = id_
            command = Pause(id=id_, by=state.id, mode=PauseMode(wish), reason="its parent is paused")
    telling.post(turn, state.child_of(step_no), command)


def _said_at(turn: Turn) -> str:
    """What makes messages of a turn unlike those of any other turn of any execution."""
    return f"{turn.state.id}.{turn.version_before + 1}"


def _end_of(turn: Turn, state: ExecutionState, step_no: int) -> ChildEnded:
    """How a child tells of its end; outputs no step could have are told as what they are."""
    end: dict[str, Any] = {"state": state.state, "error": state.error, "outputs": b"null"}
    if state.state is State.COMPLETED:
        end["outputs"] = encode(results.outputs_of(state))
        size = len(end["outputs"])
        if size > PAYLOAD_BYTES_MAX - ENVELOPE_BYTES:
            error = PayloadTooLarge("the outputs of a child", size=size, limit=PAYLOAD_BYTES_MAX)
            end = {"state": State.FAILED, "error": error_of(error), "outputs": b"null"}
    end["outputs"] = msgspec.Raw(end["outputs"])
    usage = None if state.usage == NOTHING else state.usage
    return ChildEnded(
        id=f"{_said_at(turn)}.ended",
        child=state.id,
        step_no=step_no,
        usage=usage,
        **end,
    )


def _fail(turn: Turn, step_no: int, failed: Failed) -> None:
    """The attempt has failed: wait for the next one, or let the step fail; in the end cancel it."""
    _end_wait(turn, step_no)
    if turn.state.state in schedule.WINDING_UP:
        schedule.cancel(turn, step_no)
        return
    due_at = take_failure(turn, step_no, failed)
    if due_at is None:
        return
    _wait_until(turn, step_no, due_at)
    if due_at <= turn.now and turn.state.state in schedule.MAY_LAUNCH:
        start(turn, step_no)


def _wait_until(turn: Turn, step_no: int, due_at: int) -> None:
    """Note that an attempt waits for its child, which is to be started then."""
    about = {"child": turn.state.child_of(step_no), "due_at_ms": due_at}
    data = _wait_of(turn.state, step_no).describe() | about
    turn.note("step_waiting", step_no=step_no, attempt=turn.state.steps[step_no].attempt, data=data)
    turn.state.waiting.add(step_no)
    turn.set_timer(WAIT_TIMER, step_no, due_at)


def _end_wait(turn: Turn, step_no: int, *, is_timed: bool = True) -> None:
    state = turn.state
    state.waiting.discard(step_no)
    state.family.forget(step_no)
    if is_timed and state.steps[step_no].due_at is not None:
        turn.set_timer(WAIT_TIMER, step_no, None)


def _is_for_child(state: ExecutionState, step_no: int) -> bool:
    return isinstance(state.plan.steps[step_no].wait, ForChild)


def _waits_for(state: ExecutionState, step_no: int, child: str) -> bool:
    return step_no in state.waiting and state.child_of(step_no) == child


def _step_of(state: ExecutionState, message: ChildRested | ChildEnded) -> int | None:
    """The step that waits for that child: the number it had when that was started, unless it was moved."""
    numbers = (message.step_no, *(no for no in state.waiting if _is_for_child(state, no)))
    return next((no for no in numbers if _waits_for(state, no, message.child)), None)


def _wait_of(state: ExecutionState, step_no: int) -> ForChild:
    wait = state.plan.steps[step_no].wait
    assert isinstance(wait, ForChild)
    return wait


def _parent(state: ExecutionState) -> str:
    assert state.family.parent_id is not None
    return state.family.parent_id


def _failed(error: Exception) -> Failed:
    names = tuple(kind.__name__ for kind in type(error).__mro__ if kind is not object)
    return Failed(error_of(error), names)
