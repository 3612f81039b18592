"""Several stores on one file, in one process and in several."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from perdure.store import SQLiteStore

pytestmark = pytest.mark.anyio

COME_AND_GO = (
    "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('SELECT 1 FROM workflows'); c.close()"
)

DOOMED = """
import asyncio, os, signal, subprocess, sys
from perdure.store import SQLiteStore
from perdure.store.writes import Register

async def main(path, come_and_go):
    first, second = SQLiteStore(path), SQLiteStore(path)
    await first.open()
    await second.open()
    await second.close()
    subprocess.run([sys.executable, "-c", come_and_go, path], check=True)
    for number in range(20):
        await first.commit([Register(id=str(number), pid=1, host="here", kind="worker",
                                     lock_path=None, doorbell=None, at=1)])
    print("acknowledged", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main(*sys.argv[1:]))
"""


def _mode(path: str) -> int:
    return stat.S_IMODE(Path(path).stat().st_mode)


def _make(path: str, mode: int) -> None:
    Path(path).touch()
    Path(path).chmod(mode)


def _come_and_go(path: str) -> None:
    """Another process opens the file, reads and closes it."""
    subprocess.run([sys.executable, "-c", COME_AND_GO, path], check=True)


async def test_opening_a_second_store_keeps_the_locks_of_the_first(path: str):
    """Closing any handle of a file drops all POSIX locks a process has on it: SQLite's, too.

    Another process that then closes the file takes itself for the last one and removes the log.
    """
    first, second = SQLiteStore(path), SQLiteStore(path)
    await first.open()
    await second.open()
    _come_and_go(path)
    assert _mode(f"{path}-wal")
    await second.close()
    await first.close()


@pytest.mark.integration
@pytest.mark.skipif(sys.platform == "win32", reason="kills")
def test_what_was_acknowledged_beside_a_second_store_survives_a_kill(path: str):
    """The loss that dropped locks lead to: commits into a log that somebody else has removed."""
    doomed = subprocess.run(
        [sys.executable, "-c", DOOMED, path, COME_AND_GO], capture_output=True, text=True, check=False
    )
    assert doomed.stdout == "acknowledged\n", doomed.stderr
    assert doomed.returncode == -signal.SIGKILL
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT count(*) FROM runners").fetchone() == (20,)
    connection.close()


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX modes")
async def test_a_new_file_is_private_whatever_the_umask(path: str):
    """Neither a generous umask opens it nor a strict one locks its owner out."""
    before = os.umask(0o777)
    try:
        store = SQLiteStore(path)
        await store.open()
        assert _mode(path) == 0o600
        assert _mode(f"{path}-wal") == 0o600
        await store.close()
    finally:
        os.umask(before)


async def test_a_file_that_is_there_keeps_the_mode_its_owner_chose(path: str):
    """The store makes files private; it does not take back what somebody has opened up."""
    _make(path, 0o640)
    store = SQLiteStore(path)
    await store.open()
    assert _mode(path) == 0o640
    await store.close()
