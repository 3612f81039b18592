"""The trial of steps that may have killed their process, as the model has it: group after group."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from typing import Final

from modelled_step import Step

SUSPECT_DEATHS: Final = 2
GROUPS_MAX: Final = 8
TRIAL_MS: Final = 1_000
TRIAL_MS_MAX: Final = 300_000


class Trial:
    """Groups that wait to be tried, and the one that is."""

    def __init__(self) -> None:
        """Nobody is suspected."""
        self._untried: list[list[int]] = []
        self._tried: set[int] = set()
        self._ends = 0

    def of(self, ready: Sequence[int], steps: Sequence[Step]) -> None:
        """Those of them that have seen the most deaths are to be tried, the latest first."""
        self._untried, self._tried = [], set()
        most = max((steps[no].deaths for no in ready), default=0)
        if most >= SUSPECT_DEATHS:
            suspects = [no for no in ready if steps[no].deaths == most]
            suspects.sort(key=lambda no: -steps[no].began)
            size = max(1, math.ceil(len(suspects) / GROUPS_MAX))
            self._untried = [suspects[at : at + size] for at in range(0, len(suspects), size)]

    def is_off(self) -> None:
        """Nobody is to be tried any more."""
        self._untried.clear()

    def goes_on(self, bodies: Collection[int], *, now: int) -> bool:
        """Whether a group is being tried, so that nothing may start beside it."""
        return now < self._ends and not self._tried.isdisjoint(bodies)

    def next(
        self, steps: Sequence[Step], fitting: Callable[[list[int]], list[int]], *, now: int
    ) -> list[int] | None:
        """Those of the next group that has any that fit: just they have to start. None when all are tried."""
        while self._untried:
            group = self._untried.pop(0)
            deaths = steps[group[0]].deaths
            if fit := fitting(group):
                self._tried = set(group)
                self._ends = now + min(TRIAL_MS * 2 ** (deaths - SUSPECT_DEATHS), TRIAL_MS_MAX)
                return fit
        self._tried = set()
        return None
