"""Going back: which steps of the past stay as they are, and which are to run again. Pure.

A step that is opened again begins a new generation. After a plain retry it has the idempotency keys it
had, for what it did then may be what it is to do now; where somebody wants it done anew (`--from`, a
checkpoint, a fork) it has new ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from perdure.actors.decider import stopping
from perdure.actors.decider.course import ending, schedule, spending, tripping, undoing
from perdure.actors.decider.kinds import children
from perdure.actors.effects import arrivals, timing
from perdure.actors.effects.patching import merge
from perdure.actors.effects.turn import Asker, Turn, encode
from perdure.actors.instructions.plan import Plan
from perdure.actors.messages import AnyCommand, PauseMode, RestorePoint, Retry
from perdure.actors.state.execution import ExecutionState
from perdure.store.errors import IllegalTransition, NotFound, PayloadTooLarge, PerdureError
from perdure.store.records import PAYLOAD_BYTES_MAX, Attempt
from perdure.store.states import TERMINAL, State, StepState

_UNDONE = frozenset({StepState.FAILED, StepState.CANCELLED, StepState.SKIPPED})
_NAMES_MAX = 10  # steps that a refusal names


def downstream(plan: Plan, step_nos: Iterable[int]) -> set[int]:
    """Those steps and everything that depends on them, directly or not."""
    found = set(step_nos)
    work = list(found)
    for step_no in work:  # grows while it is walked
        fresh = [no for no in plan.steps[step_no].dependents if no not in found]
        found.update(fresh)
        work.extend(fresh)
    return found


def shared(plan: Plan, outcomes: Mapping[int, Attempt], *, without: frozenset[int] = frozenset()) -> set[int]:
    """The steps whose outcomes another execution may build on: good ones, that rest on good ones only.

    `without` are steps it is to run itself, whatever became of them.
    """
    found: set[int] = set()
    for level in plan.levels:
        for step_no in level:
            step, outcome = plan.steps[step_no], outcomes.get(step_no)
            if outcome is None or step_no in without or not found.issuperset(step.needs):
                continue
            if outcome.state in (StepState.COMPLETED, StepState.SKIPPED) or (
                outcome.state is StepState.FAILED and step.is_optional
            ):
                found.add(step_no)
    return found


def step_named(plan: Plan, key: str) -> int | NotFound:
    """The number of the step of that key."""
    for step in plan.steps[: plan.size]:
        if step.key == key:
            return step.no
    names = ", ".join(step.key for step in plan.steps[:_NAMES_MAX])
    return NotFound("step", key, hint=f"the steps of {plan.workflow} are: {names}")


def restore(turn: Turn, command: AnyCommand, point: RestorePoint, asker: Asker) -> None:
    """Go back to a checkpoint: what settled later is reopened, the context is as it was then."""
    state = turn.state
    replacement = {"replace": point.context}
    size = len(encode(replacement))
    if size > PAYLOAD_BYTES_MAX:
        turn.respond(
            asker, PayloadTooLarge("the context at the checkpoint", size=size, limit=PAYLOAD_BYTES_MAX)
        )
        return
    outcomes = {outcome.step_no: outcome for outcome in point.outcomes}
    turn.become(State.RESTORING_CHECKPOINT)
    state.end = None
    for step_no, run in enumerate(state.steps):
        then = outcomes.get(step_no)
        if then is None:
            if run.has_past:
                reopen(turn, step_no, new_lineage=True)
        elif run.generation != then.generation or run.state is not then.state:
            reopen(turn, step_no, new_lineage=True, outcome=then)
    arrivals.give_back(turn, point.signals)
    state.reindex()
    if state.context != point.context:
        turn.set_context(point.context, encode(point.context))
        turn.note("context_updated", data=replacement)
    if turn.before in TERMINAL:
        timing.set_remaining(turn, state.timeout_ms)
    turn.set_error(None)
    turn.note(
        "checkpoint_restored",
        by=command.by,
        command_id=command.id,
        data={"label": point.label, "version": point.version},
    )
    turn.set_pause(PauseMode.DRAIN.value, by=command.by, reason=f"restored to {point.label or point.version}")
    turn.become(State.PAUSED)
    turn.respond_here(asker)


def retry(turn: Turn, command: Retry) -> PerdureError | None:
    """Open a failed or cancelled execution again, or say why it cannot be done."""
    state = turn.state
    if state.rollback_reason is not None and (command.step or command.with_downstream):
        return stopping.illegal(turn, command, hint="it is being undone: a plain retry goes on with that")
    steps = _reopened(state, command)
    if isinstance(steps, PerdureError):
        return steps
    problem = merge(turn, command.data, by=command.by) if command.data else None
    if problem is not None:
        return problem
    data: dict[str, Any] = {
        "from": command.step,
        "only": command.only,
        "with_downstream": command.with_downstream,
    }
    tripping.reset(turn)
    if command.budget is not None:
        data |= spending.raise_budget(turn, command.budget)
    turn.note("workflow_retried", by=command.by, command_id=command.id, data=data)
    turn.set_error(None)
    if state.rollback_reason is not None:
        undoing.retry(turn)
        return None
    for step_no in sorted(steps):
        reopen(turn, step_no, new_lineage=steps[step_no])
    ending.reopen(turn)
    state.reindex()
    turn.become(State.SCHEDULING)
    if state.timeout_ms is not None:
        timing.set_deadline(turn, turn.now + state.timeout_ms)
    schedule.enter_first(turn)
    return None


def _reopened(state: ExecutionState, command: Retry) -> dict[int, bool] | PerdureError:
    """The steps a retry opens again; True for those that are to be done anew, with new keys."""
    undone = [no for no, run in enumerate(state.steps[: state.size]) if _is_undone(state, no, run.state)]
    if command.step is None:
        first = [dependent for no in undone for dependent in state.plan.steps[no].dependents]
        again = downstream(state.plan, first) if command.with_downstream else set()
    else:
        step_no = step_named(state.plan, command.step)
        if isinstance(step_no, NotFound):
            return step_no
        if command.only:
            others = [no for no in undone if no != step_no and state.steps[no].state is not StepState.SKIPPED]
            if others:
                return _not_alone(state, others)
            return {step_no: True} if state.steps[step_no].has_past else {}
        again = downstream(state.plan, [step_no])
    begun = [no for no in again if state.steps[no].has_past]
    return dict.fromkeys(undone, False) | dict.fromkeys(begun, True)


def _is_undone(state: ExecutionState, step_no: int, step_state: StepState) -> bool:
    """Whether a plain retry runs it again: what an optional step could not do is settled."""
    is_settled = step_state is StepState.FAILED and state.plan.steps[step_no].is_optional
    return step_state in _UNDONE and not is_settled


def _not_alone(state: ExecutionState, others: list[int]) -> IllegalTransition:
    """Why one step alone cannot bring the execution to its end."""
    keys = ", ".join(state.plan.steps[no].key for no in others[:_NAMES_MAX])
    return IllegalTransition(
        state.id,
        state=state.state.value,
        command="retry only one step of",
        version=state.version,
        hint=f"these have not completed either: {keys}; leave `only` away to run them, too",
    )


def reopen(turn: Turn, step_no: int, *, new_lineage: bool, outcome: Attempt | None = None) -> None:
    """Take a step to a new generation: back to pending, or to an outcome it had before."""
    run = turn.state.steps[step_no]
    if run.state is StepState.WAITING:
        children.leave(turn, step_no)
        turn.clear_step_timer(step_no)
    if run.loop is not None and not run.is_stored:  # of what else is opened anew the log has told
        turn.note("items_dropped", step_no=step_no, data={"items": run.loop.total})
    run.reopen(new_lineage=new_lineage)
    if outcome is None:
        turn.move_step(step_no, StepState.PENDING)
        return
    run.attempt = outcome.attempt
    run.made_in = outcome.made_in
    if outcome.started_at is not None:  # else it was brought back before, or never began here
        run.made_in = outcome.generation
    output = None if outcome.output is None else bytes(outcome.output)
    turn.move_step(step_no, outcome.state, is_outcome=True, output=output, error=outcome.error)
