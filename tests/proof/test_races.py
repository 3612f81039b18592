"""Of two callers and the machine, exactly one gets the next version of an execution."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from races import run_races

RACES = 2_000  # at scale 1; four fifths from a fixed seed

pytestmark = pytest.mark.integration


def test_of_two_callers_and_the_machine_exactly_one_wins(
    say: Callable[[str, str], None], scale: float, fresh_seed: int
) -> None:
    """In one runtime and in two; who loses is told the current version, and nothing of it is applied."""
    fixed = run_races(0, int(RACES * scale * 0.8))
    fresh = run_races(fresh_seed, int(RACES * scale * 0.2))
    races = fixed.races + fresh.races
    machine = fixed.machine_won + fresh.machine_won
    seconds = fixed.seconds + fresh.seconds
    say("races", f"compare-and-swap races {races:,} in {seconds:.0f} s, {machine:,} won by the machine")
    assert machine > races * 0.05, "the machine hardly ever takes part"
    assert machine < races * 0.5, "the callers hardly ever do"
