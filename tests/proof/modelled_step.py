"""One step as the model has it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


class Step:
    """Where one step stands, and what its definition says."""

    __slots__ = (
        "attempt",
        "began",
        "deaths",
        "delay_ms",
        "died_alone",
        "due",
        "generation",
        "has_begun",
        "is_optional",
        "is_parallel",
        "is_touched",
        "lineage",
        "needs",
        "output",
        "retries",
        "state",
    )

    def __init__(
        self,
        needs: Iterable[int] = (),
        *,
        retries: int = 0,
        delay_ms: float = 0,
        is_optional: bool = False,
        is_parallel: bool = True,
    ) -> None:
        """`delay_ms` is what is waited before the first retry; it doubles from one to the next."""
        self.needs = tuple(needs)
        self.retries = retries
        self.delay_ms = delay_ms
        self.is_optional = is_optional
        self.is_parallel = is_parallel
        self.state = "pending"
        self.generation = self.attempt = self.lineage = self.deaths = 0
        self.due: int | None = None
        self.output: Any = None
        self.has_begun = False  # in the attempt that counts now
        self.began = 0  # when it did so last
        self.is_touched = False  # ever
        self.died_alone = False

    @property
    def is_met(self) -> bool:
        """Whether those that need it may run."""
        return self.state == "completed" or (self.is_optional and self.state == "failed")

    @property
    def is_cut(self) -> bool:
        """Whether it had begun and goes on later."""
        return self.state == "waiting" or (self.state == "pending" and self.has_begun)

    @property
    def needs_room(self) -> bool:
        """Whether nothing may run beside it."""
        return not self.is_parallel

    def reopen(self, *, new_key: bool) -> None:
        """Another generation, as if never run."""
        self.state = "pending"
        self.generation += 1
        self.attempt = 1
        self.lineage += new_key
        self.deaths = 0
        self.due = self.output = None
        self.has_begun = self.died_alone = False

    def settle(self, state: str, output: Any = None) -> None:
        """Come to the outcome of this generation."""
        self.state, self.output, self.due = state, output, None
        self.is_touched = True
