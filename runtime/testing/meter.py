"""What tests with real, paid calls may spend: metered by what steps report, capped for the whole run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from perdure.actors.instructions.budget import shown
from perdure.store.errors import PerdureError
from perdure.store.usage import Usage

VARIABLE: Final = "PERDURE_TEST_BUDGET"
WORKERS: Final = "PYTEST_XDIST_WORKER_COUNT"  # each of them is a process with a meter of its own


class CostlyTestRefused(PerdureError):
    """A paid call would be made that the budget of the tests does not cover."""


class SpendingMeter:
    """Adds up what costly tests use; once the budget is used up no further body begins."""

    def __init__(self, budget: float) -> None:
        """`budget` is money, in the unit in which steps report their cost."""
        self.budget = budget
        self.used = Usage()

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> SpendingMeter:
        """The meter of this process: its part of PERDURE_TEST_BUDGET. Raises CostlyTestRefused."""
        found = os.environ if environment is None else environment
        text = found.get(VARIABLE, "")
        try:
            budget = float(text)
        except ValueError:
            budget = -1.0
        if not 0 < budget < float("inf"):
            raise CostlyTestRefused(
                f"{VARIABLE} is {text!r}: set it to what all costly tests of a run may cost together, as 0.50"
            )
        return cls(budget / max(1, int(found.get(WORKERS, "1"))))

    def take(self, usage: Usage) -> None:
        """Count what an attempt has used; it was used, whatever it makes the total."""
        self.used += usage

    def check(self) -> None:
        """Raise CostlyTestRefused when nothing is left for another call."""
        if self.used.cost >= self.budget:
            raise CostlyTestRefused(
                f"costly tests have used {shown(self.used)} of {VARIABLE}={self.budget:g}: no more begins"
            )
