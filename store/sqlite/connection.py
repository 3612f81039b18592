"""How SQL reaches SQLite: a connection on a thread of its own, or inline on the caller's.

aiosqlite gives the thread. One call is one hop: a whole function runs there, not a statement. Its
only door for that is the private `Connection._execute`, used in this file alone; pyproject.toml
bounds the version and a test watches the door. A caller that is cancelled abandons the wait, never
the work: what has been queued for the thread runs to its end.

`InlineConnection` runs the same functions at once, for virtual time, where a thread that works
while the clock stands still would be a lie.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable
from typing import Any, Concatenate, Final, ParamSpec, Protocol, TypeVar, cast

import aiosqlite

from perdure.store.errors import StoreClosed, StoreError, StoreReplaced
from perdure.store.script import Cursor, Many, Script, Several
from perdure.store.sqlite import files
from perdure.store.sqlite.identity import identity_of, place_of

IN_MEMORY: Final = ":memory:"
STATEMENTS_CACHED: Final = 256  # more than the store has distinct statements, so none is parsed twice
SWITCH_S: Final = 1.0  # a file is switched to WAL once, within milliseconds
SWITCH_PAUSE_S: Final = 0.005  # between two looks at whether that is done

P = ParamSpec("P")
T = TypeVar("T")


class Link:
    """One SQLite connection that the thread owning it can drop and open again."""

    def __init__(
        self,
        path: str,
        *,
        pragmas: tuple[str, ...],
        lock_wait_s: float,
        factory: type[sqlite3.Connection] = sqlite3.Connection,
        rewrite: Callable[[str], None] = files.rewrite,
    ) -> None:
        """Nothing is opened yet. `pragmas` are sent in order after each opening; the rest is for tests."""
        self.path = path
        self._factory = factory
        self._rewrite = rewrite
        self._pragmas = pragmas
        self._lock_wait_s = lock_wait_s
        self._connection: sqlite3.Connection | None = None
        self._is_log_doubtful = False
        self._place: tuple[int, int] | None = None
        self.identity: str | None = None  # of the store that has to be there, once that is known

    @property
    def connection(self) -> sqlite3.Connection:
        """The live connection; opened again if a failed commit had it dropped. Raises StoreReplaced.

        SQLite goes on writing to a file that has lost its name: what it answered nobody would find.
        """
        self._check_place()
        if self._connection is None:
            self.open()
        assert self._connection is not None
        if self._is_log_doubtful:
            self._make_log_sure(self._connection)
        return self._connection

    def doubt_log(self) -> None:
        """A sync has failed: what it should have covered may be in memory only, though it can be read.

        A later sync that succeeds says nothing of it, a commit is only as durable as those before it in
        the log, and a checkpoint that rests on a log with a hole tears the file. So nothing is answered,
        and nothing copied, until all of the log has been written once more and synced.
        """
        self._is_log_doubtful = True

    def _make_log_sure(self, connection: sqlite3.Connection) -> None:
        """While nobody else writes to it or begins it anew. Raises sqlite3.Error where that fails."""
        connection.execute("BEGIN IMMEDIATE")
        try:
            log = _log_of(connection)
            if log is not None:
                self._rewrite(log)
        except OSError as error:
            raise sqlite3.OperationalError(f"the log whose sync failed cannot be written: {error}") from error
        finally:
            connection.execute("ROLLBACK")
        self._is_log_doubtful = False

    def open(self) -> None:
        """Connect and set up. Raises StoreReplaced, sqlite3.Error, and leaves nothing open."""
        connection = sqlite3.connect(
            self.path,
            timeout=self._lock_wait_s,
            isolation_level=None,
            uri=self.path.startswith("file://"),  # as `address_to_read` names what is only looked at
            cached_statements=STATEMENTS_CACHED,
            factory=self._factory,
        )
        try:
            for pragma in self._pragmas:
                _configure(connection, pragma)
            self._check_identity(connection)
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        self._place = place_of(self.path)

    def forget(self) -> None:
        """Whatever is there when it is opened next is right."""
        self.identity = self._place = None

    def _check_place(self) -> None:
        """Raise StoreReplaced when the name has come to mean another file, or none."""
        if self._place is not None and place_of(self.path) != self._place:
            raise StoreReplaced(self.path, opened=self.identity, found=None)

    def _check_identity(self, connection: sqlite3.Connection) -> None:
        """Raise StoreReplaced when another store is in the file."""
        if self.identity is None:
            return
        found = identity_of(connection)
        if found is None or found.id != self.identity:
            raise StoreReplaced(self.path, opened=self.identity, found=None if found is None else found.id)

    def drop(self) -> None:
        """Let go of a connection that has failed; what is in memory only stays, or all of it would go."""
        if self.path != IN_MEMORY:
            self._let_go()

    def close(self) -> None:
        """Let go of the file. SQLite rolls back whatever was not committed, and may copy the log."""
        if self._is_log_doubtful and self._connection is not None:
            with contextlib.suppress(
                sqlite3.Error
            ):  # the disk still fails, and nobody is left to wait for it
                self._make_log_sure(self._connection)
        self._let_go()

    def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _log_of(connection: sqlite3.Connection) -> str | None:
    """The log, which lies beside the file itself by whatever name that was opened.

    None where there is none: in memory, or where a file system has refused WAL. There a commit writes
    the file after its journal was synced, and undoing it writes the file again.
    """
    [mode] = connection.execute("PRAGMA journal_mode").fetchone()
    if mode != "wal":
        return None
    [file] = connection.execute("SELECT file FROM pragma_database_list WHERE name = 'main'").fetchone()
    return f"{file}-wal"


def _configure(connection: sqlite3.Connection, pragma: str) -> None:
    """Execute a pragma, again where a fresh file is just being switched to WAL by somebody else.

    SQLite does not wait there as it does elsewhere: two who both read and want to write would for ever.
    """
    until = time.monotonic() + SWITCH_S
    while True:
        try:
            connection.execute(pragma).fetchall()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(SWITCH_PAUSE_S)  # noqa: TID251 - the thread of a database, while it is opened
        else:
            return


def run(connection: sqlite3.Connection, script: Script[T]) -> T:
    """Hold the whole conversation. Raises what it raises, and sqlite3.Error."""
    execute = connection.execute
    try:
        statement = next(script)
        while True:
            if isinstance(statement, Several):
                cursors = [execute(*question) for question in statement.questions]
                statement = script.send(cast("Cursor", cursors))
            elif isinstance(statement, Many):
                cursor = connection.executemany(statement.sql, statement.rows)
                statement = script.send(cast("Cursor", _Written(connection, cursor)))
            else:
                statement = script.send(execute(*statement))
    except StopIteration as done:
        return cast("T", done.value)


class _Written:
    """What came of one statement for many rows: SQLite counts them, but has to be asked for the key."""

    def __init__(self, connection: sqlite3.Connection, cursor: sqlite3.Cursor) -> None:
        self._connection = connection
        self.rowcount = cursor.rowcount

    @property
    def lastrowid(self) -> int:
        key: int = self._connection.execute("SELECT last_insert_rowid()").fetchone()[0]
        return key


def run_at_one_moment(connection: sqlite3.Connection, script: Script[T]) -> T:
    """The same; no commit of anybody else shows between one question and the next."""
    connection.execute("BEGIN")
    try:
        return run(connection, script)
    finally:
        if connection.in_transaction:  # which some errors have ended themselves
            connection.execute("ROLLBACK")


class Connection(Protocol):
    """A place where functions over a `Link` run, one after another."""

    async def open(self) -> None:
        """Connect. Raises sqlite3.Error."""
        ...

    async def run(self, function: Callable[Concatenate[Link, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `function(link, …)` to its end, in turn. Raises what it raises, and StoreClosed."""
        ...

    async def close(self) -> None:
        """Wait for what was asked for, then disconnect."""
        ...


