"""The store on SQLite: one connection that writes, others that read, foreign errors translated once.

WAL, so that readers and the writer do not wait for each other. `synchronous=FULL` by default: what
`commit` has answered survives power loss; `durability="process"` chooses NORMAL, which survives the
death of the process but may lose the last commits to power loss. Checkpoints happen on the writing
connection of a runner only; a client leaves them alone.

A batch is one hop to the writer's thread and one transaction, each write in a savepoint of its own.
A commit that fails is rolled back; where even that cannot be told the connection is closed and
opened anew, and the caller is told that the outcome is unknown. Nothing is ever retried blindly.
"""

from __future__ import annotations

import atexit
import errno
import functools
import os
import sqlite3
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

import anyio

from perdure.store.errors import StoreError
from perdure.store.protocol import Answer
from perdure.store.script import Script
from perdure.store.scripts.questions import Questions
from perdure.store.scripts.sealing import Keys, enter, opening, sealed_writes
from perdure.store.sqlite import batch, migrate
from perdure.store.sqlite.backup import Backup, back_up_from, keep_before
from perdure.store.sqlite.connection import (
    IN_MEMORY,
    Connection,
    InlineConnection,
    Link,
    ThreadedConnection,
    run,
    run_at_one_moment,
)
from perdure.store.sqlite.files import LOCK_WAIT_S
from perdure.store.sqlite.identity import RENEW, identity_of
from perdure.store.sqlite.translate import FAILURES, translated
from perdure.store.sqlite.verify import verify
from perdure.store.writes import Write

SYNCHRONOUS: Final = {"power": "FULL", "process": "NORMAL"}
OLDEST: Final = (3, 35, 0)  # the first that tells what a statement has changed (RETURNING)
SAFE_WITH_TWO_WRITERS: Final = (3, 51, 3)  # older libraries can reset a WAL that another still needs

T = TypeVar("T")


class SQLiteStore(Questions):
    """Facts in one SQLite file (or, for tests, in memory). See `protocol.Store` for the contract."""

    def __init__(
        self,
        path: str,
        *,
        durability: str = "power",
        client: bool = False,
        inline: bool = False,
        lock_wait_s: float = LOCK_WAIT_S,
        keys: Keys | None = None,
    ) -> None:
        """Nothing is opened yet. `client`: leave checkpoints to others. `inline`: no threads.

        `keys`: payloads are encrypted with them; see `sealing`.
        """
        self._keys = keys
        if durability not in tuple(SYNCHRONOUS):
            raise StoreError(f"durability is 'power' or 'process', not {durability!r}")
        self.location = path = path if path == IN_MEMORY else _from_anywhere(path)
        self._lock_wait_s = lock_wait_s
        connection = InlineConnection if inline else ThreadedConnection
        self._links = [Link(path, pragmas=_pragmas(durability, client=client), lock_wait_s=lock_wait_s)]
        self._writer: Connection = connection(self._links[0])
        self._reader: Connection = self._writer
        self._browser: Connection = self._writer
        if path != IN_MEMORY and not inline:
            pragmas = (*_pragmas(durability, client=True), "PRAGMA query_only = ON")
            self._links += [Link(path, pragmas=pragmas, lock_wait_s=lock_wait_s) for _ in range(2)]
            self._reader, self._browser = map(ThreadedConnection, self._links[1:])

    async def open(self) -> None:
        """Connect, bring the schema up to date. Raises MigrationError, StoreCorrupt, StoreLocked.

        Raises StoreError where the SQLite library of this process is too old.
        """
        if sqlite3.sqlite_version_info < OLDEST:
            raise StoreError(
                f"this Python has SQLite {sqlite3.sqlite_version}, and perdure needs 3.35 or later: "
                "install a newer libsqlite3, or a Python that brings one"
            )
        _make_private(self.location)
        for link in self._links:
            link.forget()
        try:
            await self._writer.open()
            identity = await self._writer.run(_set_up, self.location, self._keys)
            for link in self._links:
                link.identity = identity
            if self._reader is not self._writer:
                await self._reader.open()
                await self._browser.open()
        except sqlite3.Error as error:
            await self.close()
            raise translated(error, self.location) from error
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Finish what was asked for, then let go of every handle. Closing twice is closing once."""
        if self._reader is not self._writer:
            await self._browser.close()
            await self._reader.close()
        await self._writer.close()

    async def commit(self, writes: Sequence[Write]) -> list[Answer]:
        """Apply a batch in one transaction; see `protocol.Store.commit`."""
        if self._keys is not None:
            return await self._writer.run(_commit_sealed, writes, self._keys)
        return await self._writer.run(batch.commit, writes)

    async def backup(self, target: str, *, overwrite: bool = False) -> Backup:
        """Copy the store, as of one moment, to a new file, while reads and writes go on.

        When this returns the copy is checked, on disk, and readable by its owner alone; a caller that
        is cancelled leaves all of it or nothing. Raises TargetExists unless told to `overwrite`, StoreError.
        """
        is_unwanted = threading.Event()
        copy = functools.partial(_copy, target=target, overwrite=overwrite, is_abandoned=is_unwanted.is_set)
        try:
            if self._reader is self._writer:
                return await self._writer.run(copy)
            own = ThreadedConnection(
                Link(self.location, pragmas=("PRAGMA query_only = ON",), lock_wait_s=self._lock_wait_s)
            )
            await own.open()
            try:
                return await own.run(copy)
            finally:
                is_unwanted.set()
                with anyio.CancelScope(shield=True):
                    await own.close()
        except sqlite3.Error as error:
            raise translated(error, self.location) from error

    async def vacuum(self) -> None:
        """Write the file anew without what was deleted. Nobody else can write meanwhile. Raises StoreError.

        It takes as much room again on the disk as the file has, until it is done.
        """
        try:
            await self._writer.run(_vacuum)
        except sqlite3.Error as error:
            raise translated(error, self.location) from error

    def advice(self) -> list[str]:
        """What the operator of this store should know; empty when all is well."""
        return advice()

    async def verify(self, execution_id: str | None = None) -> list[str]:
        """Check the store (and one execution) for damage; a sentence for each thing found."""
        return await self._read(self._browser, lambda connection: verify(connection, execution_id))

    async def _ask(self, script: Script[T], *, at_one_moment: bool = False) -> T:
        """Hold the conversation on the reader's thread."""
        hold = run_at_one_moment if at_one_moment else run
        script = script if self._keys is None else opening(script, self._keys)
        return await self._read(self._reader, lambda connection: hold(connection, script))

    async def _browse(self, script: Script[T], *, at_one_moment: bool = False) -> T:
        """The same on a thread of its own."""
        hold = run_at_one_moment if at_one_moment else run
        script = script if self._keys is None else opening(script, self._keys)
        return await self._read(self._browser, lambda connection: hold(connection, script))

    async def _read(self, reader: Connection, function: Callable[[sqlite3.Connection], T]) -> T:
        """Run a reading function over a reading connection, its errors translated."""
        try:
            return await reader.run(lambda link: function(link.connection))
        except FAILURES as error:
            raise translated(error, self.location) from error


