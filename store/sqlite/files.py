"""A database as files: opened only to be read, written under a passing name, put in place at once.

A file that SQLite has open in this process is never opened by hand here: closing such a handle would
drop every lock SQLite holds on it. Renaming, linking and asking for sizes do no harm, and on its log
SQLite holds none.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from perdure.store.errors import StoreError
from perdure.store.sqlite.translate import translated

COMPANIONS: Final = ("-wal", "-shm", "-journal")  # what SQLite keeps beside a file: they go together
UNFINISHED: Final = ("-wal", "-journal")  # those that may hold commits the file itself does not have yet
PART_BYTES: Final = 1 << 20
LOCK_WAIT_S: Final = 4.0  # how long to wait for another process's transaction; StoreLocked is told within 5 s


@contextlib.contextmanager
def reading(path: str, *, lock_wait_s: float = LOCK_WAIT_S) -> Iterator[sqlite3.Connection]:
    """A connection that changes nothing; a file without companions may lie on a read-only disk.

    Raises StoreError where there is no file, and sqlite3's errors as ours.
    """
    address = address_to_read(path)
    try:
        connection = sqlite3.connect(address, uri=True, isolation_level=None, timeout=lock_wait_s)
        try:
            connection.execute("PRAGMA query_only = ON")
            yield connection
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise translated(error, path) from error


def address_to_read(path: str) -> str:
    """How to open the file only to read it, with `query_only`, also on a disk that is read-only.

    Where SQLite may not write it reads a log as it finds it; only without one must nothing be asked of
    the disk. Raises StoreError where there is no file.
    """
    return uri(path, "mode=rw" if has_unfinished(path) or _is_writable(path) else "immutable=1")


def uri(path: str, options: str) -> str:
    """The file as SQLite's addresses name it. Raises StoreError where there is none."""
    if not Path(path).is_file():
        why = "this is no regular file" if Path(path).exists() else "there is no such file"
        raise StoreError(f"{path}: {why}; nothing was changed")
    return f"{Path(path).resolve().as_uri()}?{options}"


def has_unfinished(path: str) -> bool:
    """Whether somebody has the file open, or left it without closing it."""
    return any(Path(os.path.realpath(path) + suffix).exists() for suffix in UNFINISHED)


def _is_writable(path: str) -> bool:
    return os.access(path, os.W_OK) and os.access(Path(path).resolve().parent, os.W_OK)


@contextlib.contextmanager
def partial(path: str) -> Iterator[str]:
    """A new file beside `path`, for its owner alone, that is gone afterwards unless it was moved away.

    Raises StoreError where there is no such folder, or no file can be made in it.
    """
    import tempfile  # noqa: PLC0415  for backups and restores alone, with all that it imports itself

    folder = Path(path).parent
    try:
        handle, name = tempfile.mkstemp(dir=folder, prefix=f"{Path(path).name}.", suffix=".partial")
    except OSError as error:
        raise StoreError(f"{path}: nothing can be written to {folder}: {error.strerror}") from error
    os.close(handle)
    try:
        yield name
    finally:
        for suffix in ("", *COMPANIONS):
            Path(name + suffix).unlink(missing_ok=True)


def sync(path: str) -> None:
    """Bring a file (that no connection has open) or a folder to the disk."""
    is_folder = Path(path).is_dir()
    if is_folder and sys.platform == "win32":
        return  # there a folder cannot be opened, and need not be
    handle = os.open(path, os.O_RDONLY if is_folder else os.O_RDWR)
    try:
        _sync(handle)
    finally:
        os.close(handle)


def _sync(handle: int) -> None:
    os.fsync(handle)
    if sys.platform == "darwin":
        import fcntl  # noqa: PLC0415  not on every platform

        fcntl.fcntl(handle, fcntl.F_FULLFSYNC)


def rewrite(path: str) -> None:
    """Write what is in the file once more, to where it is, and bring it to the disk. Raises OSError.

    After a failed sync the system takes what it could not write for written: it can be read, and no
    later sync writes it. Source: "Can Applications Recover from fsync Failures?" (Rebello et al., 2020).
    """
    with Path(path).open("r+b") as file:
        while part := file.read(PART_BYTES):
            file.seek(-len(part), os.SEEK_CUR)
            file.write(part)
            file.flush()
        _sync(file.fileno())


def sync_folder_of(path: str) -> None:
    """Bring the names in the folder of `path` to the disk: a rename is only then there to stay."""
    folder = str(Path(path).resolve().parent)
    try:
        sync(folder)
    except OSError as error:
        raise StoreError(
            f"{folder} cannot be brought to the disk: {error.strerror}; check the disk"
        ) from error


def size_of(path: str) -> int:
    """How many bytes the file has; 0 where there is none."""
    try:
        return Path(path).stat().st_size
    except FileNotFoundError:
        return 0


def free_name(path: str, *, first: int) -> str:
    """`path` with the first number, counted from `first`, whose name nothing bears; number 0 is no number."""
    number = first
    while True:
        name = path if number == 0 else f"{path}-{number}"
        if not any(Path(name + suffix).exists() for suffix in ("", *COMPANIONS)):
            return name
        number += 1
