"""Undoing: compensations run for what completed, last things first, until nothing is left to undo. Pure.

`compensating` is one durable state for all of it. While bodies of the graph are in flight they are
cancelled; a result that races with that is recorded, and undone like the others. Then one
compensation runs after another, in the reverse order of completion. Where it has come to is told by
the rows alone: a step that was undone is `compensated`, in the same commit as the outcome of what
undid it. So a crash anywhere comes back to the same place.

When a compensation fails for good, whatever its step was built upon stays as it is: to pull the
ground away from under what still stands is what the order is there to prevent. The rest is undone,
and the execution fails, saying what is left; a retry goes on with it.

A step that has waited for a child is undone by that: the child is rolled back, in the step's turn, unless
the step has a compensation of its own. The child tells its parent when it has ended, as ever. That it
could not undo itself is no row of the parent: after a crash it is asked once more.

What a fork has taken over was done by its source, once, and is the source's to undo.
"""

from __future__ import annotations

from perdure.actors.decider.course import ending, schedule
from perdure.actors.effects import timing
from perdure.actors.effects.orders import UndoChild
from perdure.actors.effects.turn import Turn
from perdure.actors.errors import ChildNotUndone, RollbackFailed, error_of
from perdure.actors.instructions.plan import PlannedStep
from perdure.actors.instructions.waits import ForChild
from perdure.actors.messages import ChildEnded, Interrupt
from perdure.actors.state.execution import ExecutionState
from perdure.store.records import Error
from perdure.store.states import SETTLED_STEP, State, StepState

NO_REASON = "no reason was given"
UNDOABLE_YET = frozenset({StepState.COMPLETED, StepState.RUNNING, StepState.WAITING})


def rollback(
    turn: Turn, reason: str | None = None, *, by: str | None = None, command_id: str | None = None
) -> None:
    """Stop everything for good, then undo what was completed; what has not begun is skipped.

    The execution's error stays what it is: it says why it came to that, if something has failed.
    """
    state = turn.state
    if state.state is State.COMPENSATING:
        return
    turn.note("rollback_requested", by=by, command_id=command_id, data={"reason": reason})
    was_begun = state.rollback_reason is not None
    turn.set_rollback(reason or NO_REASON)
    if was_begun:
        retry(turn)
        return
    schedule.stop_everything(turn, Interrupt.ROLLBACK, until=State.COMPENSATING)
    timing.set_remaining(turn, None)
    for step_no in range(state.size):
        if state.steps[step_no].state is StepState.PENDING:
            _never_run(turn, step_no)
    state.reindex()


def undo_after(turn: Turn, failed_no: int, error: Error) -> None:
    """A step has failed in a way that is to undo what was done; where nothing was, it has just failed."""
    state = turn.state
    steps = state.plan.steps[: state.size]
    if any(_is_own(state, step) and state.steps[step.no].state in UNDOABLE_YET for step in steps):
        if state.error is None:  # it would have gone on without the step
            turn.set_error(schedule.step_failed(steps[failed_no].key, state.steps[failed_no].attempt, error))
        rollback(turn, error.message)


def has_anything(state: ExecutionState) -> bool:
    """Whether something has been done that can be undone."""
    return any(_is_undoable(state, step) for step in state.plan.steps[: state.size])


def next_undo(state: ExecutionState) -> int | None:
    """The compensation that is to run now; None when everything is undone that can be."""
    if state.undoing is None:
        state.undoing = _in_order(state)
    while state.undoing:
        step = state.plan.steps[state.undoing[-1]]
        if _is_undoable(state, step) and not _has_failed(state, step):
            return step.no if step.undo is None else step.undo
        state.undoing.pop()
    return None


def start(turn: Turn, step_no: int) -> None:
    """Let a compensation begin; or, for a step of the graph, have its child rolled back."""
    state = turn.state
    if step_no >= state.size:
        schedule.start(turn, step_no)
        return
    child = state.child_of(step_no)
    state.family.undoing = step_no
    turn.note("step_compensating", step_no=step_no, data={"child": child})
    id_ = f"{state.id}.{turn.version_before + 1}.{step_no}.undo"
    turn.orders.append(UndoChild(id=id_, child=child))


def take_end(turn: Turn, ended: ChildEnded) -> None:
    """A child that nobody waits for has ended: it may have been rolled back for its parent."""
    if ended.state is State.ROLLED_BACK:
        take_undone(turn, ended.child, None)
    else:
        why = ChildNotUndone(ended.child, state=ended.state, error=ended.error)
        take_undone(turn, ended.child, error_of(why))


