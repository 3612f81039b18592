"""The small part of `sqlite3.Connection` that the store uses, on apsw: the way to a file system of ours."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import apsw

KINDS: Final = {
    apsw.ConstraintError: sqlite3.IntegrityError,
    apsw.CorruptError: sqlite3.DatabaseError,
    apsw.NotADBError: sqlite3.DatabaseError,
    apsw.TooBigError: sqlite3.DataError,
}
CHECKPOINT: Final = re.compile(r"PRAGMA wal_autocheckpoint = (\d+)")
CHANGING: Final = ("INSERT", "UPDATE", "DELETE", "REPLACE")


class Rows:
    """What a statement has given, all of it; stands for the cursor."""

    def __init__(self, rows: list[tuple[Any, ...]], *, rowcount: int, lastrowid: int) -> None:
        """As `sqlite3.Cursor` names them."""
        self.rowcount = rowcount
        self.lastrowid = lastrowid
        self._rows = iter(rows)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        """What has not been fetched yet."""
        return self._rows

    def fetchone(self) -> tuple[Any, ...] | None:
        """The next row."""
        return next(self._rows, None)

    def fetchall(self) -> list[tuple[Any, ...]]:
        """The rest."""
        return list(self._rows)

    def close(self) -> None:
        """Nothing is held."""


class Connection:
    """One connection of apsw's SQLite. Its errors are `sqlite3`'s, with their codes."""

    def __init__(
        self, path: str, *, vfs: str, timeout: float, before: Callable[[str], None] = lambda _: None
    ) -> None:
        """Open the file, as `vfs` shows it; `before` sees each statement. Raises sqlite3.OperationalError."""
        self._before = before
        self._connection: apsw.Connection = self._translated(lambda: apsw.Connection(path, vfs=vfs))
        self._connection.set_busy_timeout(int(timeout * 1000))
        self._checkpoint_every(1_000)

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        return self._connection.in_transaction

    def execute(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> Rows:
        """Run one statement to its end."""
        if (pages := CHECKPOINT.match(sql)) is not None:
            self._checkpoint_every(int(pages[1]))
            return Rows([], rowcount=-1, lastrowid=0)

        def run() -> Rows:
            self._before(sql)
            rows = list(self._connection.execute(sql, parameters))
            is_change = sql.lstrip().upper().startswith(CHANGING)
            return Rows(
                rows,
                rowcount=self._connection.changes() if is_change else -1,
                lastrowid=self._connection.last_insert_rowid(),
            )

        return self._translated(run)

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> Rows:
        """Run one statement with each row of parameters."""
        done = [self.execute(sql, row) for row in rows]
        lastrowid = self._connection.last_insert_rowid()
        return Rows([], rowcount=sum(each.rowcount for each in done), lastrowid=lastrowid)

    def _checkpoint_every(self, pages: int) -> None:
        """Write the log back as SQLite does by itself: after a commit, and what fails then is ignored.

        In SQLite's own hook apsw would raise the error of the file system out of a commit that has
        happened, where SQLite itself says that all is well.
        """

        def checkpoint(connection: apsw.Connection, database: str, size: int) -> int:
            if size >= pages:
                with contextlib.suppress(apsw.Error):
                    connection.wal_checkpoint(database)
            return apsw.SQLITE_OK

        self._connection.set_wal_hook(checkpoint)

    def set_authorizer(self, guard: Callable[..., int] | None) -> None:
        """Ask `guard` while a statement is prepared."""
        self._connection.set_authorizer(guard)

    def close(self) -> None:
        """Let go of the file. As in `sqlite3`, what goes wrong on the way out is nobody's business."""
        with contextlib.suppress(apsw.Error):
            self._connection.close()

    @staticmethod
    def _translated(operation: Callable[[], Any]) -> Any:
        try:
            return operation()
        except apsw.Error as error:
            kind = KINDS.get(type(error), sqlite3.OperationalError)
            said = kind(str(error))
            said.sqlite_errorcode = getattr(error, "extendedresult", apsw.SQLITE_ERROR)
            raise said from error
