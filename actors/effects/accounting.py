"""The part of a turn that keeps account: of what was used, what went wrong, and the slot that is held."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from perdure.store.circuits import CircuitBreakerState
from perdure.store.usage import Limits, Usage

if TYPE_CHECKING:
    from perdure.actors.state.execution import ExecutionState

encode: Final = msgspec.json.Encoder().encode


class Accounting:
    """The columns of the execution that a turn sets of it."""

    __slots__ = ()

    state: ExecutionState
    _fields: dict[str, Any]

    def count_usage(self, step_no: int, usage: Usage) -> None:
        """Add what an attempt has used; the move of it that follows writes it down."""
        state, run = self.state, self.state.steps[step_no]
        run.usage = usage if run.usage is None else run.usage + usage
        state.usage += usage
        self._fields["cost_nanos"] = state.usage.cost_nanos
        self._fields["tokens"] = state.usage.tokens

    def set_budget(self, limits: Limits) -> None:
        """Give the execution limits of its own."""
        self.state.limits = limits
        self._fields["budget"] = encode(limits).decode()

    def set_breaker(self, breaker: CircuitBreakerState) -> None:
        """Keep what the execution's circuit breaker has done."""
        self.state.breaker = breaker
        self._fields["circuit_breaker_state"] = encode(breaker).decode()

    def set_slot(self, slot: str | None) -> None:
        """Take a slot of that queue, whether there is one or not, and wait no longer; None gives it back."""
        state = self.state
        if state.queue is not None:
            state.queue = self._fields["queue"] = None
        if slot != state.slot:
            state.slot = self._fields["slot"] = slot
