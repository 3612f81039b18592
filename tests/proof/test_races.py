"""Of two callers and the machine, exactly one gets the next version of an execution."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
from races import run_races

DRIVER = Path(__file__).with_name("races.py")
RACES = 2_000  # at scale 1; four fifths from fixed seeds
SERVER_RACES = 40
JOBS = 2

pytestmark = pytest.mark.integration


def test_of_two_callers_and_the_machine_exactly_one_wins(
    say: Callable[[str, str], None], scale: float, fresh_seed: int
) -> None:
    """In one runtime and in two; who loses is told the current version, and nothing of it is applied."""
    seeds = [*range(JOBS), *range(fresh_seed, fresh_seed + JOBS)]
    shares = [int(RACES * scale * part / JOBS) for part in (0.8, 0.2) for _ in range(JOBS)]
    with ProcessPoolExecutor(JOBS, mp_context=get_context("spawn")) as jobs:
        found = list(jobs.map(run_races, seeds, shares))
    races = sum(each.races for each in found)
    machine = sum(each.machine_won for each in found)
    seconds = sum(each.seconds for each in found) / JOBS
    say("races", f"compare-and-swap races {races:,} in {seconds:.0f} s, {machine:,} won by the machine")
    assert machine > races * 0.05, "the machine hardly ever takes part"
    assert machine < races * 0.5, "the callers hardly ever do"


def test_over_a_server_exactly_one_wins(
    say: Callable[[str, str], None], scale: float, fresh_seed: int, postgres_server: str
) -> None:
    """The same in PostgreSQL, where a batch that holds a loser is taken apart."""
    begun = [
        "--seed",
        str(fresh_seed),
        "--count",
        str(int(SERVER_RACES * scale)),
        "--server",
        postgres_server,
    ]
    ran = subprocess.run([sys.executable, str(DRIVER), *begun], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-4_000:]
    raced = json.loads(ran.stdout)
    say("served", f"compare-and-swap races on a server {raced['races']:,} in {raced['seconds']:.0f} s")
