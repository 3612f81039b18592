"""Steps that ask people: asked, decided, out of time. Pure.

A decision is kept from the moment it comes, addressed to the step and its generation, and counted
where steps may start: at once if the step waits, else when it begins to, or when the execution is
resumed. They are counted in their order: the first rejection rejects, and approvals of `quorum`
different people before it approve. Nobody decides twice, and nothing that has been decided is
decided again; after the time was up nobody decides any more, also if a pause has put off what is due.

A step that was not decided in time may ask others: its next attempt, with no decisions yet.
"""

from __future__ import annotations

from datetime import timedelta
from typing import assert_never

import msgspec

from perdure.actors.decider.course import schedule, undoing
from perdure.actors.decider.course.evaluating import evaluate, unanswered
from perdure.actors.decider.kinds.approvers import decided, people, refusal
from perdure.actors.effects import arrivals, overdue
from perdure.actors.effects.turn import Turn, encode
from perdure.actors.errors import ApprovalRejected, WaitTimeout, error_of
from perdure.actors.instructions.waits import ForApproval, OnReject, OnUndecided, People
from perdure.actors.messages import Approve, Reject
from perdure.actors.state.execution import WAIT_TIMER, ExecutionState
from perdure.actors.state.step_run import EPOCH
from perdure.store.asking import Approval, Decision, Verdict
from perdure.store.errors import PerdureError
from perdure.store.records import Error
from perdure.store.states import StepState

MESSAGE_CHARS_MAX = 10_000  # of what people are asked; whoever needs more gives them an address


def begin(turn: Turn, step_no: int, wait: ForApproval) -> None:
    """Ask; what people have decided before they were asked counts."""
    message, approvers, error = _question(turn, step_no, wait, wait.approvers)
    if error is not None:
        schedule.fail(turn, step_no, error, has_begun=False)
        return
    kept = turn.state.approval_of(step_no)
    _ask(
        turn,
        Approval(
            step_no=step_no,
            generation=turn.state.steps[step_no].generation,
            quorum=wait.quorum,
            approvers=approvers,
            decisions=() if kept is None else kept.decisions,
            message=message,
            asked_at=turn.now,
            due_at=None if wait.timeout_ms is None else turn.now + wait.timeout_ms,
        ),
    )
    _count(turn, step_no)


def decide(turn: Turn, command: Approve | Reject) -> PerdureError | None:
    """Keep what somebody has decided, and let it count where steps may start; or say why not."""
    found = refusal(turn.state, command, now=turn.now)
    if isinstance(found, PerdureError):
        return found
    step_no, approval = found
    decision = Decision(
        by=command.by or "",
        verdict=Verdict.APPROVE if isinstance(command, Approve) else Verdict.REJECT,
        at=EPOCH + timedelta(milliseconds=turn.now),
        data=command.data,
        comment=command.comment,
    )
    arrivals.keep_approval(turn, msgspec.structs.replace(approval, decisions=(*approval.decisions, decision)))
    data = {"decision": decision.verdict, "data": decision.data, "comment": decision.comment}
    attempt = max(turn.state.steps[step_no].attempt, 1)
    turn.note(
        "approval_decided",
        step_no=step_no,
        attempt=attempt,
        by=decision.by,
        command_id=command.id,
        data=data,
    )
    if turn.state.state in schedule.MAY_LAUNCH:
        _count(turn, step_no)
    return None


def take_kept(turn: Turn) -> None:
    """Steps may start again: count what was decided while they might not."""
    for step_no in sorted(turn.state.waiting):
        if isinstance(turn.state.plan.steps[step_no].wait, ForApproval):
            _count(turn, step_no)


def take_timeout(turn: Turn, step_no: int, wait: ForApproval) -> None:
    """Nobody, or not enough people, have decided in time."""
    state = turn.state
    match wait.on_timeout:
        case OnUndecided.ESCALATE if state.steps[step_no].attempt == 1:
            _escalate(turn, step_no, wait)
        case OnUndecided.FAIL | OnUndecided.ESCALATE:
            error = _too_late(state, step_no, wait)
            schedule.stop_waiting(turn, step_no)
            schedule.fail(turn, step_no, error)
        case OnUndecided.SKIP:
            _skip(turn, step_no, _outcome(state, step_no, approved=False, reason="timeout"), reason="timeout")
        case OnUndecided.APPROVE:
            schedule.complete_wait(turn, step_no, _outcome(state, step_no, approved=True, reason="timeout"))
        case OnUndecided.REJECT:
            _reject(turn, step_no, wait, reason="timeout")
        case _:
            assert_never(wait.on_timeout)


def _ask(turn: Turn, approval: Approval) -> None:
    """Write down what is asked, of whom, and until when."""
    state, step_no = turn.state, approval.step_no
    run = state.steps[step_no]
    run.attempt = max(run.attempt, 1)
    turn.move_step(step_no, StepState.WAITING, due_at=approval.due_at, begins=True)
    data = {
        "for": "approval",
        "message": approval.message,
        "approvers": approval.approvers,
        "quorum": approval.quorum,
        "due_at_ms": approval.due_at,
    }
    turn.note("step_waiting", step_no=step_no, attempt=run.attempt, data=data)
    arrivals.keep_approval(turn, approval)
    state.waiting.add(step_no)
    overdue.watch(turn, step_no, due_at=approval.due_at)
    if approval.due_at is not None:
        turn.set_timer(WAIT_TIMER, step_no, approval.due_at)


