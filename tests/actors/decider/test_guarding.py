"""What a step that its agent's guard has held makes of being told to try again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from perdure.actors.decider import resuming
from perdure.actors.messages import Nudge

Make = Callable[..., Any]


@pytest.mark.parametrize("item", [None, 0])
def test_a_nudge_for_a_step_of_another_version_is_nobody_s(make_bench: Make, item: int | None):
    """The execution has moved to one with fewer steps since it was held."""
    bench = make_bench([()]).start()
    bench.do(lambda turn: resuming.take_wakeup(turn, Nudge(7, 0, 1, item)))
    bench.complete(0)
    assert bench.states() == ["completed"]
