"""Which attempts of an execution count towards its circuit breaker, as their rows have it. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from perdure.actors.instructions.plan import Plan
from perdure.actors.state.step_run import ms_of
from perdure.store.circuits import CircuitBreakerState
from perdure.store.records import Attempt
from perdure.store.states import StepState


def mishaps_of(plan: Plan, attempts: Iterable[Attempt], *, breaker: CircuitBreakerState | None) -> list[int]:
    """When the newest bad attempts ended that count, as their rows have it."""
    policy = plan.circuit_breaker
    if policy is None:
        return []
    since = 0 if breaker is None else breaker.counts_since
    found = [] if breaker is None else list(breaker.items)
    for attempt in attempts:
        step = plan.steps[attempt.step_no]
        if step.wait is not None or step.for_each is not None:
            continue
        began, ended = ms_of(attempt.started_at), ms_of(attempt.finished_at)
        if began is None or ended is None or began < since:
            continue
        has_ended = attempt.state in (StepState.COMPLETED, StepState.FAILED)
        if attempt.state is StepState.FAILED or (has_ended and policy.is_slow(ended - began)):
            found.append(ended)
    return policy.recent(sorted(found), now=max(found, default=0))
