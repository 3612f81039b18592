"""Whatever is asked of an execution in whatever order, it does what the model says."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

DRIVER = Path(__file__).parent / "moves.py"
TRANSITIONS = 500_000  # at scale 1; four fifths from fixed seeds
JOBS = 2

pytestmark = pytest.mark.integration


def test_half_a_million_plain_moves_are_as_the_model_says(
    say: Callable[[str, str], None], scale: float, fresh_seed: int
) -> None:
    """The pure machine over rows in memory, two processes at a time."""
    begun = time.monotonic()
    share = int(TRANSITIONS * scale / JOBS)
    jobs = [_drive(seed, int(share * 0.8)) for seed in range(JOBS)]
    reached = sum(_finish(job) for job in jobs)
    jobs = [_drive(fresh_seed + job, int(share * 0.2)) for job in range(JOBS)]
    reached += sum(_finish(job) for job in jobs)
    say("plain", f"plain transitions {reached:,} in {time.monotonic() - begun:.0f} s")
    assert reached >= int(share * 0.8) * JOBS


def _drive(seed: int, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, str(DRIVER), "--seed", str(seed), "--count", str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _finish(job: subprocess.Popen[str]) -> int:
    """How many transitions it has made."""
    said, wrong = job.communicate()
    assert job.returncode == 0, wrong[-4_000:]
    return json.loads(said)["transitions"]
