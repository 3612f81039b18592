"""Whole lives of a machine, drawn from seeds: storms in which nothing is lost, calms in which all ends.

`PERDURE_PROOF_SCALE` multiplies the seeds, `PERDURE_SEED=N` runs one seed alone. Each seed is run
twice, as the same seed has to be the same history. One that fails joins `simulation_seeds.txt`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

DRIVER = Path(__file__).with_name("simulate.py")
REGRESSIONS = Path(__file__).with_name("simulation_seeds.txt")
SEEDS = 200
FRESH = SEEDS // 100  # so many of them are seeds that nobody has run; the long run draws thousands
HOURS = 1_000
JOBS = 2
SECONDS_MAX = 240  # on a machine that is busy with other things; what was reached is said

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="seeds are run in forked processes"),
]


def known_seeds() -> list[int]:
    """Those that have failed before."""
    lines = REGRESSIONS.read_text().splitlines()
    return [int(line.split()[0]) for line in lines if line and not line.startswith("#")]


def simulate(seeds: str, *, seconds: float) -> dict[str, Any]:
    """What the driver found in that time."""
    options = ["--seeds", seeds, "--twice", "--jobs", str(JOBS), "--seconds", str(seconds)]
    command = [sys.executable, "-W", "ignore", str(DRIVER), *options]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.stdout, run.stderr
    found: dict[str, Any] = json.loads(run.stdout)
    return found


def chosen(scale: float, fresh_seed: int) -> str:
    """The seeds of this run: the one that is wanted, or those that failed once, fixed ones and fresh ones."""
    if wanted := os.environ.get("PERDURE_SEED"):
        return wanted
    fresh = max(1, int(FRESH * scale))
    fixed = max(1, int(SEEDS * scale) - fresh - len(known_seeds()))
    first = 1_000_000 + fresh_seed % 1_000_000_000
    return ",".join([*map(str, known_seeds()), f"0..{fixed - 1}", f"{first}..{first + fresh - 1}"])


def test_every_seed_keeps_what_was_promised_and_comes_to_its_end(
    scale: float, fresh_seed: int, say: Callable[[str, str], None]
) -> None:
    """Each is a thousand hours of crashes, deaths, bad disks and lost bells, and then a calm."""
    seeds = chosen(scale, fresh_seed)
    found = simulate(seeds, seconds=SECONDS_MAX * max(1.0, scale))
    failures = found.pop("failures")
    hours, counts = found["virtual_hours"], found["counts"]
    say("simulation", f"simulation: {found['seeds']} seeds, each twice, {hours:,} virtual hours, {counts}")
    for failure in failures:
        print(f"PERDURE_SEED={failure['seed']} python -m pytest tests/proof/test_simulation.py")
        remember(failure["seed"])
    assert failures == []
    assert found["fewest_hours"] >= HOURS


def remember(seed: int) -> None:
    """Let a seed that failed be run first from now on."""
    if seed not in known_seeds():
        with REGRESSIONS.open("a") as file:
            file.write(f"{seed} failed, and nobody has said why yet\n")
