"""The benchmarks are not installed: their tests find them in the checkout."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2]))


@pytest.fixture
def result() -> Callable[..., Any]:
    """Make a result of W2 whose rounds all came out the same."""
    from benchmarks.figures import Spread
    from benchmarks.results import Result

    def make(median: float = 10_000.0, *, share: float | None = None, **given: Any) -> Result:
        facts = {
            "question": "W2",
            "case": "1,000 × 10",
            "contender": "perdure",
            "durability": "power",
            "figure": "steps_per_s",
            "unit": "durable steps/s",
            "more_is_better": True,
            "rounds": 3,
            "at": "2026-11-21 09:10",
            "python": "3.11.7",
            "sqlite": "3.45.1",
            "perdure": "0.1.0",
            "cpus": 2,
            "foreign_cpu": 0.02,
        }
        spread = Spread(median=median, min=median, max=median)
        of_floor = None if share is None else Spread(median=share, min=share, max=share)
        return Result(**{**facts, **given}, spread=spread, of_floor=of_floor)

    return make
