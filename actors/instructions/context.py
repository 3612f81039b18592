"""What a step's body is told about itself, and what it may say back."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from perdure.actors.instructions.budget import checked
from perdure.actors.instructions.metering import metering
from perdure.actors.instructions.transaction import SEALED, Collected, Transaction
from perdure.store.usage import Usage
from perdure.store.writes import Statement

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger


class Inside(Protocol):
    """What the machine lets an attempt see of its execution, and hears from it."""

    @property
    def context(self) -> Mapping[str, Any]:
        """The execution's context as it is now."""
        ...

    def needs(self) -> dict[str, Any]:
        """The outputs of the steps this one depends on, by key."""
        ...

    def heartbeat(self, detail: Any) -> None:
        """Take note of how the body is getting on."""
        ...

    def items(self, key: str) -> AsyncIterator[Any]:
        """What the items of a step before gave, read in pages."""
        ...


class StepContext:
    """One attempt of one step, seen from inside its body.

    `idempotency_key` is stable over attempts, recovery and a plain retry: give it to every outside
    effect, so that an effect repeated after a crash is recognised as the same one. Each `iteration`
    (1, 2, …) of a step that repeats has a key of its own, and so has each item of one that is performed
    for several: `index` is its number from 0, and `step` is then `key[index]`.
    """

    __slots__ = (
        "_collected",
        "_inside",
        "_interrupt_reason",
        "_used",
        "attempt",
        "execution_id",
        "generation",
        "idempotency_key",
        "index",
        "iteration",
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
        log: FilteringBoundLogger,
        inside: Inside,
        iteration: int = 1,
        index: int | None = None,
    ) -> None:
        """Made by the machine, once per attempt."""
        self.execution_id = execution_id
        self.workflow = workflow
        self.step = step
        self.attempt = attempt
        self.generation = generation
        self.idempotency_key = idempotency_key
        self.trace_id = trace_id
        self.iteration = iteration
        self.index = index
        self.log = log
        self._collected: Collected | None = None
        self._inside = inside
        self._interrupt_reason: str | None = None
        self._used: Usage | None = None

    def heartbeat(self, detail: Any = None) -> None:
        """Say that the body is getting on; `detail` is shown to whoever queries the execution."""
        self._inside.heartbeat(detail)

    def transaction(self) -> Transaction:
        """Collect statements for the store's own database, executed with the outcome, exactly once.

        `with context.transaction() as tx: tx.execute("INSERT INTO …", (…,))`
        """
        if self._collected is None:
            self._collected = Collected()
        return Transaction(self._collected)

    def usage(self, *, cost: float = 0.0, tokens: int = 0) -> None:
        """Report what the attempt has used, as often as it likes: the reports add up.

        They are recorded with the attempt's outcome, also of one that failed or was interrupted, and
        count towards `config.budget`. `cost` is money in any one unit. Raises InvalidUsage.
        """
        usage = checked(cost, tokens)
        self._used = usage if self._used is None else self._used + usage
        if metering.meter is not None:
            metering.meter.take(usage)

    @property
    def used(self) -> Usage | None:
        """What has been reported so far; None where nothing has."""
        return self._used

    def seal(self) -> tuple[Statement, ...]:
        """For the machine: what was collected, now that the body has returned; nothing more is taken."""
        collected, self._collected = self._collected, SEALED
        return () if collected is None else collected.seal()

    @property
    def context(self) -> dict[str, Any]:
        """The execution's context as it is now; a copy, so that changing it changes nothing else."""
        return copy.deepcopy(dict(self._inside.context))

    @property
    def needs(self) -> dict[str, Any]:
        """The outputs of the steps this one depends on, by key; null where an optional one failed."""
        return self._inside.needs()

    def items(self, key: str) -> AsyncIterator[Any]:
        """What the items of a step before this one gave, in order; None for those that failed.

        They are read in pages: for a step with `forEach` whose output is a reference, not a list.
        """
        return self._inside.items(key)

    @property
    def interrupt_reason(self) -> str | None:
        """Why it is being cancelled: `pause`, `cancel`, `rollback`, `timeout`, `deadline`, `shutdown`."""
        return self._interrupt_reason

    def interrupted(self, reason: str) -> None:
        """Let the body know why; called by the machine when it cancels it."""
        self._interrupt_reason = reason
