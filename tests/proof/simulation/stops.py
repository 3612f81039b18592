"""What stops an execution by itself: its breaker, its budget, a refusal that is to undo what was done."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from perdure.runtime.testing import Effect
from perdure.store.records import Event
from perdure.store.states import StepState
from simulation.past import Past
from simulation.workflows import REOPENING, TOKENS, StepSpec, WorkflowSpec

REFUSALS: Final = frozenset({"GateClosed", "ApprovalRejected"})


def has_tripped(event: Event) -> bool:
    """Whether its breaker has let an execution fail."""
    return event.type == "circuit_breaker_tripped" and event.data["on_trip"] == "fail"


def unaffordable(past: Past) -> frozenset[str]:
    """The steps and items that failed as the budget has nothing left for them."""
    return frozenset(name for name, why in past.errors.items() if why.type == "BudgetExceeded")


def odd_stops(past: Past, spec: WorkflowSpec, ledger: Sequence[Effect]) -> list[str]:
    """A sentence for each stop that was not called for, or that did not come."""
    return _odd_trips(past, spec) + _odd_usage(past, spec, ledger) + _not_undone(past, spec)


def _odd_trips(past: Past, spec: WorkflowSpec) -> list[str]:
    """A breaker trips when so many attempts have failed within its window."""
    found: list[str] = []
    for trip in past.events:
        if trip.type != "circuit_breaker_tripped":
            continue
        assert spec.breaker is not None
        since = trip.at - timedelta(seconds=spec.breaker.window_s)
        failed = [
            each for each in past.lore if each.type.endswith("_failed") and each.step and each.at > since
        ]
        if len(failed) < spec.breaker.errors:
            found.append(f"its breaker has tripped after {len(failed)} attempts that failed")
    return found


def _odd_usage(past: Past, spec: WorkflowSpec, ledger: Sequence[Effect]) -> list[str]:
    """Each attempt of a body uses the same: as much is known of an execution that has only its own."""
    if past.sources or any(step.child is not None for step in spec.steps):
        return []
    usage = past.execution.usage
    used = 0 if usage is None else usage.tokens
    begun = sum(effect.execution_id == past.execution.id for effect in ledger)
    done = [step for step in spec.steps if _is_performed(past, step)]
    found: list[str] = []
    if not len(done) * TOKENS <= used <= begun * TOKENS or used % TOKENS:
        found.append(
            f"it has used {used} in {begun} attempts, of which {len(done)} at least have come through"
        )
    if spec.budget is not None and _is_strict(past, spec) and used >= spec.budget.tokens + TOKENS:
        found.append(f"it has used {used}, and may use {spec.budget.tokens}")
    return found


def _is_performed(past: Past, step: StepSpec) -> bool:
    newest = past.newest.get(step.key)
    is_plain = step.has_body and step.items is None
    return is_plain and newest is not None and newest.state is StepState.COMPLETED


def _is_strict(past: Past, spec: WorkflowSpec) -> bool:
    """Whether no more than one attempt can have exceeded the budget it has begun with."""
    is_alone = spec.parallelism == 1 and all(step.items is None for step in spec.steps)
    has_more = any(event.data and event.data.get("budget") for event in past.events if _is_opening(event))
    return is_alone and not (spec.hooks or spec.undos or has_more)


def _is_opening(event: Event) -> bool:
    return event.type in {"workflow_resumed", "workflow_retried"}


def _not_undone(past: Past, spec: WorkflowSpec) -> list[str]:
    """What refuses, and is to undo what was done then."""
    types = {event.type for event in past.events}
    if past.sources or types & REOPENING or "rollback_requested" in types:
        return []
    found: list[str] = []
    for step in spec.steps:
        newest = past.newest.get(step.key)
        if not _undoes(step) or newest is None or newest.error is None or newest.error.type not in REFUSALS:
            continue
        at = max(event.id for event in past.of(step.key))
        done = [each.step for each in past.events if each.type == "step_completed" and each.id < at]
        if any(each.key in done for each in spec.steps if each.undo is not None):
            found.append(f"{step.key} was refused, and {done} not undone")
    return found


def _undoes(step: StepSpec) -> bool:
    if step.gate is not None:
        return step.gate.on_no == "compensate"
    return step.awaited is not None and step.awaited.on_reject == "compensate"
