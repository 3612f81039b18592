"""What steps that wait have heard: the model is told, and here is seen whether they may have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from perdure.store.states import StepState
from simulation.model import End, Heard
from simulation.past import Past, output_of
from simulation.workflows import Awaited, StepSpec, WorkflowSpec

ENDS: Final = {
    StepState.COMPLETED: End.COMPLETED,
    StepState.FAILED: End.FAILED,
    StepState.SKIPPED: End.SKIPPED,
}


def heard_by(past: Past, step: StepSpec) -> Heard | None:
    """What a step that waits has come to; None as long as it has come to nothing."""
    newest = past.newest.get(step.key)
    if step.awaited is None or newest is None or newest.state not in ENDS:
        return None
    return Heard(end=ENDS[newest.state], output=output_of(newest))


def misheard(past: Past, spec: WorkflowSpec) -> list[str]:
    """A sentence for each step that cannot have come to what it has."""
    problems: list[str] = []
    taken: Counter[str] = Counter()
    for step in spec.steps:
        heard = heard_by(past, step)
        if step.awaited is None or heard is None or _was_not_let_in(past, step):
            continue
        if not POSSIBLE[step.awaited.what](past, step.key, step.awaited, heard):
            problems.append(f"{step.key} has come to {heard}, and its log does not say how")
        if step.awaited.what == "signal" and heard.output is not None:
            taken[heard.output["id"]] += 1
    return problems + [f"signal {id_} was taken {times} times" for id_, times in taken.items() if times > 1]


def _was_not_let_in(past: Past, step: StepSpec) -> bool:
    """Whether its needs, its condition or a rollback have skipped it: nobody has waited."""
    reasons = [each.data["reason"] for each in past.of(step.key) if each.type == "step_skipped"]
    return reasons[-1:] in (["when"], ["dependencies"], ["rollback"])


def _may_have_slept(past: Past, key: str, awaited: Awaited, heard: Heard) -> bool:
    """It wakes up at a moment it has named."""
    moments = [event.data["due_at_ms"] for event in past.of(key) if event.type == "step_waiting"]
    return heard.end is End.COMPLETED and _ms_of(heard.output) in moments


def _may_have_taken(past: Past, key: str, awaited: Awaited, heard: Heard) -> bool:
    """A signal that has come, or none in time."""
    if heard.output is not None:
        signals = [event.data["payload"] for event in past.lore if event.type == "signal_received"]
        return heard.end is End.COMPLETED and heard.output in signals
    ends = {"fail": End.FAILED, "skip": End.SKIPPED, "continue": End.COMPLETED}
    return awaited.timeout_s is not None and heard.end is ends[awaited.on_timeout]


def _may_have_decided(past: Past, key: str, awaited: Awaited, heard: Heard) -> bool:
    """As the votes say that it names, or as is to be when the time is up."""
    after_no = {"skip": End.SKIPPED, "continue": End.COMPLETED}.get(awaited.on_reject, End.FAILED)
    late = {"skip": End.SKIPPED, "approve": End.COMPLETED, "reject": after_no}
    cast = [(event.by, event.data["decision"]) for event in past.of(key) if event.type == "approval_decided"]
    if heard.output is None:
        is_late = awaited.timeout_s is not None and late.get(awaited.on_timeout, End.FAILED) is End.FAILED
        was_refused = after_no is End.FAILED and any(verdict == "reject" for _, verdict in cast)
        return heard.end is End.FAILED and (is_late or was_refused)
    votes = [(vote["by"], vote["verdict"]) for vote in heard.output["decisions"]]
    if not set(votes) <= set(cast) or len({by for by, _ in votes}) < len(votes):
        return False
    answer = _count(awaited, [verdict for _, verdict in votes])
    if answer is None:
        may_be_late = awaited.timeout_s is not None and heard.output["reason"] == "timeout"
        return may_be_late and heard.end is late.get(awaited.on_timeout)
    is_told = heard.output["approved"] is (answer == "approve")
    return is_told and heard.end is (End.COMPLETED if answer == "approve" else after_no)


def _count(awaited: Awaited, verdicts: list[str]) -> str | None:
    """What the votes come to, in their order."""
    for no, verdict in enumerate(verdicts, start=1):
        if verdict == "reject" or no == awaited.quorum:
            return verdict
    return None


def _ms_of(moment: str) -> int:
    return (datetime.fromisoformat(moment) - datetime.fromtimestamp(0, tz=UTC)) // timedelta(milliseconds=1)


POSSIBLE: Final[dict[str, Callable[[Past, str, Awaited, Heard], bool]]] = {
    "sleep": _may_have_slept,
    "signal": _may_have_taken,
    "approval": _may_have_decided,
}
