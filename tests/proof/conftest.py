"""What the proofs share: how much is tried, from which seed, and the lines that say what was reached."""

from __future__ import annotations

import os
import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for the drivers, which are programs of their own

_said: dict[str, str] = {}


@pytest.fixture(scope="module", autouse=True)
def own_bells(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Hang the bells in a folder of this run: ids from a seed are the same in every process."""
    tmp_path_factory.getbasetemp()  # made before, so that it stays where it is
    with tempfile.TemporaryDirectory(prefix="pd-") as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", folder)
        yield


@pytest.fixture
def fast_folder() -> Iterator[Path]:
    """A folder in memory where there is one: what is proved with it does not need a disk."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="pd-", dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def scale() -> float:
    """How much more (or less) than usual is to be tried: PERDURE_PROOF_SCALE."""
    return float(os.environ.get("PERDURE_PROOF_SCALE", "1"))


@pytest.fixture(scope="session")
def fresh_seed() -> int:
    """A seed nobody has tried, or PERDURE_PROOF_SEED; printed with what was reached."""
    given = os.environ.get("PERDURE_PROOF_SEED")
    seed = random.SystemRandom().randrange(2**32) if given is None else int(given)
    say("seed", f"fresh seed {seed} (PERDURE_PROOF_SEED={seed} repeats it)")
    return seed


@pytest.fixture(name="say")
def _say() -> Callable[[str, str], None]:
    """Say at the end of the run what was reached."""
    return say


def say(what: str, line: str) -> None:
    """Keep a line for the end of the run; about each thing the last one counts."""
    print(line)
    _said[what] = line


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was tried: a proof is worth what it has looked at."""
    for line in _said.values():
        terminalreporter.write_line(f"proof: {line}")
