"""A process that was stopped in the middle of a transaction blocks the file: the others say who it is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from fleet import Fleet, Worker

from perdure.store.sqlite.locks import writer_of

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux lists all locks"),
]

LEASE_S = 4.0  # a process on a loaded machine may say nothing for a second and more
REPORT_S = 5.0
START_S = 2.5  # what a Python process may take to start and to end on a loaded machine


def blocked(fleet: Fleet) -> tuple[Worker, Worker]:
    """Two workers, the first of which is stopped with the file locked."""
    first, second = fleet.worker(lease_s=LEASE_S), fleet.worker(lease_s=LEASE_S)
    first.tell(start=["mine"], pace=0.3, halt=True)
    fleet.until(lambda: writer_of(fleet.path) == first.pid and is_stopped(first))
    return first, second


def is_stopped(worker: Worker) -> bool:
    """Whether its process is stopped."""
    with open(f"/proc/{worker.pid}/stat") as stat:  # noqa: PTH123 - no file of ours
        return stat.read().rpartition(")")[2].split()[0] == "T"


def ask_the_command_line(fleet: Fleet, *tokens: str) -> tuple[int, str, float]:
    """Its exit code, what it says, and how long it took."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PERDURE_")}
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "perdure.runtime.cli", *tokens, "--db", fleet.path],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stderr, time.monotonic() - begun


def test_the_others_name_who_blocks_the_file_and_go_on_with_it(fleet: Fleet):
    """Nobody is taken over meanwhile: as long as nobody can write, nobody can be heard."""
    first, second = blocked(fleet)
    begun = time.monotonic()
    told = second.ask(start=["other"], pace=0.1)
    assert time.monotonic() - begun < REPORT_S
    assert told["locked_by"] == first.pid
    assert f"kill -CONT {first.pid}" in told["text"]

    code, text, took_s = ask_the_command_line(fleet, "pause", "mine")
    assert code == 6
    assert f"pid {first.pid}" in text
    assert len(text.splitlines()) < 10
    assert took_s < REPORT_S + START_S

    time.sleep(max(0.0, begun + 2 * LEASE_S - time.monotonic()))
    first.signal(signal.SIGCONT)
    assert "halt" not in first.hear()
    fleet.until(lambda: fleet.states().get("mine") == "completed")
    second.ask(start=["another"], pace=0.1)
    fleet.until(lambda: set(fleet.states().values()) == {"completed"})
    assert "lease_lost" not in first.said()
    assert "runner_silent" not in second.said()


def test_when_it_dies_its_transaction_is_undone_and_the_others_go_on(fleet: Fleet):
    """What it had is taken over as of its last commit."""
    first, second = blocked(fleet)
    time.sleep(1.5 * LEASE_S)
    first.signal(signal.SIGKILL)
    fleet.until(lambda: fleet.states().get("mine") == "completed")
    second.ask(start=["other"], pace=0.1)
    fleet.until(lambda: set(fleet.states().values()) == {"completed"})
    begun = [effect.step for effect in fleet.ledger() if effect.execution_id == "mine"]
    assert begun == ["s0", "s0", "s1", "s2", "s3"]
