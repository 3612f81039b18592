"""The long run leaves nothing behind, whatever a slice of it does."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import torture
from exercises import Counted, Exercise

# It starts another that never ends by itself, says who that is, and does not end either.
ENDLESS = """
import signal, subprocess, sys
other = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
open(sys.argv[1], "w").write(str(other.pid))
signal.pause()
"""


def test_a_slice_that_does_not_end_is_ended_with_all_it_has_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is a failure, and the next slice has the machine to itself."""
    noted = tmp_path / "pid"
    exercise = Exercise(
        name="endless",
        promise="ends",
        target=1,
        command=lambda _: [sys.executable, "-c", ENDLESS, str(noted)],
        read=lambda _: Counted(1, []),
    )
    monkeypatch.setattr(torture, "SLICE_S_MAX", 3)
    done = torture._run(exercise, seed=1)
    assert done.failures[1:] == ["no end within 3 s"]
    assert not _runs(int(noted.read_text()))


def _runs(pid: int) -> bool:
    """Whether there is such a process that does anything."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
