"""The account of an execution: what was used, what went wrong, and the slot that is held. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from perdure.store.circuits import CircuitBreakerState
from perdure.store.usage import Limits, Usage

if TYPE_CHECKING:
    from perdure.actors.effects.turn import Turn

encode: Final = msgspec.json.Encoder().encode


def count_usage(turn: Turn, step_no: int, usage: Usage) -> None:
    """Add what an attempt has used; the move of it that follows writes it down."""
    state, run = turn.state, turn.state.steps[step_no]
    run.usage = usage if run.usage is None else run.usage + usage
    state.usage += usage
    turn.fields["cost_nanos"] = state.usage.cost_nanos
    turn.fields["tokens"] = state.usage.tokens


def set_budget(turn: Turn, limits: Limits) -> None:
    """Give the execution limits of its own."""
    turn.state.limits = limits
    turn.fields["budget"] = encode(limits).decode()


def set_breaker(turn: Turn, breaker: CircuitBreakerState) -> None:
    """Keep what the execution's circuit breaker has done."""
    turn.state.breaker = breaker
    turn.fields["circuit_breaker_state"] = encode(breaker).decode()


def set_slot(turn: Turn, slot: str | None) -> None:
    """Take a slot of that queue, whether there is one or not, and wait no longer; None gives it back."""
    state = turn.state
    if state.queue is not None:
        state.queue = turn.fields["queue"] = None
    if slot != state.slot:
        state.slot = turn.fields["slot"] = slot
