"""Steps that are gates: every criterion is judged, and the verdicts are told whatever they are. Pure.

A gate is judged where steps may start, in the turn that lets it in: it never runs and never waits. All
its criteria are asked, so that people see everything that is missing at once. If all hold the step
completes, with the table of the verdicts as its output; one that gives an error, or neither true nor
false, fails the step: a mistake is no verdict.
"""

from __future__ import annotations

from typing import Any, assert_never

from perdure.actors.decider.course import schedule, undoing
from perdure.actors.decider.course.evaluating import evaluate, unanswered
from perdure.actors.effects.turn import Turn, encode
from perdure.actors.errors import GateClosed, error_of
from perdure.actors.instructions.gate import Gate, OnNo
from perdure.actors.instructions.plan import PlannedStep
from perdure.actors.messages import PauseMode
from perdure.store.records import Error
from perdure.store.states import State, StepState


def judge(turn: Turn, step_no: int, gate: Gate) -> None:
    """Judge the gate, tell the verdicts, and do what they lead to."""
    step, run = turn.state.plan.steps[step_no], turn.state.steps[step_no]
    verdicts, error = _verdicts(turn, step, gate)
    if error is not None:
        schedule.fail(turn, step_no, error, has_begun=False)
        return
    missing = [verdict["reason"] for verdict in verdicts if not verdict["holds"]]
    table = {"passed": not missing, "criteria": verdicts}
    attempt = max(run.attempt, 1)
    turn.note("gate_judged", step_no=step_no, attempt=attempt, data=table)
    if missing:
        _close(turn, step, gate, missing)
        return
    run.attempt = attempt
    turn.move_step(step_no, StepState.WAITING, begins=True)  # what is pending cannot complete at once
    schedule.complete(turn, step_no, encode(table))


def _verdicts(turn: Turn, step: PlannedStep, gate: Gate) -> tuple[list[dict[str, Any]], Error | None]:
    """What each criterion says, or the error of the first that says nothing."""
    verdicts: list[dict[str, Any]] = []
    for number, criterion in enumerate(gate.criteria, start=1):
        what = f"criterion {number}"
        holds, error = evaluate(criterion.holds, turn, step, what=what)
        if error is None and not isinstance(holds, bool):
            error = unanswered(step, what=what, why=f"it gave {holds!r:.80}, not true or false")
        if error is not None:
            return [], error
        verdicts.append({"when": criterion.written, "reason": criterion.reason, "holds": holds})
    return verdicts, None


def _close(turn: Turn, step: PlannedStep, gate: Gate, missing: list[str]) -> None:
    """Not everything holds."""
    closed = GateClosed(step.key, reasons=tuple(missing))
    error = error_of(closed)
    match gate.on_no:
        case OnNo.PAUSE:
            turn.set_pause(PauseMode.DRAIN.value, by=f"gate {step.key}", reason="; ".join(missing))
            turn.become(State.PAUSING)
        case OnNo.FAIL:
            schedule.fail(turn, step.no, error, has_begun=False)
        case OnNo.COMPENSATE:
            schedule.fail(turn, step.no, error, has_begun=False)
            undoing.undo_after(turn, step.no, error)
        case _:
            assert_never(gate.on_no)
