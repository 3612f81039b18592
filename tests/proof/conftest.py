"""What the proofs share: how much is tried, from which seed, and the lines that say what was reached."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for the drivers, which are programs of their own

_said: list[str] = []


@pytest.fixture(scope="session")
def scale() -> float:
    """How much more (or less) than usual is to be tried: PERDURE_PROOF_SCALE."""
    return float(os.environ.get("PERDURE_PROOF_SCALE", "1"))


@pytest.fixture(scope="session")
def fresh_seed() -> int:
    """A seed nobody has tried, or PERDURE_PROOF_SEED; printed with what was reached."""
    given = os.environ.get("PERDURE_PROOF_SEED")
    seed = random.SystemRandom().randrange(2**32) if given is None else int(given)
    say(f"fresh seed {seed} (PERDURE_PROOF_SEED={seed} repeats it)")
    return seed


@pytest.fixture(name="say")
def _say() -> Callable[[str], None]:
    """Say at the end of the run what was reached."""
    return say


def say(line: str) -> None:
    """Keep a line for the end of the run."""
    print(line)
    _said.append(line)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was tried: a proof is worth what it has looked at."""
    for line in _said:
        terminalreporter.write_line(f"proof: {line}")
