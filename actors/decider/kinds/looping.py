"""Steps that are performed for each of many items: which start, what their ends mean. Pure.

The step itself runs no body. While it is `running`, items of it are in flight, as many as it allows;
an item that waits for its next attempt keeps its place among them. When none is in flight the step
settles, or waits for the next attempt, or goes back to `pending` because the execution is to rest.
An item that fails for good fails the step, once those in flight have ended, unless the step goes on
without it. Nothing begins any more once a required step has failed or the execution is cancelled:
the step is then cancelled, and a retry goes on with the items that are left.

Each attempt of an item asks the budget, as one of a step does. Where it has to wait for what others in
flight will have used, the step stays `running`, maybe with no item in flight, and asks when they end.

Deaths of the process count for the items in flight, not for the step; suspects among them are tried
before other items start, as suspects among steps are (see `trial`).
"""

from __future__ import annotations

from typing import Any

from perdure.actors.decider.course import choosing, schedule, spending, tripping
from perdure.actors.decider.course.evaluating import evaluate, unanswered
from perdure.actors.decider.course.retry import delay_before, may_retry
from perdure.actors.decider.kinds.items import cut
from perdure.actors.effects import accounting, moves
from perdure.actors.effects.turn import Turn
from perdure.actors.errors import CrashBudgetExceeded, ItemFailed, error_of
from perdure.actors.instructions.plan import ForEach
from perdure.actors.messages import Completed, Failed, Held, Interrupted, Nudge, StepEnded, StepReport
from perdure.actors.state.execution import RETRY_TIMER, ExecutionState
from perdure.actors.state.loop import Loop
from perdure.actors.state.trial import Trial, is_convicted
from perdure.store.errors import PerdureError
from perdure.store.records import Error
from perdure.store.states import State, StepState


def begin(turn: Turn, step_no: int, for_each: ForEach) -> None:
    """Find out what a step that is let in goes over, unless it goes on with what it has begun."""
    state = turn.state
    run = state.steps[step_no]
    step = state.plan.steps[step_no]
    if run.loop is not None:
        run.loop.error = None
        state.ready.append(step_no)
        return
    answer, error = evaluate(for_each.items, turn, step, what="items")
    if error is None:
        try:
            total, pages = cut(answer)
        except PerdureError as refused:
            error = unanswered(step, what="items", why=str(refused))
    if error is not None:
        schedule.fail(turn, step_no, error, has_begun=False)
        return
    run.loop = Loop(step_no=step_no, lineage=run.lineage, total=total, pages=pages)
    turn.kept.loop(run.loop, is_new=True)
    state.ready.append(step_no)


def take_up(turn: Turn, step_no: int, *, crash_budget: int) -> None:
    """What was in flight when its owner left starts again, unless an item is known to kill its process."""
    run = turn.state.steps[step_no]
    loop = run.loop
    assert loop is not None
    for item in sorted(loop.running):
        each = loop.open[item]
        if is_convicted(deaths=each.deaths, died_alone=each.died_alone, budget=crash_budget):
            key = f"{turn.state.plan.steps[step_no].key}[{item}]"
            error = error_of(CrashBudgetExceeded(key, deaths=each.deaths))
            outcome: Failed | None = Failed(error, may_retry=False)
        else:
            outcome = None
        loop.running.discard(item)
        if outcome is None:
            loop.ready.append(item)
            moves.move(turn, loop, item, StepState.PENDING)
        else:
            _take_failure(turn, loop, item, outcome)


def take_over(state: ExecutionState, before: ExecutionState) -> None:
    """The state was folded anew while items are in flight: they go on as they were."""
    for run, run_before in zip(state.steps, before.steps, strict=True):
        if run.loop is not None and run_before.loop is not None:
            run.loop.lingering |= run_before.loop.lingering
            run.loop.trial = run_before.loop.trial
            if run.loop.trial is not None:
                run.loop.trial.rewind(run.loop.running)


def take_report(turn: Turn, report: StepReport, item: int) -> None:
    """An attempt of an item has ended; a report about one that no longer counts says nothing."""
    state = turn.state
    run = state.steps[report.step_no]
    loop = run.loop
    if loop is None or item not in loop.running or report.generation != run.generation:
        return
    if loop.open[item].attempt != report.attempt:
        return
    began_at = loop.open[item].began_at
    loop.running.discard(item)
    if report.usage is not None:
        accounting.count_usage(turn, report.step_no, report.usage)
    if report.lingers:
        loop.lingering.add(item)
    match report.outcome:
        case Completed(output, statements):
            turn.execute(statements)
            moves.move(turn, loop, item, StepState.COMPLETED, output=output)
            loop.complete(item, output)
        case Failed():
            _take_failure(turn, loop, item, report.outcome)
        case Interrupted():
            _take_back(turn, loop, item)
        case Held(until=until):
            _hold(turn, loop, item, until)
    if state.plan.circuit_breaker is not None:
        tripping.watch(turn, report, began_at=began_at)


