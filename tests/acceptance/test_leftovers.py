"""What the tests themselves start is gone with them, also when they are killed."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(sys.platform == "win32", reason="asks a shell"),
]

TESTS = Path(__file__).parents[1]
PATIENCE_S = 30.0
STARTS_ONE = """
import sys, time
sys.path.insert(0, sys.argv[1])
import postgres
with postgres.Server() as server:
    print(server.folder, flush=True)
    time.sleep(3600)
"""


def test_a_server_ends_with_the_process_that_has_started_it():
    """It is a daemon, which nothing else would end; its folder is some hundred megabytes."""
    command = [sys.executable, "-c", STARTS_ONE, str(TESTS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().strip())
        server = int((folder / "postmaster.pid").read_text().split()[0])
        assert runs(server)
        process.kill()
    deadline = time.monotonic() + PATIENCE_S
    while folder.exists() or runs(server):
        assert time.monotonic() < deadline, f"{folder} is still there"
        time.sleep(0.05)


def runs(pid: int) -> bool:
    """Whether there is such a process."""
    return subprocess.run(["ps", "-p", str(pid)], stdout=subprocess.DEVNULL, check=False).returncode == 0
