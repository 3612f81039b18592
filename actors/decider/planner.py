"""The deciding part of an execution: its state and a message in, a `Turn` out. Pure.

No clock, randomness or I/O: the moment and the chance come with the turn. Two passes make a turn.
First a message is taken: a report (`take_report`) settles its step or sends it into another attempt,
a moment (`take_timer`) lets a step go on, a command (see `commands`) asks for a change of course.
`proceed` then lets the machine run on: it starts what may start and finds the state the execution
has thereby come to. Several reports may share a turn.

A change of course is two durable states: the intent (`pausing`, `cancelling`) is written before a
body is cancelled, so that a crash in between comes back to the same intent; the rest (`paused`,
`cancelled`) when no body is left. A result that races with it wins: it is recorded, not dropped.
"""

from __future__ import annotations

import msgspec

from perdure.actors.decider import guarding, resting
from perdure.actors.decider.course import ending, failing, outside, schedule, spending, tripping, undoing
from perdure.actors.decider.kinds import children, entering, looping, repeating, waiting
from perdure.actors.effects import accounting, overdue, timing
from perdure.actors.effects.turn import Asker, Turn
from perdure.actors.errors import CrashBudgetExceeded, ExecutionTimeout, error_of
from perdure.actors.messages import (
    Completed,
    Failed,
    Held,
    Interrupt,
    Interrupted,
    StepReport,
)
from perdure.actors.state import code
from perdure.actors.state.execution import DEADLINE_TIMER, RETRY_TIMER, WAIT_TIMER, ExecutionState
from perdure.actors.state.trial import CRASH_BUDGET, is_convicted
from perdure.store.errors import StatementFailed
from perdure.store.states import TERMINAL, State, StepState
from perdure.store.writes import WARN_TIMER

RESTING = frozenset({State.PAUSED, *TERMINAL})


def begin(turn: Turn) -> None:
    """A new execution, or one that was queued: start what has no needs. `idle` ends here."""
    state = turn.state
    if state.queue is not None:
        accounting.set_slot(turn, state.queue)
    turn.become(State.SCHEDULING)
    turn.note("workflow_started", data={"workflow": state.plan.workflow, "revision": state.plan.revision})
    timeout_ms = state.timeout_ms if state.remaining_ms is None else state.remaining_ms
    if timeout_ms is not None and state.deadline_at is None:
        timing.set_deadline(turn, turn.now + timeout_ms)
        timing.set_remaining(turn, None)
    schedule.enter_first(turn)


def take_up(turn: Turn, *, crash_budget: int = CRASH_BUDGET) -> None:
    """An execution folded from the store: what was running when its owner left runs again.

    The attempt is the same one (none is used up), unless the step is known to kill its process.
    """
    state = turn.state
    if state.state in RESTING:
        return
    if state.state is State.IDLE:
        if state.queue is None:
            begin(turn)
        return
    for step_no in sorted(state.running):
        run = state.steps[step_no]
        if run.loop is not None:
            looping.take_up(turn, step_no, crash_budget=crash_budget)
        if is_convicted(deaths=run.deaths, died_alone=run.died_alone, budget=crash_budget):
            error = CrashBudgetExceeded(state.plan.steps[step_no].key, deaths=run.deaths)
            failed = Failed(error_of(error), may_retry=False)
            _end_attempt(turn, StepReport(step_no, run.generation, run.attempt, failed))
        else:
            _take_interruption(turn, step_no, "crash")
    if state.state not in schedule.WINDING_UP:
        state.ready.clear()
        state.entering.clear()
        schedule.enter_first(turn)
    children.look_for_unconfirmed(turn)


def take_over(turn: Turn, before: ExecutionState) -> None:
    """The state was folded anew while bodies run: they, and threads that linger, go on as they were."""
    state = turn.state
    state.lingering |= before.lingering
    state.end = before.end
    for run, run_before in zip(state.steps, before.steps, strict=True):
        run.note = run_before.note
    looping.take_over(state, before)
    if state.state not in RESTING and state.state not in schedule.WINDING_UP:
        schedule.enter_first(turn)
        state.trial = before.trial
        if state.trial is not None:
            state.trial.rewind(state.running)
    children.look_for_unconfirmed(turn)
    take_due(turn)


