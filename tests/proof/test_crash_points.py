"""A process killed at any fault point of any reference workflow: the next one comes to the same end.

`PERDURE_PROOF_SCALE` multiplies what is tried, `PERDURE_PROOF_SEED` draws other points, pairs and
interleavings. A failure names the kill that led to it; the command to see it again is printed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from lives import LIVES

DRIVER = Path(__file__).with_name("crash_points.py")
SCALE = float(os.environ.get("PERDURE_PROOF_SCALE", "1"))
SEED = os.environ.get("PERDURE_PROOF_SEED", "0")
POINTS_MAX = 24  # of one life; past it they are sampled evenly, unless the scale is larger
PAIRS = 6  # at the least
REACHED = 0.95  # of the lives: where more is written at once, some end before their last points
SHUFFLED = 8
IN_REAL_TIME = 2
OVER_A_SERVER = 4
EVERY_POINT = {  # are tried, whatever the scale
    "chain", "diamond", "wide", "retries_later", "timeouts", "optional_failure", "pause", "interrupt",
    "restore", "waits", "blocking", "elsewhere", "transaction",
}  # fmt: skip

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="lives are forked"),
]


def explore(life: str, *options: str) -> dict[str, Any]:
    """What the driver found; prints the command that finds it again."""
    command = [sys.executable, str(DRIVER), life, "--seed", SEED, *options]
    print(" ".join(command))
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.stdout, run.stderr
    found: dict[str, Any] = json.loads(run.stdout)
    print({key: found[key] for key in ("points", "lives", "kills", "seconds", "seed")})
    return found


@pytest.mark.parametrize("life", LIVES)
def test_a_process_killed_anywhere_is_recovered_to_the_same_end(life: str) -> None:
    """Every fault point (or an even sample of them), and some pairs: the second falls into recovery."""
    most = () if life in EVERY_POINT else ("--most", str(int(POINTS_MAX * SCALE)))
    found = explore(life, *most, "--pairs", str(max(PAIRS, int(PAIRS * SCALE))))
    assert found["failures"] == []
    assert found["lives"] >= min(found["points"], int(POINTS_MAX * SCALE))
    assert found["kills"] >= REACHED * found["lives"]


@pytest.mark.parametrize("life", ["diamond", "pause", "interrupt", "restore", "elsewhere", "slots"])
def test_a_process_killed_in_any_interleaving_is_recovered_to_the_same_end(life: str) -> None:
    """Tasks that are ready together take turns in an order drawn anew for each process."""
    found = explore(life, "--shuffle", "--most", str(int(SHUFFLED * SCALE)))
    assert found["failures"] == []


@pytest.mark.parametrize("life", ["wide", "pause", "cancel", "elsewhere"])
def test_a_process_killed_in_real_time_is_recovered_to_the_same_end(life: str) -> None:
    """With the threaded store and the clock of the machine."""
    found = explore(life, "--real", "--most", str(int(IN_REAL_TIME * SCALE)))
    assert found["failures"] == []


@pytest.mark.parametrize("life", ["diamond", "pause", "transaction"])
def test_a_process_killed_over_a_server_is_recovered_to_the_same_end(life: str, postgres_server: str) -> None:
    """In PostgreSQL, each life in a copy of a database that nobody has used."""
    found = explore(life, "--server", postgres_server, "--most", str(int(OVER_A_SERVER * SCALE)))
    assert found["failures"] == []


def test_the_statements_of_steps_are_executed_once() -> None:
    """What the other tests of this life compare with, spelled out."""
    found = explore("transaction", "--most", "1")
    assert found["end"]["outputs"]["entries"] == [["blocking", 101], ["refused", 103], ["refused", 103]]
