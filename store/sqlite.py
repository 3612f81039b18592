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

import errno
import functools
import os
import sqlite3
import sys
import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Concatenate, Final, Literal, ParamSpec, TypeVar

import anyio

from perdure.store import batch, migrate, pages, reads
from perdure.store.backup import Backup, back_up_from, keep_before
from perdure.store.connection import IN_MEMORY, Connection, InlineConnection, Link, ThreadedConnection
from perdure.store.errors import StoreError
from perdure.store.files import LOCK_WAIT_S
from perdure.store.protocol import Answer
from perdure.store.records import (
    Attempt,
    Checkpoint,
    Event,
    Execution,
    ExecutionSummary,
    Loaded,
    Message,
    Runner,
    Step,
    Workflow,
    WorkflowStatistics,
)
from perdure.store.states import Status
from perdure.store.translate import translated
from perdure.store.verify import verify
from perdure.store.writes import Write

SYNCHRONOUS: Final = {"power": "FULL", "process": "NORMAL"}
SAFE_WITH_TWO_WRITERS: Final = (3, 51, 3)  # older libraries can reset a WAL that another still needs

P = ParamSpec("P")
T = TypeVar("T")
Durability = Literal["power", "process"]


class SQLiteStore:
    """Facts in one SQLite file (or, for tests, in memory). See `protocol.Store` for the contract."""

    def __init__(
        self,
        path: str,
        *,
        durability: str = "power",
        client: bool = False,
        inline: bool = False,
        lock_wait_s: float = LOCK_WAIT_S,
    ) -> None:
        """Nothing is opened yet. `client`: leave checkpoints to others. `inline`: no threads."""
        if durability not in SYNCHRONOUS:
            raise StoreError(f"durability is 'power' or 'process', not {durability!r}")
        self.location = path
        self._lock_wait_s = lock_wait_s
        connection = InlineConnection if inline else ThreadedConnection
        self._writer: Connection = connection(
            Link(path, pragmas=_pragmas(durability, client=client), lock_wait_s=lock_wait_s)
        )
        self._reader: Connection = self._writer
        if path != IN_MEMORY and not inline:
            pragmas = (*_pragmas(durability, client=True), "PRAGMA query_only = ON")
            self._reader = ThreadedConnection(Link(path, pragmas=pragmas, lock_wait_s=lock_wait_s))

    async def open(self) -> None:
        """Connect, bring the schema up to date. Raises MigrationError, StoreCorrupt, StoreLocked."""
        _make_private(self.location)
        try:
            await self._writer.open()
            await self._writer.run(_set_up, self.location)
            if self._reader is not self._writer:
                await self._reader.open()
        except sqlite3.Error as error:
            await self.close()
            raise translated(error, self.location) from error
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Finish what was asked for, then let go of every handle. Closing twice is closing once."""
        if self._reader is not self._writer:
            await self._reader.close()
        await self._writer.close()

    async def commit(self, writes: Sequence[Write]) -> list[Answer]:
        """Apply a batch in one transaction; see `protocol.Store.commit`."""
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

    def advice(self) -> list[str]:
        """What the operator of this store should know; empty when all is well."""
        return advice()

    # ---- what the machine reads ----------------------------------------------------------------

    async def load(self, execution_id: str) -> Loaded | None:
        """All that is needed to take the execution up, or None."""
        return await self._read(reads.load, execution_id)

    async def claimable(self, *, limit: int, after_no: int = 0) -> list[Execution]:
        """Executions nobody owns that have something to do now."""
        return await self._read(reads.claimable, limit, after_no)

    async def suspects(self, *, deaths: int, limit: int) -> list[Execution]:
        """Claimable executions with a step in whose attempt its process has died that often."""
        return await self._read(reads.suspects, deaths, limit)

    async def due(self, *, before: int, limit: int) -> list[str]:
        """Waiting executions nobody owns with a timer due by that time."""
        return await self._read(reads.due, before, limit)

    async def next_due(self, *, after: int) -> int | None:
        """When, after that time, the next of them falls due."""
        return await self._read(reads.next_due, after)

    async def fold(self, execution_id: str, version: int) -> tuple[Attempt, ...]:
        """The outcome of each step as of that version."""
        return await self._read(reads.fold, execution_id, version)

    async def context_at(self, execution_id: str, version: int) -> dict[str, Any]:
        """The context as of that version. Raises NotFound."""
        return await self._read(reads.context_at, execution_id, version)

    async def inbox(self, *, runner_no: int | None) -> list[Message]:
        """Messages not applied yet to executions this runner (None: nobody) owns, oldest first."""
        return await self._read(reads.inbox, runner_no)

    async def applied(self, execution_id: str, command_id: str) -> int | None:
        """The version in which the execution applied that command; None if it never has."""
        return await self._read(reads.applied, execution_id, command_id)

    async def message(self, no: int) -> Message | None:
        """One message, with its answer once there is one."""
        return await self._read(reads.message, no)

    async def runners(self) -> list[Runner]:
        """The processes on the list."""
        return await self._read(reads.runners)

    async def held(self) -> dict[int, int]:
        """How many executions each runner owns, by its `no`."""
        return await self._read(reads.held)

    # ---- what people read ----------------------------------------------------------------------

    async def execution(self, execution_id: str) -> Execution | None:
        """One execution, or None."""
        return await self._read(pages.execution, execution_id)

    async def summary(self, execution_id: str) -> ExecutionSummary | None:
        """One execution and how far its steps have come, or None."""
        return await self._read(pages.summary, execution_id)

    async def find(self, prefix: str, *, limit: int = 10) -> list[str]:
        """Ids of executions that begin with that text, newest first."""
        return await self._read(pages.find, prefix, limit)

    async def executions(
        self,
        *,
        status: Status | None = None,
        workflow: str | None = None,
        since: datetime | None = None,
        limit: int = 50,
        after: str | None = None,
    ) -> list[ExecutionSummary]:
        """A page of executions, newest first; `after` is the last id of the page before."""
        since_ms = None if since is None else int(since.timestamp() * 1000)
        page = functools.partial(
            pages.executions, status=status, workflow=workflow, since=since_ms, limit=limit, after=after
        )
        return await self._read(page)

    async def attempts(self, execution_id: str) -> list[Attempt]:
        """Every attempt of every step, in step order."""
        return await self._read(pages.attempts, execution_id)

    async def events(
        self, *, execution_id: str | None = None, after: int = 0, limit: int = 1_000
    ) -> list[Event]:
        """The log after that event id, oldest first, of one execution or of all."""
        page = functools.partial(pages.events, execution_id=execution_id, after=after, limit=limit)
        return await self._read(page)

    async def checkpoints(self, execution_id: str, *, limit: int = 50) -> list[Checkpoint]:
        """Checkpoints, newest first."""
        return await self._read(pages.checkpoints, execution_id, limit)

    async def checkpoint(self, execution_id: str, wanted: str | int) -> Checkpoint | None:
        """The newest checkpoint of that label or version, or None."""
        return await self._read(pages.checkpoint, execution_id, wanted)

    async def workflow(
        self, name: str, *, revision: str | None = None, version: str | None = None
    ) -> Workflow | None:
        """A revision by its hash or label; without either the active one."""
        return await self._read(pages.workflow, name, revision, version)

    async def workflow_by_no(self, no: int) -> Workflow | None:
        """A revision by its key."""
        return await self._read(pages.workflow_by_no, no)

    async def workflows(self, *, active_only: bool = True) -> list[Workflow]:
        """The definitions, by name, newest revision first."""
        return await self._read(pages.workflows, active_only)

    async def steps(self, workflow_no: int) -> list[Step]:
        """The nodes of one revision, in step order."""
        return await self._read(pages.steps, workflow_no)

    async def statistics(self, *, workflow: str | None = None) -> list[WorkflowStatistics]:
        """How the executions of each workflow have fared."""
        return await self._read(pages.statistics, workflow)

    async def verify(self, execution_id: str | None = None) -> list[str]:
        """Check the store (and one execution) for damage; a sentence for each thing found."""
        return await self._read(verify, execution_id)

    async def _read(
        self,
        function: Callable[Concatenate[sqlite3.Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run a reading function over the reader's connection, its errors translated."""
        try:
            return await self._reader.run(lambda link: function(link.connection, *args, **kwargs))
        except sqlite3.Error as error:
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


def _set_up(link: Link, path: str) -> None:
    migrate.migrate(link.connection, path, keep=None if path == IN_MEMORY else keep_before)


def _copy(link: Link, *, target: str, overwrite: bool, is_abandoned: Callable[[], bool]) -> Backup:
    return back_up_from(link.connection, link.path, target, overwrite=overwrite, is_abandoned=is_abandoned)


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
    if not os.access(file, os.R_OK | os.W_OK, effective_ids=os.access in os.supports_effective_ids):
        raise _unusable(path, os.strerror(errno.EACCES))


def _unusable(path: str, why: str | None) -> StoreError:
    return StoreError(f"{path}: {why}; check the permissions of the file and its folder")
