"""SQLite's errors in our words; nothing outside this package sees a `sqlite3.Error`."""

from __future__ import annotations

import sqlite3
from typing import Final

from perdure.store.errors import StoreCorrupt, StoreError, StoreLocked, StoreUnavailable
from perdure.store.sqlite.locks import is_stopped, writer_of

LOCKED: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
WHAT_TO_DO: Final = {  # wrong with the place and not with what was asked: the same may go well later
    sqlite3.SQLITE_FULL: "the disk is full: make room, the work goes on by itself",
    sqlite3.SQLITE_IOERR: "the disk or file system failed: check it, the work goes on by itself",
    sqlite3.SQLITE_CANTOPEN: "check that the folder exists and may be written to",
    sqlite3.SQLITE_READONLY: "the file or its folder is read-only: change that, or use another place",
    sqlite3.SQLITE_PERM: "check the permissions of the file and its folder",
    sqlite3.SQLITE_NOMEM: "memory ran out: make room, the work goes on by itself",
    sqlite3.SQLITE_PROTOCOL: "too many processes open the file at once: the work goes on by itself",
}
# What may be wrong with one statement and its values, while the file and its neighbours are well.
REFUSED: Final = (sqlite3.Error, sqlite3.Warning, ValueError, TypeError, OverflowError)
OF_ONE_STATEMENT: Final = frozenset(
    {
        sqlite3.SQLITE_ERROR,
        sqlite3.SQLITE_CONSTRAINT,
        sqlite3.SQLITE_MISMATCH,
        sqlite3.SQLITE_TOOBIG,
        sqlite3.SQLITE_RANGE,
    }
)


# What a question may raise: the library's own errors, and values that nothing in a database is equal to.
FAILURES: Final = (sqlite3.Error, UnicodeError, OverflowError)


def is_refusal(error: Exception) -> bool:
    """Whether an error speaks of one statement and not of the file."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return code is None or code & 0xFF in OF_ONE_STATEMENT


def refused(error: Exception, write: str) -> StoreError:
    """The answer to one write that the database does not take."""
    return StoreError(f"{write} was refused by the database: {error}")


def translated(error: Exception, path: str) -> StoreError:
    """The same error as one of ours, with what to do about it."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    code = sqlite3.SQLITE_FULL if code == sqlite3.SQLITE_IOERR_SHMSIZE else code & 0xFF  # no room for -shm
    if code in LOCKED:
        return locked(path)
    if code in DAMAGED:
        return StoreCorrupt(
            f"{path} is damaged or no perdure database ({error}): restore a backup, or choose another file"
        )
    if code in WHAT_TO_DO:
        return StoreUnavailable(f"{path}: {error}; {WHAT_TO_DO[code]}")
    return StoreError(f"{path}: {error}; nothing was changed")


def locked(path: str) -> StoreLocked:
    """The file is locked: by whom, and whether there is any use in waiting."""
    pid = writer_of(path)
    return StoreLocked(path, pid=pid, is_stopped=is_stopped(pid))
