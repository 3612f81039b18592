"""What a step's body is told about itself, and what it may say back."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from structlog.typing import FilteringBoundLogger


class StepContext:
    """One attempt of one step, seen from inside its body.

    `idempotency_key` is stable over attempts, recovery and a plain retry: give it to every outside
    effect, so that an effect repeated after a crash is recognised as the same one.
    """

    __slots__ = (
        "_context",
        "_heartbeat",
        "_interrupt_reason",
        "_needs",
        "attempt",
        "execution_id",
        "generation",
        "idempotency_key",
        "log",
        "step",
        "trace_id",
        "workflow",
    )

    def __init__(
        self,
        *,
        execution_id: str,
        workflow: str,
        step: str,
        attempt: int,
        generation: int,
        idempotency_key: str,
        trace_id: str,
        context: Mapping[str, Any],
        log: FilteringBoundLogger,
        needs: Callable[[], dict[str, Any]],
        heartbeat: Callable[[Any], None],
        interrupt_reason: Callable[[], str | None],
    ) -> None:
        """Made by the machine, once per attempt."""
        self.execution_id = execution_id
        self.workflow = workflow
        self.step = step
        self.attempt = attempt
        self.generation = generation
        self.idempotency_key = idempotency_key
        self.trace_id = trace_id
        self.log = log
        self._context = context
        self._needs = needs
        self._heartbeat = heartbeat
        self._interrupt_reason = interrupt_reason

    def heartbeat(self, detail: Any = None) -> None:
        """Say that the body is getting on; `detail` is shown to whoever queries the execution."""
        self._heartbeat(detail)

    @property
    def context(self) -> dict[str, Any]:
        """The execution's context as it is now; a copy, so that changing it changes nothing else."""
        return copy.deepcopy(dict(self._context))

    @property
    def needs(self) -> dict[str, Any]:
        """The outputs of the steps this one depends on, by key; null where an optional one failed."""
        return self._needs()

    @property
    def interrupt_reason(self) -> str | None:
        """Why the body is being cancelled: `pause`, `cancel`, `timeout`, `deadline`, `shutdown`."""
        return self._interrupt_reason()