def take_report(turn: Turn, report: StepReport) -> None:
    """An attempt has ended; a report about one that no longer counts says nothing."""
    if report.item is not None:
        looping.take_report(turn, report, report.item)
        return
    run = turn.state.steps[report.step_no]
    if run.state is not StepState.RUNNING or (run.generation, run.attempt) != (
        report.generation,
        report.attempt,
    ):
        return
    _end_attempt(turn, report)
    ending.settle(turn, report.step_no)


def take_refusal(turn: Turn, report: StepReport, refused: StatementFailed, *, before: ExecutionState) -> None:
    """The database refused what a step wanted executed with its outcome: that is the step's failure.

    `before` is the state that had taken the outcome, and was folded anew.
    """
    take_over(turn, before)
    names = tuple(kind.__name__ for kind in type(refused).__mro__ if kind is not object)
    failed = Failed(error_of(refused), names)
    take_report(turn, msgspec.structs.replace(report, outcome=failed))


def take_timer(turn: Turn, kind: str, step_no: int) -> None:
    """A moment has come; one that has been cleared meanwhile says nothing."""
    state = turn.state
    if kind == WARN_TIMER:
        if step_no in state.warnings:
            overdue.take(turn, step_no)
        return
    if kind == DEADLINE_TIMER:
        if state.deadline_at is not None and state.deadline_at <= turn.now:
            _exceed_deadline(turn)
        return
    if step_no not in state.waiting:
        return
    if kind == WAIT_TIMER:
        waiting.take_moment(turn, step_no)
    else:
        outside.make_ready(state, step_no)


def take_due(turn: Turn) -> None:
    """Fire whatever fell due while nobody was looking, in due order."""
    state = turn.state
    if state.trial is not None:
        state.trial.heed(turn.now)
    due = [(due_at, state.timer_of(no), no) for no, due_at in _moments(state)]
    due += [(due_at, WARN_TIMER, no) for no, due_at in state.warnings.items()]
    if state.deadline_at is not None:
        due.append((state.deadline_at, DEADLINE_TIMER, -1))
    for due_at, kind, step_no in sorted(due):
        if due_at <= turn.now:
            take_timer(turn, kind, step_no)


def proceed(turn: Turn, *, is_closing: bool = False) -> None:
    """Start what may start and find the state that leaves the execution in.

    `is_closing`: the runtime is shutting down. Nothing starts; an execution that has not come to
    its end stays as it is, for the next owner.
    """
    state = turn.state
    if state.state in RESTING or state.queue is not None:
        return
    if is_closing:
        looping.go_on(turn, is_closing=True)
        if not state.running and (state.is_everything_settled or state.state in schedule.STOPPING):
            resting.come_to_rest(turn, is_closing=True)
        elif state.state is State.AWAITING_COMPLETION and (state.ready or state.entering):
            turn.become(State.SCHEDULING)  # what it waited for has come: the next owner is to know
        return
    _go_on(turn)
    while state.entering and state.state in schedule.MAY_LAUNCH and code.is_here(state):
        _go_on(turn)  # a step that was refused, or that has no items, has let others in
    if state.running:
        if state.state not in schedule.STOPPING:
            turn.become(State.EXECUTING)
        return
    resting.come_to_rest(turn, is_closing=False)


def _go_on(turn: Turn) -> None:
    """Let steps enter, start what may start; once a required step has failed nobody is to wait."""
    state = turn.state
    if state.entering:
        entering.decide(turn)
    if state.is_blocked:
        _give_up_waits(turn)
    _launch(turn)
    if state.is_blocked:
        _give_up_waits(turn)
        _launch(turn)


def _launch(turn: Turn) -> None:
    """Start what may start, steps and items."""
    state = turn.state
    schedule.launch(turn, spending.admit)
    while state.looping and looping.go_on(turn):
        schedule.launch(turn, spending.admit)


def _give_up_waits(turn: Turn) -> None:
    state = turn.state
    if (state.waiting or state.ready) and state.state in schedule.MAY_LAUNCH:
        waiting.abandon(turn)


def answer_waiters(turn: Turn, waiters: list[Asker]) -> bool:
    """Tell those who wait for the execution to come to rest, once it has, where it rests.

    Or where it stands, when it is left to a runner that has its code. Answers whether they were told;
    they wait on until the turn is durable.
    """
    state = turn.state
    if state.state in schedule.STOPPING and (state.running or state.lingering or code.is_here(state)):
        return False
    if waiters:
        turn.respond_here(*waiters)
    return True


