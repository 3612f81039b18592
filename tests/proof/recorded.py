"""The real store on a disk that remembers, and all that it held whenever a commit had been answered."""

from __future__ import annotations

import contextlib
import functools
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from disk import Disk
from sqlite_on_apsw import Connection

from perdure.store import SQLiteStore
from perdure.store.protocol import Answer
from perdure.store.sqlite.connection import InlineConnection, Link
from perdure.store.sqlite.store import _pragmas
from perdure.store.writes import Write

DB: Final = "life.db"


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """What the store held when a commit had been answered, and how much had been written by then."""

    at: int
    content: bytes
    versions: dict[str, int]


class StoreOnDisk(SQLiteStore):
    """The real store, its real SQL, on a `Disk`."""

    def __init__(self, path: Path, *, disk: Disk, durability: str = "power", pages: int = 1_000) -> None:
        """The log is written back every `pages` pages, so that short stories see it, too."""
        super().__init__(str(path), inline=True, durability=durability)
        self.link = Link(
            str(path),
            pragmas=(*_pragmas(durability, client=False), f"PRAGMA wal_autocheckpoint = {pages}"),
            lock_wait_s=0.0,
            factory=functools.partial(_connected, disk),  # type: ignore[arg-type]
            rewrite=disk.rewrite,
        )
        self._browser = self._reader = self._writer = InlineConnection(self.link)
        self.disk = disk


def _connected(disk: Disk, path: str, *, timeout: float, **_: Any) -> Connection:
    return Connection(path, vfs=disk.name, timeout=timeout, before=disk.call)


class RecordedStore(StoreOnDisk):
    """Notes the content after each answered commit."""

    def __init__(self, path: Path, **how: Any) -> None:
        """As any store on a disk."""
        super().__init__(path, **how)
        self.answered: list[Answered] = []

    async def open(self) -> None:
        """Open, and note what is there."""
        await super().open()
        self._note()

    async def commit(self, writes: Sequence[Write]) -> list[Answer]:
        """Commit, and note what is there now."""
        answers = await super().commit(writes)
        self._note()
        return answers

    def _note(self) -> None:
        connection = self.link.connection
        answered = Answered(
            at=len(self.disk.ops), content=content_of(connection), versions=versions_of(connection)
        )
        self.answered.append(answered)


COMPARED: Final = {
    "perdure_migrations": "version, checksum",
    "perdure_identity": "one",
}  # not when it was made


def content_of(connection: Any) -> bytes:
    """Everything in a database, as one fingerprint."""
    tables = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
    ).fetchall()
    content = hashlib.blake2b(digest_size=16)
    for (table,) in tables:
        rows = connection.execute(f"SELECT {COMPARED.get(table, '*')} FROM {table}").fetchall()
        content.update(repr((table, rows)).encode())
    return content.digest()


def versions_of(connection: Any) -> dict[str, int]:
    """How far each execution has come."""
    return dict(connection.execute("SELECT id, version FROM workflow_executions").fetchall())


@contextlib.contextmanager
def recording(folder: Path) -> Iterator[Disk]:
    """A disk for the files in that folder."""
    disk = Disk(f"disk {folder}", folder)
    try:
        yield disk
    finally:
        disk.unregister()
