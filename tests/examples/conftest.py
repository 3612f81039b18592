"""What the tests of the examples share: where they are, and ways to run them for real."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from perdure.runtime import load_agents

ROOT = Path(__file__).resolve().parents[2]
RUN_S = 60  # no example takes a tenth of it, even on a busy machine

Ended = subprocess.CompletedProcess[str]


@pytest.fixture
def root() -> Path:
    """The root of the repository."""
    return ROOT


@pytest.fixture
def examples() -> Path:
    """The folder of the examples."""
    return ROOT / "examples"


@pytest.fixture
def python(tmp_path: Path) -> Callable[..., Ended]:
    """Run a program with this Python in a temporary folder, and wait for its end."""

    def run(*arguments: object, cwd: Path = tmp_path) -> Ended:
        command = [sys.executable, *map(str, arguments)]
        environment = {**os.environ, "NO_COLOR": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.run(
            command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=RUN_S, check=False
        )

    return run


@pytest.fixture
def perdure(python: Callable[..., Ended]) -> Callable[..., Ended]:
    """Run the command line."""
    return lambda *arguments, **where: python("-m", "perdure.runtime.cli", *arguments, **where)


@pytest.fixture
def module_of(examples: Path) -> Iterator[Callable[[str], ModuleType]]:
    """Load an example's agents as the command line does, and forget them after the test."""
    known, paths = set(sys.modules), list(sys.path)

    def load(name: str) -> ModuleType:
        registry = load_agents(f"{examples / name / 'agents.py'}:agents")
        return sys.modules[next(iter(registry)).function.__module__]

    yield load
    sys.path[:] = paths
    for name in set(sys.modules) - known:
        if str(examples) in (getattr(sys.modules[name], "__file__", None) or ""):
            del sys.modules[name]