def _escalate(turn: Turn, step_no: int, wait: ForApproval) -> None:
    """Ask others: the attempt has failed, and the next one begins at once."""
    state = turn.state
    message, approvers, error = _question(turn, step_no, wait, wait.escalate_to)
    late = _too_late(state, step_no, wait)
    approval = state.approval_of(step_no)
    assert approval is not None
    schedule.stop_waiting(turn, step_no)
    if error is not None:
        schedule.fail(turn, step_no, error)
        return
    run = state.steps[step_no]
    turn.move_step(step_no, StepState.FAILED, error=late)
    told = {"type": late.type, "message": late.message}
    data = {"error": told, "will_retry": True, "delay_ms": 0}
    turn.note("step_failed", step_no=step_no, attempt=run.attempt, data=data)
    run.next_attempt()
    asked = msgspec.structs.replace(
        approval,
        approvers=approvers,
        decisions=(),
        message=message,
        asked_at=turn.now,
        due_at=None if wait.timeout_ms is None else turn.now + wait.timeout_ms,
    )
    _ask(turn, asked)


def _count(turn: Turn, step_no: int) -> None:
    """Let the step end if it waits and enough has been decided."""
    state = turn.state
    approval, wait = state.approval_of(step_no), state.plan.steps[step_no].wait
    if approval is None or state.steps[step_no].state is not StepState.WAITING:
        return
    assert isinstance(wait, ForApproval)
    match decided(approval):
        case Verdict.APPROVE:
            schedule.complete_wait(turn, step_no, _outcome(state, step_no, approved=True, reason="quorum"))
        case Verdict.REJECT:
            _reject(turn, step_no, wait, reason="rejected")
        case None:
            pass


def _reject(turn: Turn, step_no: int, wait: ForApproval, *, reason: str) -> None:
    outcome = _outcome(turn.state, step_no, approved=False, reason=reason)
    match wait.on_reject:
        case OnReject.SKIP:
            _skip(turn, step_no, outcome, reason=reason)
        case OnReject.CONTINUE:
            schedule.complete_wait(turn, step_no, outcome)
        case OnReject.FAIL | OnReject.COMPENSATE:
            error = error_of(_rejection(turn.state, step_no))
            schedule.stop_waiting(turn, step_no)
            schedule.fail(turn, step_no, error)
            if wait.on_reject is OnReject.COMPENSATE:
                undoing.undo_after(turn, step_no, error)
        case _:
            assert_never(wait.on_reject)


def _rejection(state: ExecutionState, step_no: int) -> ApprovalRejected:
    approval = state.approval_of(step_no)
    last = approval.decisions[-1] if approval is not None and approval.decisions else None
    if last is None or last.verdict is not Verdict.REJECT:
        return ApprovalRejected(state.plan.steps[step_no].key, by=None)
    return ApprovalRejected(state.plan.steps[step_no].key, by=last.by, comment=last.comment)


def _outcome(state: ExecutionState, step_no: int, *, approved: bool, reason: str) -> bytes:
    """The output of a step that was decided: how, why, by whom; `data` is that of the last decision."""
    approval = state.approval_of(step_no)
    decisions = () if approval is None else approval.decisions
    data = decisions[-1].data if decisions else None
    return encode({"approved": approved, "reason": reason, "data": data, "decisions": decisions})


def _skip(turn: Turn, step_no: int, output: bytes, *, reason: str) -> None:
    schedule.stop_waiting(turn, step_no)
    schedule.skip(turn, step_no, reason=reason, output=output)
    schedule.settle(turn, step_no)


def _question(
    turn: Turn, step_no: int, wait: ForApproval, who: People
) -> tuple[str | None, tuple[str, ...], Error | None]:
    """What is asked, and of whom; or why neither can be told."""
    message, error = _message(turn, step_no, wait)
    if error is not None:
        return None, (), error
    approvers, error = people(turn, turn.state.plan.steps[step_no], who, quorum=wait.quorum)
    return message, approvers, error


def _message(turn: Turn, step_no: int, wait: ForApproval) -> tuple[str | None, Error | None]:
    if wait.message is None:
        return None, None
    step = turn.state.plan.steps[step_no]
    message, error = evaluate(wait.message, turn, step, what="message")
    if error is None and not isinstance(message, str):
        error = unanswered(step, what="message", why=f"{message!r:.80} is no text")
    return (message, None) if error is None else (None, error)


def _too_late(state: ExecutionState, step_no: int, wait: ForApproval) -> Error:
    approval = state.approval_of(step_no)
    given = 0 if approval is None else len(approval.decisions)
    whom = "" if approval is None or not approval.approvers else f" by {', '.join(approval.approvers)}"
    what = f"approval{whom} ({given} of {wait.quorum} given)"
    return error_of(WaitTimeout(state.plan.steps[step_no].key, what=what, timeout_ms=wait.timeout_ms or 0))