def may_park(turn: Turn, *, linger_ms: int | None, is_closing: bool) -> bool:
    """Whether the execution needs no actor for the next `linger_ms`; with None it keeps it to the end."""
    state = turn.state
    if state.running or state.lingering or state.family.starting:
        return False
    if is_closing or state.state in TERMINAL or state.queue is not None:
        return True
    if linger_ms is None:
        return False
    if state.state is State.PAUSED or not code.is_here(state):
        return True
    return state.state is State.AWAITING_COMPLETION and all(
        due_at > turn.now + linger_ms for due_at in due_times(state)
    )


def due_times(state: ExecutionState) -> list[int]:
    """When (ms) the execution has something to do that nobody tells it."""
    times = list(state.warnings.values())
    if state.deadline_at is not None:
        times.append(state.deadline_at)
    if state.trial is not None and state.trial.until is not None:
        times.append(state.trial.until)
    if state.state is State.PAUSED and state.resume_plan is not None and state.resume_plan.at_ms is not None:
        times.append(state.resume_plan.at_ms)
    if state.looping:
        times += looping.due_times(state)
    if state.waiting:
        times += [due_at for _, due_at in _moments(state)]
    return times


def _moments(state: ExecutionState) -> list[tuple[int, int]]:
    """When (ms) waiting steps have something to do; while nothing may start, waits have not."""
    may_fire = state.state in schedule.MAY_LAUNCH
    return [
        (no, due_at)
        for no in state.waiting - state.family.starting
        if (due_at := state.steps[no].due_at) is not None and (may_fire or state.plan.steps[no].wait is None)
    ]


def _end_attempt(turn: Turn, report: StepReport) -> None:
    state = turn.state
    began_at = state.steps[report.step_no].started_at
    schedule.stop_running(state, report.step_no)
    if report.usage is not None:
        accounting.count_usage(turn, report.step_no, report.usage)
    if report.lingers:
        state.lingering.add(report.step_no)
    match report.outcome:
        case Completed(output, statements):
            turn.execute(statements)
            step = state.plan.steps[report.step_no]
            if step.repeat is None or not repeating.is_repeated(turn, step, step.repeat, output):
                schedule.complete(turn, report.step_no, output)
                if step.undoes is not None:
                    undoing.record(turn, step)
        case Failed():
            _take_failure(turn, report, report.outcome)
        case Interrupted(reason):
            _take_interruption(turn, report.step_no, reason.value)
        case Held():
            guarding.hold(turn, report.step_no, report.outcome)
    if state.plan.circuit_breaker is not None:
        tripping.watch(turn, report, began_at=began_at)


def _take_failure(turn: Turn, report: StepReport, failed: Failed) -> None:
    """Record the failed attempt, then wait for the next one or settle the step."""
    due_at = failing.take_failure(turn, report.step_no, failed)
    if due_at is None:
        undoing.record(turn, turn.state.plan.steps[report.step_no])
        return
    if due_at > turn.now:
        turn.state.waiting.add(report.step_no)
        turn.set_timer(RETRY_TIMER, report.step_no, due_at)
    else:
        outside.make_ready(turn.state, report.step_no)


def _take_interruption(turn: Turn, step_no: int, reason: str) -> None:
    """Take a step whose body was cut off back to pending, no attempt used up; in the end cancel it."""
    state = turn.state
    schedule.stop_running(state, step_no)
    if outside.is_called_off(state, step_no, reason=reason):
        schedule.cancel(turn, step_no)
        return
    turn.move_step(step_no, StepState.PENDING)
    attempt = state.steps[step_no].attempt
    turn.note("step_interrupted", step_no=step_no, attempt=attempt, data={"reason": reason})
    if state.state in schedule.MAY_LAUNCH:
        outside.make_ready(state, step_no)


def _exceed_deadline(turn: Turn) -> None:
    """The execution has taken too long: stop as a cancel would, to end failed."""
    state = turn.state
    if state.state in RESTING or state.state in schedule.WINDING_UP:
        return
    error = ExecutionTimeout(
        f"execution {state.id} did not finish before its deadline", execution_id=state.id
    )
    turn.set_error(error_of(error))
    turn.note("deadline_exceeded", data={"deadline_at_ms": state.deadline_at})
    schedule.stop_everything(turn, Interrupt.DEADLINE)
