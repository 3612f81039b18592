"""Finds out which step keeps killing its process: by groups, within a known time. Pure.

When a process dies everything in flight may be to blame. After SUSPECT_DEATHS such deaths a step is
a suspect, and the next process puts those with the most deaths on trial before anything else runs:
in at most GROUPS_MAX groups, one after another, each for `seconds(deaths)` or until each of its
members has come to an outcome. When it dies in that time, only those that were in flight count one
more death, so the next trial is about an eighth of them, and in the end about one. When it does not
die, everything goes on; a step that takes longer to kill is found by a later trial, as the time
doubles with each death.

Nothing is stopped when its time is over, so members of earlier groups may still be in flight when a
later one kills; hence whoever began last is tried first. Proof is only a death with nothing else in
flight: the death that uses up the budget (CRASH_BUDGET unless the runtime was given another), or a
later one, fails the step. Where processes are killed from outside again and again, on machines that
come and go, an innocent may be hit alone as well: such a runtime is given a larger budget.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeVar

T = TypeVar("T")

SUSPECT_DEATHS: Final = 2  # one death is an accident, and every deploy by `kill -9` is one
CRASH_BUDGET: Final = 3  # deaths, the last of them with nothing else in flight, that fail a step
GROUPS_MAX: Final = 8  # what is innocent stands still for at most so many times `seconds(deaths)`
TRIAL_S: Final = 1.0  # the first trial of a group: eight of them are over within ten seconds
TRIAL_S_MAX: Final = 300.0  # what takes longer to kill costs more to look for than to live with


def is_convicted(*, deaths: int, died_alone: bool, budget: int = CRASH_BUDGET) -> bool:
    """Whether a step has been found out."""
    return deaths >= budget and died_alone


def seconds(deaths: int) -> float:
    """How long a group is tried whose members have seen so many deaths; doubles with each."""
    doublings = min(max(0, deaths - SUSPECT_DEATHS), 16)
    return min(TRIAL_S * 2.0**doublings, TRIAL_S_MAX)


def worst(suspects: Iterable[T], deaths: Callable[[T], int]) -> list[T]:
    """Those with the most deaths, in the order they came: who kills has seen every one of them."""
    found = list(suspects)
    most = max(map(deaths, found), default=0)
    return [suspect for suspect in found if deaths(suspect) == most]


def groups(suspects: Sequence[T]) -> list[Sequence[T]]:
    """Deal suspects into at most GROUPS_MAX groups; few suspects are tried one by one."""
    size = -(-len(suspects) // GROUPS_MAX) or 1
    return [suspects[at : at + size] for at in range(0, len(suspects), size)]


def rounds(count: int) -> int:
    """How many groups so many suspects make."""
    return len(groups(range(count)))


class Trial:
    """The trial of the suspects of one execution, as far as it has come; in memory only."""

    __slots__ = ("_group", "_groups", "_round_ms", "until")

    def __init__(self, suspects: Sequence[int], *, deaths: int) -> None:
        """`suspects` are numbers of steps that have seen `deaths`, who is to be tried first first."""
        self._groups = groups(suspects)[::-1]
        self._group: frozenset[int] = frozenset()
        self._round_ms = int(seconds(deaths) * 1000)
        self.until: int | None = None  # when (ms) the time of the present group is over

    def next_group(self, *, now: int) -> frozenset[int]:
        """Let the next group have its time; empty when each has had it."""
        self._group = frozenset(self._groups.pop()) if self._groups else frozenset()
        self.until = now + self._round_ms if self._group else None
        return self._group

    def rewind(self, running: set[int]) -> None:
        """Let the present group come again, should its start not have been written."""
        if self._group and self._group.isdisjoint(running):
            self._groups.append(sorted(self._group))
            self._group = frozenset()

    def heed(self, now: int) -> None:
        """End the time of the present group when it is over."""
        if self.until is not None and self.until <= now:
            self.until = None

    def is_on(self, running: set[int]) -> bool:
        """Whether the present group is to be left by itself for now."""
        return self.until is not None and not self._group.isdisjoint(running)