class InlineConnection:
    """Runs every function at once, on the caller's thread, without giving way."""

    def __init__(self, link: Link) -> None:
        """Nothing is opened yet."""
        self._link = link
        self._is_open = False

    async def open(self) -> None:
        """Connect. Raises sqlite3.Error."""
        self._link.open()
        self._is_open = True

    async def run(self, function: Callable[Concatenate[Link, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run it now. Raises what it raises, and StoreClosed."""
        if not self._is_open:
            raise StoreClosed(f"the store {self._link.path} is closed: open it before using it")
        return function(self._link, *args, **kwargs)

    async def close(self) -> None:
        """Disconnect; a second time does nothing."""
        self._is_open = False
        self._link.close()


class ThreadedConnection:
    """Runs functions on the one thread of an aiosqlite connection, in the order they were asked for."""

    def __init__(self, link: Link) -> None:
        """Nothing is opened yet. Raises StoreError when aiosqlite has lost the private door."""
        if not hasattr(aiosqlite.Connection, "_execute"):
            raise StoreError(
                f"aiosqlite {aiosqlite.__version__} cannot run a function on its thread: "
                "install the version that perdure's requirements name"
            )
        self._link = link
        self._thread: aiosqlite.Connection | None = None

    async def open(self) -> None:
        """Start the thread and connect on it. Raises sqlite3.Error, and ends the thread."""
        # aiosqlite only ever closes what its connector returned, so the link may stand in for the
        # connection; that lets the thread open a new one after a failed commit. It is opened once the
        # thread is there: for the end of a thread whose connector fails aiosqlite does not wait.
        connector = cast("Callable[[], sqlite3.Connection]", lambda: self._link)
        self._thread = await aiosqlite.Connection(connector, iter_chunk_size=64)
        try:
            await self.run(Link.open)
        except BaseException:
            await self.close()
            raise

    async def run(self, function: Callable[Concatenate[Link, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run it on the thread, in turn. Raises what it raises, and StoreClosed."""
        thread = self._thread
        if thread is None:
            raise StoreClosed(f"the store {self._link.path} is closed: open it before using it")
        execute = cast("Any", thread._execute)  # noqa: SLF001  the private door
        return cast("T", await execute(function, self._link, *args, **kwargs))

    async def close(self) -> None:
        """Let the queue run dry, disconnect and end the thread; a second time does nothing."""
        thread, self._thread = self._thread, None
        if thread is not None:
            await thread.close()