def take_nudge(turn: Turn, nudge: Nudge, item: int) -> None:
    """A guard may let an item through that it has held; one that is elsewhere by now says nothing."""
    state = turn.state
    run = state.steps[nudge.step_no]
    loop = run.loop
    if loop is None or item not in loop.waiting or state.state not in schedule.MAY_LAUNCH:
        return
    if (run.generation, loop.open[item].attempt) != (nudge.generation, nudge.attempt):
        return
    loop.waiting[item] = turn.now
    if nudge.step_no in state.waiting:
        state.waiting.discard(nudge.step_no)
        state.ready.append(nudge.step_no)


def _hold(turn: Turn, loop: Loop, item: int, until: int) -> None:
    """A guard did not let the body through: it waits, no attempt used up, and asks again."""
    if turn.state.state in schedule.WINDING_UP:
        _take_back(turn, loop, item)
        return
    loop.waiting[item] = until
    moves.move(turn, loop, item, StepState.WAITING, due_at=until)


def _take_back(turn: Turn, loop: Loop, item: int) -> None:
    """An item was cut off, or did not begin: it is to be started again, unless nothing is any more."""
    loop.ready.appendleft(item)
    is_over = turn.state.state in schedule.WINDING_UP
    moves.move(turn, loop, item, StepState.CANCELLED if is_over else StepState.PENDING)


def _take_failure(turn: Turn, loop: Loop, item: int, failed: Failed) -> None:
    """Let the item wait for its next attempt, go on without it, or let the step fail."""
    state = turn.state
    step = state.plan.steps[loop.step_no]
    each = loop.open[item]
    assert step.for_each is not None
    error = failed.error
    retries = state.state not in schedule.WINDING_UP and may_retry(step.retry, failed, attempt=each.attempt)
    data: dict[str, Any] = {"item": item, "error": {"type": error.type, "message": error.message}}
    data["will_retry"] = retries
    delay = delay_before(step.retry, retry=each.attempt, chance=turn.chance) if retries else 0
    turn.note(
        "item_failed",
        step_no=step.no,
        attempt=each.attempt,
        data=data | ({"delay_ms": delay} if retries else {}),
    )
    if retries:
        each.attempt += 1
        loop.waiting[item] = turn.now + delay
        moves.move(turn, loop, item, StepState.WAITING, error=error, due_at=turn.now + delay)
        return
    if step.for_each.continue_on_error:
        moves.move(turn, loop, item, StepState.FAILED, error=error)
        loop.forgive(item)
        return
    failure = error_of(ItemFailed(step.key, item=item, attempts=each.attempt, error=error))
    failure = Error(type=failure.type, message=failure.message, stack=error.stack)
    _let_fail(turn, loop, item, failure)


def _let_fail(turn: Turn, loop: Loop, item: int, error: Error) -> None:
    """The step is going to fail because of this item, or of another one with a lower number."""
    moves.move(turn, loop, item, StepState.FAILED, error=error, is_open=True)
    loop.ready.append(item)
    now = loop.open[item].generation
    if all(
        no >= item
        for no, each in loop.open.items()
        if (each.state, each.generation) == (StepState.FAILED, now)
    ):
        loop.error = error


def take_end(turn: Turn, ended: StepEnded) -> None:
    """A worker thread that went on after a timeout has come to its end."""
    loop = turn.state.steps[ended.step_no].loop
    if ended.item is None:
        turn.state.lingering.discard(ended.step_no)
    elif loop is not None:
        loop.lingering.discard(ended.item)


def go_on(turn: Turn, *, is_closing: bool = False) -> bool:
    """Start what may start of every loop; True if a step has settled, which may let others in."""
    have_settled = [_go_on(turn, step_no, is_closing=is_closing) for step_no in sorted(turn.state.looping)]
    return any(have_settled)


def _go_on(turn: Turn, step_no: int, *, is_closing: bool) -> bool:
    state = turn.state
    loop = state.steps[step_no].loop
    assert loop is not None
    is_held = not is_closing and _may_fill(state, loop) and _fill(turn, loop) is schedule.Admission.HELD
    if not (loop.in_flight or is_held):
        may_start = state.state in schedule.MAY_LAUNCH and not is_closing
        return _come_to_rest(turn, loop, may_start=may_start)
    if loop.percent > loop.told:
        loop.told = loop.percent
        turn.note("step_progressed", step_no=step_no, data=loop.describe())
    return False


def _may_fill(state: ExecutionState, loop: Loop) -> bool:
    """Whether items may start at all."""
    return state.state in schedule.MAY_LAUNCH and loop.error is None and not state.is_blocked


