"""Results as lines of text: the median, both ends, the share of the floor, and what was to be reached."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping

from benchmarks.figures import Spread
from benchmarks.question import HOSTED, OURS, Question
from benchmarks.results import Result

BUSY_MACHINE = 0.1  # a tenth of the machine used by others is enough to distrust an absolute figure


def heading(question: Question) -> str:
    """The question, before its lines."""
    return f"\n{question.code}  {question.title}"


def lines(results: Iterable[Result], *, reach: Mapping[str, float]) -> str:
    """A line for each result."""
    return "\n".join(line(result, reach=reach.get(result.figure)) for result in results)


def line(result: Result, *, reach: float | None) -> str:
    """One result."""
    spread = result.spread
    parts = [
        f"  {result.case:14} {result.durability:8} {result.contender:22}",
        f"{number(spread.median):>10} {result.unit:24}",
        f"({number(spread.min)} to {number(spread.max)}, {result.rounds} rounds)",
    ]
    if result.of_floor is not None:
        parts.append(f"{share(result.of_floor)} of the floor")
    if reach is not None and result.contender in (OURS, HOSTED) and result.durability == "power":
        is_reached = spread.median >= reach if result.more_is_better else spread.median <= reach
        parts.append(f"{'reaches' if is_reached else 'misses'} {number(reach)}")
    if (result.foreign_cpu or 0) > BUSY_MACHINE:
        parts.append(f"[others used {result.foreign_cpu:.0%} of the machine]")
    return "  ".join(parts)


def share(of_floor: Spread) -> str:
    """A share of the floor's speed with its ends."""
    return f"{of_floor.median:.0%} ({of_floor.min:.0%} to {of_floor.max:.0%})"


def number(value: float) -> str:
    """Three digits that mean something."""
    if abs(value) >= 100:  # noqa: PLR2004  from here on a fraction says nothing
        return f"{value:,.0f}"
    return f"{value:.3g}"


def progress(what: str) -> None:
    """Say what goes on, where somebody is watching."""
    if sys.stderr.isatty():
        print(f"\r\033[K{what}", end="\r", file=sys.stderr, flush=True)
