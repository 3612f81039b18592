"""Fail when a share of the floor is lost: `python -m benchmarks.check`.

Only ratios to the floor of the same run are compared, never times. A share counts as lost when it
stays more than 15 % below the committed one in each of several tries: noise passes, a loss stays.
Compared is the class of durability without a sync in each commit, which would drown the engine's part.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from benchmarks import questions, results, table
from benchmarks.question import Question
from benchmarks.results import Result
from benchmarks.rounds import ours, take_turns

BASELINE: Final = Path(__file__).with_name("baseline.jsonl")
CHECKED: Final = ("W1", "W2", "W3", "W4")
LOSS_MAX: Final = 0.15
TRIES: Final = 3  # a neighbour that keeps the machine busy for one of them is not taken for a loss

Key = tuple[str, str, str, str, str]


class Loss(msgspec.Struct, frozen=True, kw_only=True):
    """A share of the floor that was reached once and is not any more."""

    key: Key
    before: float
    now: float

    def __str__(self) -> str:
        """One line."""
        question, case, _, durability, figure = self.key
        return (
            f"{question} {case} {durability}, {figure}: {self.now:.1%} of the floor, was {self.before:.1%} "
            f"({self.now / self.before - 1:+.0%})"
        )


def shares_of(found: Iterable[Result]) -> dict[Key, float]:
    """The median share of each result that has one."""
    return {each.key: each.of_floor.median for each in found if each.of_floor is not None}


def losses(before: Mapping[Key, float], now: Mapping[Key, float]) -> list[Loss]:
    """What is more than LOSS_MAX below what it was; what has nothing to compare with is no loss."""
    return [
        Loss(key=key, before=before[key], now=share)
        for key, share in now.items()
        if key in before and share < before[key] * (1 - LOSS_MAX)
    ]


def lost(before: Mapping[Key, float], measure: Callable[[], Mapping[Key, float]]) -> list[Loss]:
    """What stays lost over TRIES measurements, of which the best counts."""
    best: dict[Key, float] = {}
    found: list[Loss] = []
    for _ in range(TRIES):
        for key, share in measure().items():
            best[key] = max(share, best.get(key, 0.0))
        found = losses(before, best)
        if not found:
            break
    return found


def headline(question: Question) -> dict[Key, float]:
    """The share of the first figure of the first case."""
    case, durability = question.cases[0], question.durabilities[-1]
    measured = take_turns(
        [ours(name) for name in question.contenders],
        rounds=case.rounds,
        code=question.code,
        size=case.size,
        durability=durability,
        on_round=table.progress,
    )
    found = results.results_of(question, case, durability, measured)
    print(table.lines(found, reach=case.reach), flush=True)
    return {key: share for key, share in shares_of(found).items() if key[-1] == question.figures[0].name}


def main() -> None:
    """Compare with the committed results; exit with 1 when something is lost."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.check", description=__doc__)
    parser.add_argument("questions", nargs="*", default=list(CHECKED), metavar="W1")
    parser.add_argument("--baseline", type=Path, default=BASELINE)
    given = parser.parse_args()
    before = shares_of(results.read(given.baseline))
    if not before:
        sys.exit(f"{given.baseline}: no results to compare with; `make bench-publish` makes them")
    found: list[Loss] = []
    for code in given.questions:
        question = questions.question(code.upper())
        print(table.heading(question))
        found += lost(before, lambda question=question: headline(question))
    for loss in found:
        print(f"LOST  {loss}", file=sys.stderr)
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