def _come_to_rest(turn: Turn, loop: Loop, *, may_start: bool) -> bool:
    """No item is in flight: find out what that means for the step. True if it has settled."""
    state = turn.state
    step = state.plan.steps[loop.step_no]
    run = state.steps[loop.step_no]
    schedule.stop_running(state, step.no)
    if loop.error is not None:
        moves.call_off(turn, loop)
        schedule.fail(turn, step.no, loop.error)
    elif loop.is_done:
        run.loop = None
        output = loop.result(execution_id=state.id, step=step.key)
        schedule.complete(turn, step.no, output, data={"items": loop.total, "failed": loop.failed})
    elif state.is_blocked or state.state in schedule.WINDING_UP:
        schedule.cancel(turn, step.no)
    elif not may_start:
        turn.move_step(step.no, StepState.PENDING)
        data = {"reason": "pause" if state.state is State.PAUSING else "shutdown"}
        turn.note("step_interrupted", step_no=step.no, attempt=run.attempt, data=data)
        return False
    else:
        due_at = min(loop.waiting.values())
        turn.move_step(step.no, StepState.WAITING, due_at=due_at)
        turn.note(
            "step_waiting", step_no=step.no, attempt=run.attempt, data={"for": "retry", "due_at_ms": due_at}
        )
        turn.set_timer(RETRY_TIMER, step.no, due_at)
        state.waiting.add(step.no)
        return False
    return True


def due_times(state: ExecutionState) -> list[int]:
    """When (ms) loops with items in flight have something else to do; not while nothing may start."""
    times: list[int] = []
    for step_no in state.looping:
        loop = state.steps[step_no].loop
        assert loop is not None
        if not _may_fill(state, loop):
            continue
        times += [due_at for item, due_at in loop.waiting.items() if item not in loop.lingering]
        if loop.trial is not None and loop.trial.until is not None:
            times.append(loop.trial.until)
    return times


def _fill(turn: Turn, loop: Loop) -> schedule.Admission:
    """Start items: those that were cut off or are due again, then the next ones; as far as they are let."""
    due = [item for item, due_at in loop.waiting.items() if due_at <= turn.now]
    for item in sorted(item for item in due if item not in loop.lingering):
        del loop.waiting[item]
        loop.ready.append(item)
    admission = _start_some(turn, loop)
    for item in [item for item in loop.ready if loop.open[item].state is StepState.WAITING]:
        moves.move(turn, loop, item, StepState.PENDING)  # its time has come, and it was not let in
    return admission


def _start_some(turn: Turn, loop: Loop) -> schedule.Admission:
    """Start suspects alone, else as many items as may be in flight."""
    step = turn.state.plan.steps[loop.step_no]
    assert step.for_each is not None
    if loop.trial is not None:
        admission = _try_suspects(turn, loop, loop.trial)
        if loop.trial is not None:
            return admission
    room = step.for_each.max_concurrency - len(loop.open.keys() | loop.lingering)
    for _ in range(len(loop.ready) + min(room, loop.total - loop.begun)):
        admission = _let_in(turn, loop)
        if admission is not schedule.Admission.GRANTED:
            return admission
    return schedule.Admission.GRANTED


def _try_suspects(turn: Turn, loop: Loop, trial: Trial) -> schedule.Admission:
    """Start the next group of suspects when its time has come; the trial ends when each has had its own."""
    trial.heed(turn.now)
    while not trial.is_on(loop.running):
        group = trial.next_group(now=turn.now)
        if not group:
            loop.trial = None
            break
        for item in [item for item in loop.ready if item in group]:
            admission = _let_in(turn, loop, item)
            if admission is not schedule.Admission.GRANTED:
                return admission
    return schedule.Admission.GRANTED


def _let_in(turn: Turn, loop: Loop, item: int | None = None) -> schedule.Admission:
    """Start an item, else the one whose turn it is, if the budget lets it; the step may fail if not."""
    state = turn.state
    admission, error = schedule.Admission.GRANTED, None
    if state.is_guarded:
        admission, error = spending.ask(turn, loop.step_no)
        if admission is not schedule.Admission.GRANTED and error is None:
            return admission
    generation = state.steps[loop.step_no].generation
    if not loop.ready:
        loop.ready.append(loop.begin_next(generation))
    item = loop.ready[0] if item is None else item
    loop.ready.remove(item)
    if loop.open[item].generation != generation:
        loop.open[item].reopen(generation)
    if error is None:
        _start(turn, loop, item)
    else:
        _let_fail(turn, loop, item, error)
    return admission


def _start(turn: Turn, loop: Loop, item: int) -> None:
    loop.open[item].began_at = turn.now
    loop.running.add(item)
    moves.move(turn, loop, item, StepState.RUNNING)
    turn.orders.append(choosing.launch(turn, turn.state.plan.steps[loop.step_no], item=item))
