"""Which steps start, wait, are skipped, and when an execution has come to its end. Pure.

Under `level` scheduling the steps of a level enter once every step of the levels below has
settled; under `eager` a step enters when its own needs have, or as many as it wants. A step that
enters is *ready*, or *skipped* when its needs ended in a way it cannot run after, or *entering* when
more than its needs has a say (see `entering`). Ready steps start in order, as far as `parallelism`
and `parallel: false` allow; suspects (see `trial`) start first, in groups.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from typing import Any, Final

from perdure.actors.decider.course import choosing, ending
from perdure.actors.effects import moves, timing
from perdure.actors.effects.turn import InterruptSteps, Turn
from perdure.actors.errors import StepFailed
from perdure.actors.messages import Interrupt
from perdure.actors.state import code
from perdure.actors.state.execution import RETRY_TIMER, ExecutionState
from perdure.actors.state.trial import Trial, worst
from perdure.store.records import Error
from perdure.store.states import State, StepState

MAY_LAUNCH = frozenset({State.IDLE, State.SCHEDULING, State.EXECUTING, State.AWAITING_COMPLETION})
WINDING_UP = frozenset({State.CANCELLING, State.COMPENSATING})  # nothing of the graph starts any more
STOPPING = frozenset({State.PAUSING, *WINDING_UP})
NAMED_MAX: Final = 5  # needs that the log names where a step is skipped: more would not be read


class Admission(Enum):
    """What is said to a step that would begin now."""

    GRANTED = "it begins"
    HELD = "it stays ready, and is asked about again when something has ended"
    DENIED = "it has been dealt with otherwise"


Admit = Callable[[Turn, int], Admission]


def enter_first(turn: Turn) -> None:
    """After a fold, a start or a reopening: let in every pending step whose time has come."""
    state = turn.state
    if state.is_blocked:
        _enter_begun(state, range(state.size))
    elif state.is_eager:
        open_steps: Iterable[int] = [no for no in range(state.size) if state.unmet[no] <= 0]
        _enter(turn, open_steps)
    else:
        _enter_level(turn)
    _put_on_trial(state)


def _put_on_trial(state: ExecutionState) -> None:
    """Let those steps be tried, before any other starts, that may be killing the process."""
    steps = state.steps
    suspects = worst((no for no in state.ready if steps[no].is_suspect), lambda no: steps[no].worst_deaths)
    if suspects:
        suspects.sort(key=lambda no: steps[no].started_at or 0, reverse=True)
        state.trial = Trial(suspects, deaths=steps[suspects[0]].worst_deaths)


def settle(turn: Turn, step_no: int) -> None:
    """Count a step that has just settled and let in whatever that lets in; nothing before an end."""
    state = turn.state
    if step_no >= state.size:
        return
    was_blocked = state.is_blocked
    state.count_settled(step_no)
    dependents = state.plan.steps[step_no].dependents
    if state.state in WINDING_UP:
        return
    if state.is_blocked:
        _enter_begun(state, dependents if was_blocked or state.is_eager else _above(state))
    elif state.is_eager:
        _enter(turn, [no for no in dependents if state.unmet[no] == 0])
    elif state.level_open[state.level] == 0:
        turn.checkpoint(label=None, by=None, is_automatic=True)
        _enter_level(turn)


def complete(turn: Turn, step_no: int, output: bytes, *, data: dict[str, Any] | None = None) -> None:
    """Record that a step has completed; what nobody was told to have begun begins with this."""
    run = turn.state.steps[step_no]
    begins = run.started_at is None
    turn.move_step(step_no, StepState.COMPLETED, is_outcome=True, output=output, begins=begins)
    turn.note("step_completed", step_no=step_no, attempt=run.attempt, data=data)
    settle(turn, step_no)


def complete_wait(turn: Turn, step_no: int, output: bytes) -> None:
    """Record that what a step waited for has come."""
    stop_waiting(turn, step_no)
    complete(turn, step_no, output)


def stop_waiting(turn: Turn, step_no: int) -> None:
    """Let a step wait no longer, neither for its moment nor for anybody; what becomes of it comes next."""
    turn.state.waiting.discard(step_no)
    turn.clear_step_timer(step_no)


def fail(turn: Turn, step_no: int, error: Error, *, has_begun: bool = True) -> None:
    """Record that a step has failed for good, and for which step the execution fails if it does."""
    state = turn.state
    run = state.steps[step_no]
    run.attempt = max(run.attempt, 1)
    turn.move_step(step_no, StepState.FAILED, is_outcome=True, error=error)
    data: dict[str, Any] = {"error": {"type": error.type, "message": error.message}, "will_retry": False}
    if not has_begun:
        data["has_begun"] = False
    turn.note("step_failed", step_no=step_no, attempt=run.attempt, data=data)
    settle(turn, step_no)
    if state.is_blocked and state.error is None and state.state not in WINDING_UP:
        turn.set_error(step_failed(state.plan.steps[step_no].key, run.attempt, error))


def skip(
    turn: Turn, step_no: int, *, reason: str, of: Sequence[int] = (), output: bytes | None = None
) -> None:
    """Record that a step will not run, and why: `when`, or `dependencies`, and `of` which."""
    turn.move_step(step_no, StepState.SKIPPED, is_outcome=True, output=output)
    keys = [turn.state.plan.steps[no].key for no in of[:NAMED_MAX]]
    turn.note("step_skipped", step_no=step_no, data={"reason": reason} | ({"of": keys} if keys else {}))


def cancel(turn: Turn, step_no: int) -> None:
    """Record that a step was called off, with its items; that lets in only what had begun before."""
    run = turn.state.steps[step_no]
    if run.loop is not None:
        moves.call_off(turn, run.loop)
    turn.move_step(step_no, StepState.CANCELLED, is_outcome=True)
    turn.note("step_cancelled", step_no=step_no, attempt=run.attempt)
    turn.state.count_settled(step_no)
    if turn.state.is_blocked and turn.state.state in MAY_LAUNCH:
        _enter_begun(turn.state, turn.state.plan.steps[step_no].dependents)


def stop_everything(turn: Turn, reason: Interrupt, *, until: State = State.CANCELLING) -> None:
    """Write the intent to stop for good and cancel what runs; what waits is cancelled at once."""
    state = turn.state
    is_other_end = until is State.COMPENSATING or state.state not in WINDING_UP
    turn.become(until)
    timing.set_deadline(turn, None)
    kept = {no for no in state.waiting if state.family.has_to_end(no)}
    for step_no, run in enumerate(state.steps):
        if run.state is StepState.WAITING and step_no not in kept:
            turn.clear_step_timer(step_no)
            cancel(turn, step_no)
    if is_other_end:
        ending.reopen(turn)
    state.waiting = kept
    state.ready.clear()
    state.entering.clear()
    turn.orders.append(InterruptSteps(reason))


def step_failed(key: str, attempts: int, cause: Error | None) -> Error:
    """Why an execution fails when a required step has."""
    error = StepFailed(key, attempts=attempts, error=cause)
    stack = None if cause is None else cause.stack
    return Error(type=StepFailed.__name__, message=str(error), step=key, attempt=attempts, stack=stack)


def launch(turn: Turn, admit: Admit) -> None:
    """Start ready steps, as many as may run beside each other and `admit` lets begin.

    A thread that lingers counts as in flight. Once a required step has failed only those go on that
    had begun before.
    """
    state = turn.state
    if state.state not in MAY_LAUNCH or not code.is_here(state):
        return
    _keep_begun(state)
    if state.trial is not None and _try_suspects(turn, state.trial, admit):
        return
    held: list[int] = []
    while state.ready and _has_room(state):
        step_no = state.ready[0]
        if step_no in state.lingering:
            held.append(state.ready.popleft())
            continue
        if not _fits_beside(state, step_no):
            break
        state.ready.popleft()
        admission = _start_admitted(turn, step_no, admit)
        if admission is Admission.HELD:
            held.append(step_no)
        elif admission is Admission.DENIED:
            if state.state not in MAY_LAUNCH:
                break
            _keep_begun(state)
    state.ready.extend(held)


def _keep_begun(state: ExecutionState) -> None:
    """Once a required step has failed, let only those stay ready that have begun."""
    if state.is_blocked:
        state.ready = deque(no for no in state.ready if state.steps[no].is_cut)


def _start_admitted(turn: Turn, step_no: int, admit: Admit) -> Admission:
    admission = admit(turn, step_no) if turn.state.is_guarded else Admission.GRANTED
    if admission is Admission.GRANTED:
        start(turn, step_no)
    return admission


def _try_suspects(turn: Turn, trial: Trial, admit: Admit) -> bool:
    """Start the next group of suspects when its time has come; False when each has had its time."""
    state = turn.state
    while state.state in MAY_LAUNCH and not trial.is_on(state.running):
        group = trial.next_group(now=turn.now)
        if not group:
            state.trial = None
            return False
        ready, state.ready = state.ready, deque()
        for step_no in ready:
            is_next = state.state in MAY_LAUNCH and step_no in group
            fits = is_next and _has_room(state) and _fits_beside(state, step_no)
            if not fits or _start_admitted(turn, step_no, admit) is Admission.HELD:
                state.ready.append(step_no)
    return True


def start(turn: Turn, step_no: int) -> None:
    """Start the current attempt of a step."""
    state = turn.state
    run = state.steps[step_no]
    if run.state is StepState.WAITING:
        state.waiting.discard(step_no)
        turn.set_timer(RETRY_TIMER, step_no, None)
    if run.attempt == 0:
        run.attempt = 1
    turn.move_step(step_no, StepState.RUNNING)
    step = state.plan.steps[step_no]
    state.running.add(step_no)
    state.is_exclusive = not step.is_parallel
    if run.loop is not None:
        state.looping.add(step_no)
        turn.note("step_started", step_no=step_no, attempt=run.attempt, data={"items": run.loop.total})
        return
    turn.note("step_started", step_no=step_no, attempt=run.attempt)
    turn.orders.append(choosing.launch(turn, step))


def stop_running(state: ExecutionState, step_no: int) -> None:
    """Take a step whose body has ended out of the counts of what is in flight."""
    state.running.discard(step_no)
    state.looping.discard(step_no)
    if not state.running:
        state.is_exclusive = False


def _has_room(state: ExecutionState) -> bool:
    """Whether anything may start beside what is in flight."""
    lingering = state.lingering
    if state.is_exclusive or (lingering and any(not state.plan.steps[no].is_parallel for no in lingering)):
        return False
    limit = state.plan.parallelism or len(state.steps)
    return len(state.running) + len(lingering) < limit


def _fits_beside(state: ExecutionState, step_no: int) -> bool:
    """Whether this step may start beside what is in flight."""
    if state.plan.steps[step_no].is_parallel:
        return step_no not in state.lingering
    return not (state.running or state.lingering)


def _enter_level(turn: Turn) -> None:
    """Let in the lowest level that has open steps; levels that are skipped whole are passed."""
    state = turn.state
    levels = state.plan.levels
    while state.level < len(levels):
        if state.level_open[state.level]:
            _enter(turn, levels[state.level])
            if state.level_open[state.level]:
                return
        state.level += 1
    state.level = len(levels) - 1


def _above(state: ExecutionState) -> Iterable[int]:
    """The steps of the levels that nobody has come to."""
    return [no for level in state.plan.levels[state.level + 1 :] for no in level]


def _enter_begun(state: ExecutionState, step_nos: Iterable[int]) -> None:
    """A required step has failed: nothing begins any more, and what was cut off goes on.

    What waits is let in when it is due.
    """
    pending = [no for no in step_nos if state.steps[no].state is StepState.PENDING]
    state.ready.extend([no for no in pending if state.may_go_on(no) and no not in state.ready])


def _enter(turn: Turn, step_nos: Iterable[int]) -> None:
    """Make pending steps ready, or skip them together with what hangs on them."""
    state = turn.state
    work = list(step_nos)
    for step_no in work:  # grows while it is walked: skipping lets further steps in
        run = state.steps[step_no]
        if run.state is not StepState.PENDING:
            continue
        if state.lets_in(step_no):
            asks = state.plan.steps[step_no].is_asked_first and not run.is_cut
            (state.entering if asks else state.ready).append(step_no)
            continue
        unmet = [no for no in state.plan.steps[step_no].needs if not state.is_met(no)]
        skip(turn, step_no, reason="dependencies", of=unmet)
        state.count_settled(step_no)
        if state.is_eager:
            work.extend(no for no in state.plan.steps[step_no].dependents if state.unmet[no] == 0)
