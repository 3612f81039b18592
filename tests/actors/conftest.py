"""What the tests of the actors share: plans from a list of needs, and the bench to try them on."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for `bench`, which is no test

from bench import Bench, make_plan

from perdure.actors.instructions.plan import Plan


@pytest.fixture(name="make_plan", scope="session")
def _make_plan() -> Callable[..., Plan]:
    """Build plans."""
    return make_plan


@pytest.fixture(scope="session")
def make_bench() -> Callable[..., Bench]:
    """Build a bench around `make_plan(needs, **options)`; it is not started yet."""

    def make(
        needs: Sequence[Sequence[int]], *, context: dict[str, Any] | None = None, **options: Any
    ) -> Bench:
        return Bench(make_plan(needs, **options), context=context)

    return make