def advice() -> list[str]:
    """What whoever runs the SQLite library of this process should know; empty when all is well."""
    if sqlite3.sqlite_version_info >= SAFE_WITH_TWO_WRITERS:
        return []
    old = (
        f"SQLite {sqlite3.sqlite_version} can, in rare cases, lose a write when two processes write "
        "to one file at the same moment (fixed in 3.51.3): upgrade it, or run one writing process"
    )
    return [old]


def _pragmas(durability: str, *, client: bool) -> tuple[str, ...]:
    pragmas = [
        "PRAGMA journal_mode = WAL",
        f"PRAGMA synchronous = {SYNCHRONOUS[durability]}",
        "PRAGMA foreign_keys = ON",
        "PRAGMA recursive_triggers = ON",  # or INSERT OR REPLACE would delete without asking a trigger
    ]
    if client:
        pragmas.append("PRAGMA wal_autocheckpoint = 0")
    if sys.platform == "darwin" and durability == "power":
        pragmas.append("PRAGMA fullfsync = ON")
    return tuple(pragmas)


def _commit_sealed(link: Link, writes: Sequence[Write], keys: Keys) -> list[Answer]:
    return batch.commit(link, sealed_writes(writes, keys))


def _set_up(link: Link, path: str, keys: Keys | None) -> str:
    """Bring the schema up to date; which store this is."""
    if path == IN_MEMORY and not migrate.version_of(link.connection):
        _empty().backup(link.connection)
        link.connection.execute(RENEW)
    else:
        migrate.migrate(link.connection, path, keep=keep_before)
    identity = identity_of(link.connection)
    assert identity is not None
    run(link.connection, enter(keys))
    return identity.id


@functools.lru_cache(maxsize=1)
def _empty() -> sqlite3.Connection:
    """A database in memory with a schema and nothing else: a copy takes a hundredth of its migrations."""
    connection = sqlite3.connect(IN_MEMORY, isolation_level=None, check_same_thread=False)
    atexit.register(connection.close)
    migrate.migrate(connection, IN_MEMORY)
    return connection


def _vacuum(link: Link) -> None:
    link.connection.execute("VACUUM")
    link.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()  # until then it is all in the log


def _copy(link: Link, *, target: str, overwrite: bool, is_abandoned: Callable[[], bool]) -> Backup:
    return back_up_from(link.connection, link.path, target, overwrite=overwrite, is_abandoned=is_abandoned)


def _from_anywhere(path: str) -> str:
    """What the path means now; a step may choose another current folder. Raises StoreError."""
    try:
        return os.path.abspath(path)  # noqa: PTH100  links in it stay: they may come to mean another store
    except FileNotFoundError:
        raise StoreError(
            f"{path}: the current folder is gone: go to another one, or give a whole path"
        ) from None


def _make_private(path: str) -> None:
    """Make the file readable by its owner alone, before SQLite makes it readable by all."""
    if path == IN_MEMORY:
        return
    if not Path(path).parent.is_dir():
        raise StoreError(f"{path}: there is no folder {Path(path).parent}: make it, or choose another place")
    _create(os.path.realpath(path), path)


def _create(file: str, path: str) -> None:
    """Make the file, never touching one that is there.

    To close a handle of a file is to drop every POSIX lock this process has on it, those of SQLite's
    own connections included: another process would take itself for the last user and remove the log.
    """
    try:
        created = os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        _check_access(file, path)
        return
    except OSError as error:
        raise _unusable(path, error.strerror) from error
    os.close(created)
    Path(file).chmod(0o600)  # a strict umask would lock out the owner


def _check_access(file: str, path: str) -> None:
    """Look before SQLite does, which would open what may only be read, and fail at the first write."""
    if Path(file).is_dir():
        raise _unusable(path, os.strerror(errno.EISDIR))
    if not Path(file).is_file():
        raise StoreError(f"{path} is no regular file: choose another place")
    if not os.access(file, os.R_OK | os.W_OK, effective_ids=os.access in os.supports_effective_ids):
        raise _unusable(path, os.strerror(errno.EACCES))


def _unusable(path: str, why: str | None) -> StoreError:
    return StoreError(f"{path}: {why}; check the permissions of the file and its folder")