def take_undone(turn: Turn, child: str, error: Error | None) -> None:
    """That child has undone what it has done, or cannot."""
    state, step_no = turn.state, turn.state.family.undoing
    if step_no is None or state.state is not State.COMPENSATING or state.child_of(step_no) != child:
        return
    state.family.undoing = None
    if error is None:
        _compensated(turn, step_no)
        turn.note("step_compensated", step_no=step_no, data={"child": child})
        return
    state.family.not_undone[step_no] = error
    state.undoing = None
    data = {"child": child, "error": {"type": error.type, "message": error.message}, "will_retry": False}
    turn.note("step_compensation_failed", step_no=step_no, data=data)


def record(turn: Turn, undo: PlannedStep) -> None:
    """A compensation has come to its outcome: its step is undone, or what is left is another matter."""
    state = turn.state
    if undo.undoes is None:
        return
    if state.steps[undo.no].state is StepState.COMPLETED:
        _compensated(turn, undo.undoes)
    else:
        state.undoing = None


def verdict(turn: Turn) -> State:
    """How a rollback ends; where something is left that could not be undone, the error says what."""
    state = turn.state
    left = [step for step in state.plan.steps[: state.size] if _is_undoable(state, step)]
    if not left:
        return State.ROLLED_BACK
    failed = {step.key: _why(state, step) for step in left if _has_failed(state, step)}
    kept = [step.key for step in left if step.key not in failed]
    why = RollbackFailed(failed, kept=kept, reason=state.rollback_reason or NO_REASON)
    error = error_of(why)
    if error != state.error:
        turn.set_error(error)
    return State.FAILED


def retry(turn: Turn) -> None:
    """Go on with a rollback that has failed: what could not be undone is tried again, under the same keys."""
    state = turn.state
    turn.become(State.COMPENSATING)
    state.family.undoing = None
    state.family.not_undone.clear()
    for step in state.plan.steps[: state.size]:
        if step.undo is not None and state.steps[step.undo].state in {StepState.FAILED, StepState.CANCELLED}:
            state.steps[step.undo].reopen(new_lineage=False)
            turn.move_step(step.undo, StepState.PENDING)
    ending.reopen(turn)
    state.reindex()


def _never_run(turn: Turn, step_no: int) -> None:
    """A step of the graph that has no outcome and is not in flight will have none of its own."""
    if turn.state.steps[step_no].is_cut:
        schedule.cancel(turn, step_no)
        return
    schedule.skip(turn, step_no, reason="rollback")
    turn.state.count_settled(step_no)


def _is_undoable(state: ExecutionState, step: PlannedStep) -> bool:
    return _is_own(state, step) and state.steps[step.no].state is StepState.COMPLETED


def _is_own(state: ExecutionState, step: PlannedStep) -> bool:
    """Whether it can be undone, and by this execution."""
    return (step.undo is not None or _is_undone_by_child(step)) and not state.steps[step.no].is_shared


def _is_undone_by_child(step: PlannedStep) -> bool:
    return isinstance(step.wait, ForChild) and step.wait.waits and step.wait.follows


def _has_failed(state: ExecutionState, step: PlannedStep) -> bool:
    """Whether it was tried to undo the step, and it is not undone."""
    if step.undo is None:
        return step.no in state.family.not_undone
    return state.steps[step.undo].state in SETTLED_STEP


def _why(state: ExecutionState, step: PlannedStep) -> Error | None:
    return state.family.not_undone[step.no] if step.undo is None else state.steps[step.undo].error


def _compensated(turn: Turn, step_no: int) -> None:
    turn.move_step(step_no, StepState.COMPENSATED)
    turn.state.completed -= 1


def _in_order(state: ExecutionState) -> list[int]:
    """What is to be undone, the last to complete last; without what something stands on that stays."""
    beneath = _beneath_what_stays(state)
    steps = [
        step
        for step in state.plan.steps[: state.size]
        if _is_undoable(state, step) and step.no not in beneath
    ]
    steps.sort(key=lambda step: (state.steps[step.no].settled_version or 0, step.level, step.no))
    return [step.no for step in steps]


def _beneath_what_stays(state: ExecutionState) -> set[int]:
    """Every step that one which could not be undone was built upon."""
    steps = state.plan.steps
    work = [step.no for step in steps[: state.size] if _is_undoable(state, step) and _has_failed(state, step)]
    beneath: set[int] = set()
    for step_no in work:  # grows while it is walked
        new = [need for need in steps[step_no].needs if need not in beneath]
        beneath.update(new)
        work += new
    return beneath
