"""Who may decide what, and what decisions come to. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import msgspec

from perdure.actors.decider.course.evaluating import evaluate, unanswered
from perdure.actors.effects.turn import Turn
from perdure.actors.errors import DecisionRefused, FormMismatch, NotAnApprover
from perdure.actors.instructions.plan import PlannedStep
from perdure.actors.instructions.waits import APPROVER_CHARS_MAX, APPROVERS_MAX, ForApproval, People
from perdure.actors.messages import Approve, Reject
from perdure.actors.state.execution import ExecutionState
from perdure.actors.state.step_run import EPOCH
from perdure.store.asking import Approval, Verdict
from perdure.store.errors import NotFound, PayloadTooLarge, PerdureError
from perdure.store.records import PAYLOAD_BYTES_MAX, Error
from perdure.store.states import SETTLED_STEP

NAMES_MAX: Final = 10  # steps that a refusal names


def people(
    turn: Turn, step: PlannedStep, who: People, *, quorum: int
) -> tuple[tuple[str, ...], Error | None]:
    """The names of those who are asked, each once; or why nobody can be."""
    if isinstance(who, tuple):
        return who, None
    answer, error = evaluate(who, turn, step, what="approvers")
    if error is not None:
        return (), error
    names = [name for entry in answer for name in (entry if isinstance(entry, list) else [entry])]
    for name in names:
        if not (isinstance(name, str) and 0 < len(name) <= APPROVER_CHARS_MAX):
            return (), unanswered(step, what="approvers", why=f"{name!r:.80} is no name")
    found = tuple(dict.fromkeys(names))
    if quorum <= len(found) <= APPROVERS_MAX:
        return found, None
    why = f"they are {len(found)}: at least {quorum} have to approve, at most {APPROVERS_MAX} are asked"
    return (), unanswered(step, what="approvers", why=why)


def decided(approval: Approval) -> Verdict | None:
    """What the decisions come to, in their order: the first rejection, or the approval that was missing."""
    for number, decision in enumerate(approval.decisions, start=1):
        if decision.verdict is Verdict.REJECT:
            return Verdict.REJECT
        if number == approval.quorum:
            return Verdict.APPROVE
    return None


def refusal(
    state: ExecutionState, command: Approve | Reject, *, now: int
) -> tuple[int, Approval] | PerdureError:
    """The step that is decided on and what it asks; or why it cannot be, or not by them, or not so."""
    step = next((each for each in state.plan.steps if each.key == command.step), None)
    if step is None or not isinstance(step.wait, ForApproval):
        return _no_approval(state, step, command.step)
    run = state.steps[step.no]
    approval = state.approval_of(step.no)
    if approval is None:
        who = step.wait.approvers
        if not isinstance(who, tuple) and run.state not in SETTLED_STEP:
            return _too_early(step)
        approval = Approval(
            step_no=step.no,
            generation=run.generation,
            quorum=step.wait.quorum,
            approvers=who if isinstance(who, tuple) else (),
        )
    problem = _too_late(state, step, approval, now=now) or _not_by_them(step, approval, command)
    if problem is None and step.wait.misfit is not None and isinstance(command, Approve):
        problem = _misfit(step, step.wait.misfit(command.data))
    return problem or _too_large(approval, command) or (step.no, approval)


def _no_approval(state: ExecutionState, step: PlannedStep | None, key: str) -> PerdureError:
    asking = [each.key for each in state.plan.steps if isinstance(each.wait, ForApproval)]
    known = f"steps that ask for one: {', '.join(asking[:NAMES_MAX])}" if asking else "no step asks for one"
    if step is None:
        return NotFound("step", key, hint=known)
    return DecisionRefused(f"step {key!r} asks for no approval; {known}", step=key)


def _too_early(step: PlannedStep) -> DecisionRefused:
    why = f"step {step.key!r} does not ask yet, and who may decide is found out when it does"
    return DecisionRefused(why, step=step.key)


def _too_late(
    state: ExecutionState, step: PlannedStep, approval: Approval, *, now: int
) -> DecisionRefused | None:
    """Why nothing is to be decided of the step any more, or None."""
    run = state.steps[step.no]
    if run.state in SETTLED_STEP:
        why = f"step {step.key!r} is {run.state.value} already: what was decided, or not in time, stands"
    elif (verdict := decided(approval)) is not None:
        why = f"step {step.key!r} is {_PAST[verdict]} already: that counts when the execution goes on"
    elif approval.due_at is not None and approval.due_at <= now:
        moment = EPOCH + timedelta(milliseconds=approval.due_at)
        why = f"the time to decide on step {step.key!r} was up at {moment:%Y-%m-%d %H:%M:%SZ}"
    else:
        return None
    return DecisionRefused(why, step=step.key)


_PAST: Final = {Verdict.APPROVE: "approved", Verdict.REJECT: "rejected"}


def _not_by_them(step: PlannedStep, approval: Approval, command: Approve | Reject) -> DecisionRefused | None:
    """Why this person may not decide, or not again."""
    if not command.by:
        return DecisionRefused(f"nobody decides on step {step.key!r}: say who does (`by`)", step=step.key)
    if approval.approvers and command.by not in approval.approvers:
        return NotAnApprover(step.key, by=command.by, approvers=approval.approvers)
    before = next((each for each in approval.decisions if each.by == command.by), None)
    if before is None:
        return None
    given = len(approval.decisions)
    return DecisionRefused(
        f"{command.by} has {_PAST[before.verdict]} step {step.key!r} at {before.at:%Y-%m-%d %H:%M:%SZ}, and "
        f"that stands; it waits for others ({given} of {approval.quorum})",
        step=step.key,
    )


def _misfit(step: PlannedStep, why: str | None) -> DecisionRefused | None:
    return None if why is None else FormMismatch(step.key, why=why)


def _too_large(approval: Approval, command: Approve | Reject) -> PayloadTooLarge | None:
    """Whether the decisions of a step, with this one, are more than is kept together."""
    size = len(msgspec.json.encode((approval.decisions, command)))
    if size <= PAYLOAD_BYTES_MAX:
        return None
    return PayloadTooLarge(f"what was decided of step {command.step!r}", size=size, limit=PAYLOAD_BYTES_MAX)
