"""What the tests of the command line share: each plays in an empty folder."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _in_an_empty_folder(empty_folder: Path) -> Path:
    return empty_folder
