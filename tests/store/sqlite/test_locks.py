"""Who holds the write lock, as the system lists it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from perdure.store import SQLiteStore
from perdure.store.errors import StoreLocked
from perdure.store.sqlite.locks import is_stopped, writer_of

on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux lists all locks")

HOLDER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def made(path: str, at_once: Any) -> Iterator[SQLiteStore]:
    """A store of its own file, which does not wait for locks."""
    store = SQLiteStore(path, inline=True, lock_wait_s=0.0)
    at_once(store.open())
    yield store
    at_once(store.close())


@pytest.fixture
def holder(made: SQLiteStore) -> Iterator[subprocess.Popen[str]]:
    """Another process in the midst of a transaction."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, made.location],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process


@on_linux
def test_a_locked_store_names_the_process_that_locks_it(made: SQLiteStore, holder: Any, at_once: Any):
    """So that its user knows what to wait for, or to stop."""
    with pytest.raises(StoreLocked, match=rf"locked by another process \(pid {holder.pid}\)") as caught:
        at_once(made.commit([]))
    assert caught.value.pid == holder.pid


@on_linux
def test_nobody_is_named_when_nobody_writes(made: SQLiteStore):
    """An open file is not a locked one."""
    assert writer_of(made.location) is None


def test_nobody_is_named_where_locks_are_not_listed(made: SQLiteStore, tmp_path: Path):
    """Other systems have no such list."""
    assert writer_of(made.location, listing=str(tmp_path / "none")) is None


@on_linux
def test_a_holder_that_was_stopped_is_told_as_such(made: SQLiteStore, holder: Any, at_once: Any):
    """There is no use in waiting for it: the message says how to let it go on, and how to end it."""
    holder.send_signal(signal.SIGSTOP)
    os.waitpid(holder.pid, os.WUNTRACED)
    try:
        with pytest.raises(StoreLocked, match=rf"stopped .*kill -CONT {holder.pid}\)") as caught:
            at_once(made.commit([]))
    finally:
        holder.send_signal(signal.SIGCONT)
    assert caught.value.is_stopped
    with pytest.raises(StoreLocked, match="wait for it"):
        at_once(made.commit([]))


@pytest.mark.parametrize(
    ("line", "expected"),
    [("7 (a) T 1 7", True), ("7 (T) S 1", False), ("7 (a) b) t 1", True), ("7 (a)", False), ("", False)],
)
def test_a_process_is_stopped_when_the_system_says_so(tmp_path: Path, line: str, expected: object):
    """By the letter after its name, which may look like one itself."""
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "stat").write_text(line)
    assert is_stopped(7, processes=str(tmp_path)) is expected
    assert is_stopped(8, processes=str(tmp_path)) is False
    assert is_stopped(None, processes=str(tmp_path)) is False


def test_nobody_is_named_for_a_file_that_is_not_there(tmp_path: Path):
    """Nor for one that is no database."""
    assert writer_of(str(tmp_path / "none.db")) is None


@on_linux
@pytest.mark.parametrize(
    ("line", "pid"),
    [
        ("1: POSIX  ADVISORY  WRITE 4711 {file} 120 120", 4711),
        ("1: POSIX  ADVISORY  READ 4711 {file} 120 120", None),
        ("1: POSIX  ADVISORY  WRITE 4711 {file} 121 121", None),
        ("1: FLOCK  ADVISORY  WRITE 4711 {file} 120 120", None),
        ("1: -> POSIX  ADVISORY  WRITE 4711 {file} 120 120", None),
        ("1: POSIX  ADVISORY  WRITE 4711 00:00:1 120 120", None),
        ("1: POSIX  ADVISORY  WRITE 0 {file} 120 120", None),
        ("1: POSIX", None),
        ("", None),
    ],
)
def test_only_a_held_write_lock_on_this_file_counts(
    made: SQLiteStore, tmp_path: Path, line: str, pid: int | None
):
    """Readers, waiters, other bytes, other files and processes that cannot be seen do not."""
    log = Path(f"{made.location}-shm").stat()
    file = f"{os.major(log.st_dev):02x}:{os.minor(log.st_dev):02x}:{log.st_ino}"
    listing = tmp_path / "locks"
    listing.write_text(line.format(file=file) + "\n")
    assert writer_of(made.location, listing=str(listing)) == pid
