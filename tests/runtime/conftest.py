"""What the tests of the runtime share: scenarios, and a folder to work in from the command line."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for what is no test: `scenarios`, `stories`, `family`

SETTINGS = ("PERDURE_DB", "PERDURE_AGENTS", "PERDURE_RETENTION", "NO_COLOR", "FORCE_COLOR")


@pytest.fixture
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the test's own, which is the current one; no setting comes from the environment."""
    monkeypatch.chdir(tmp_path)
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    return tmp_path
