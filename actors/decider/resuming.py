"""How an execution that rests goes on: because somebody says so, at a moment, or on a rule. Pure.

A plan to go on is kept with the execution while it rests, and is gone as soon as it does not. Its moment
is a stored timer, so whoever looks after the store then takes the execution up. Its rule is asked
whenever something reaches the execution: a signal, a change of its context; never of its own accord.
A rule that cannot be answered is told in the log, and the execution rests on.
"""

from __future__ import annotations

from typing import Any, Final

from perdure.actors.decider import guarding, planner
from perdure.actors.decider.course import schedule, spending, tripping
from perdure.actors.decider.kinds import approving
from perdure.actors.effects import timing
from perdure.actors.effects.patching import merge
from perdure.actors.effects.turn import Turn
from perdure.actors.messages import Nudge, PlanResume, Resume, Signal, TimersDue
from perdure.store.errors import PerdureError
from perdure.store.records import ResumePlan
from perdure.store.states import State, StepState

BY_TIMER: Final = "perdure:timer"
BY_RULE: Final = "perdure:rule"
WHY_MAX: Final = 1_000  # characters of what a rule says instead of an answer


def take(turn: Turn, command: Resume | PlanResume) -> PerdureError | None:
    """Go on now, or later; or say why it cannot be done."""
    return resume(turn, command) if isinstance(command, Resume) else plan(turn, command)


def resume(turn: Turn, command: Resume) -> PerdureError | None:
    """Call a pending pause off, or set a resting execution going again."""
    state = turn.state
    if command.data:
        problem = merge(turn, command.data, by=command.by)
        if problem is not None:
            return problem
    was_paused = state.state is State.PAUSED
    note_resumed(turn, command)
    turn.set_pause(None)
    turn.count_resume()
    turn.become(State.SCHEDULING)
    if was_paused and state.remaining_ms is not None:
        timing.set_deadline(turn, turn.now + state.remaining_ms)
        timing.set_remaining(turn, None)
    state.reindex()
    schedule.enter_first(turn)
    approving.take_kept(turn)
    planner.take_due(turn)
    return None


def note_resumed(turn: Turn, command: Resume) -> None:
    """Write down who lets it go on, and with which budget."""
    data = None if command.budget is None else spending.raise_budget(turn, command.budget)
    tripping.reset(turn)
    turn.note("workflow_resumed", by=command.by, command_id=command.id, data=data)


def plan(turn: Turn, command: PlanResume) -> PerdureError | None:
    """Keep when, or on which rule, it is to go on; a later plan replaces an earlier one."""
    problem = merge(turn, command.data, by=command.by) if command.data else None
    if problem is not None:
        return problem
    wanted = ResumePlan(at_ms=command.at_ms, when=command.when)
    is_plan = command.at_ms is not None or command.when is not None
    timing.plan_resume(turn, wanted if is_plan else None)
    data = {"at_ms": command.at_ms, "when": command.when}
    turn.note("resume_planned", by=command.by, command_id=command.id, data=data)
    return None


def take_wakeup(turn: Turn, message: TimersDue | Nudge) -> None:
    """A moment may have come, or there may be room for a step that was held."""
    if isinstance(message, Nudge):
        guarding.take_nudge(turn, message)
    else:
        take_due(turn)


def take_due(turn: Turn) -> None:
    """Fire whatever fell due while nobody was looking; the moment of a plan to go on comes last."""
    planner.take_due(turn)
    state = turn.state
    wanted = state.resume_plan
    if state.state is not State.PAUSED or wanted is None or wanted.at_ms is None:
        return
    if wanted.at_ms <= turn.now:
        _go_on(turn, BY_TIMER)


def consider(turn: Turn, signal: Signal | None = None) -> None:
    """Something has reached a resting execution: ask its rule, if it has one."""
    state = turn.state
    wanted = state.resume_plan
    if state.state is not State.PAUSED or wanted is None or wanted.when is None:
        return
    try:
        answer = _ask(turn, wanted.when, signal)
    except Exception as error:  # noqa: BLE001 - a rule is somebody's own: recorded, and it is no yes
        told: dict[str, Any] = {"when": wanted.when, "error": f"{type(error).__name__}: {error}"[:WHY_MAX]}
        turn.note("resume_rule_failed", data=told)
        return
    if answer:
        _go_on(turn, BY_RULE)


def _ask(turn: Turn, rule: str, signal: Signal | None) -> bool:
    """What the rule says of the execution as it is. Raises what it raises, and TypeError for no answer."""
    state = turn.state
    assert state.plan.rule is not None
    answer = state.plan.rule(rule)(
        {
            "inputs": state.context,
            "steps": {
                step.key: {
                    "state": run.state.value,
                    "output": _output(turn, step.no),
                    "error": run.failure,
                }
                for step, run in zip(state.plan.steps, state.steps, strict=True)
            },
            "execution": {
                "id": state.id,
                "workflow": state.plan.workflow,
                "version": turn.version_before,
                "resumes": state.resume_count,
            },
            "signal": None if signal is None else {"name": signal.name, "payload": signal.payload},
        }
    )
    if not isinstance(answer, bool):
        raise TypeError(f"it gave {answer!r:.80}, not true or false")
    return answer


def _output(turn: Turn, step_no: int) -> Any:
    is_there = turn.state.steps[step_no].state is StepState.COMPLETED
    return turn.state.output(step_no) if is_there else None


def _go_on(turn: Turn, by: str) -> None:
    """Resume as a person would; the version makes the command's id one of a kind."""
    resume(turn, Resume(id=f"{by}:{turn.version_before}", by=by))
