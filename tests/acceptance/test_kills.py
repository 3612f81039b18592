"""`kill -9` at random moments, of one process and of a fleet: nothing recorded is lost or repeated."""

from __future__ import annotations

import os
import random
import sys

import pytest
from cold_kills import run_cold_kills
from fleet_kills import run_fleet_kills

pytestmark = pytest.mark.e2e

SCALE = float(os.environ.get("PERDURE_PROOF_SCALE", "1"))
COLD_KILLS = max(1, int(30 * SCALE))
FLEET_KILLS = max(2, int(8 * SCALE))


def a_seed() -> int:
    """Drawn anew each time, and printed."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    return seed


def test_kills_at_random_moments_repeat_at_most_the_step_in_flight(terminal):
    """Each time: same trace, every output, and no step begun again but the one the kill cut."""
    fates = run_cold_kills(terminal, count=COLD_KILLS, seed=a_seed())
    print(dict(fates))
    assert fates["cut"], "no kill hit the middle of an execution"


@pytest.mark.skipif(sys.platform == "win32", reason="kills processes with signals")
def test_runners_that_are_killed_every_second_lose_and_double_nothing():
    """What one had when it was killed goes on in the others; the checker finds nothing wrong."""
    told = run_fleet_kills(FLEET_KILLS, a_seed())
    print(told)
    assert told["wrong"] == []
