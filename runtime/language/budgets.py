"""Budgets and circuit breakers: what is wrong with them, and what the machine makes of them."""

from __future__ import annotations

from perdure.actors.instructions.breaker import Breaker, OnTrip
from perdure.actors.instructions.budget import Budget, OnExceeded, Room, room_for, shown
from perdure.runtime.language.definition import (
    BudgetDefinition,
    CircuitBreakerDefinition,
    Definition,
    UsageDefinition,
)
from perdure.runtime.language.findings import Findings
from perdure.runtime.near import quoted
from perdure.store.usage import Limits, Usage


def check_budget(definition: Definition, findings: Findings) -> None:
    """Add a budget that limits nothing, and each step that could never begin within it."""
    budget = definition.config.budget
    if budget is None or findings.has(("config", "budget")):
        return
    if budget.cost is None and budget.tokens is None:
        findings.add(("config", "budget"), "the budget limits nothing", expected="cost, tokens or both")
        return
    limits = Limits(cost=budget.cost, tokens=budget.tokens)
    for no, step in enumerate(definition.steps):
        estimate = compile_usage(step.usage)
        if (
            estimate is not None
            and room_for(estimate, used=Usage(), reserved=Usage(), limits=limits) is Room.NONE
        ):
            findings.add(
                ("steps", no, "usage"),
                f"step {quoted(step.key)} declares {shown(estimate)}, the budget is {shown(limits)}: "
                "it could never begin",
            )


def compile_budget(budget: BudgetDefinition | None) -> Budget | None:
    """The budget of a plan."""
    if budget is None:
        return None
    limits = Limits(cost=budget.cost, tokens=budget.tokens)
    return Budget(limits=limits, on_exceeded=OnExceeded(budget.on_exceeded))


def compile_breaker(breaker: CircuitBreakerDefinition | None) -> Breaker | None:
    """The circuit breaker of a plan."""
    if breaker is None:
        return None
    return Breaker(
        errors=breaker.errors,
        window_ms=breaker.window,
        latency_ms=breaker.latency,
        on_trip=OnTrip(breaker.on_trip),
    )


def compile_usage(usage: UsageDefinition | None) -> Usage | None:
    """What a planned step declares to use."""
    return None if usage is None else Usage(cost=usage.cost, tokens=usage.tokens)
