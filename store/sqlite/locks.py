"""Tells which process holds the write lock of a database, where the system lets that be seen.

Asking the file would do harm: closing a handle of it drops every lock this process has on it. Linux
lists all locks in one place instead.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

ALL_LOCKS: Final = "/proc/locks"
STOPPED: Final = frozenset({"T", "t"})  # by a signal, by a debugger
WRITE_LOCK: Final = 120  # the byte of the -shm file that whoever writes to the log holds locked


def writer_of(path: str, *, listing: str = ALL_LOCKS) -> int | None:
    """The process that is writing to the database now; None when there is none or it cannot be seen."""
    try:
        lines = Path(listing).read_text("ascii").splitlines()
        log = Path(f"{path}-shm").stat()
    except (OSError, ValueError):
        return None
    device = log.st_dev
    file = f"{os.major(device):02x}:{os.minor(device):02x}:{log.st_ino}"
    for line in lines:
        # "7: POSIX  ADVISORY  WRITE 4711 fe:00:2172500 120 120"; one that only waits has "->" in second place
        fields = line.split()
        if fields[1:4] == ["POSIX", "ADVISORY", "WRITE"] and fields[5:7] == [file, str(WRITE_LOCK)]:
            pid = int(fields[4])
            return pid if pid > 0 else None  # 0 or -1: a process of another container
    return None


def is_stopped(pid: int | None, *, processes: str = "/proc") -> bool:
    """Whether that process was stopped; False where that cannot be seen."""
    try:
        status = Path(f"{processes}/{pid}/stat").read_text("ascii", "replace")
    except OSError:
        return False
    state = status.rpartition(")")[2].split()  # "4711 (a name, maybe with brackets) T 1 …"
    return bool(state) and state[0] in STOPPED
