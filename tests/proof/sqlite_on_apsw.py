"""The small part of `sqlite3.Connection` that the store uses, on apsw: the way to a file system of ours."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import apsw

KINDS: Final = {
    apsw.ConstraintError: sqlite3.IntegrityError,
    apsw.CorruptError: sqlite3.DatabaseError,
    apsw.NotADBError: sqlite3.DatabaseError,
    apsw.TooBigError: sqlite3.DataError,
}
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

    def __init__(self, path: str, *, vfs: str, timeout: float) -> None:
        """Open that file, as `vfs` shows it. Raises sqlite3.OperationalError."""
        self._connection: apsw.Connection = self._translated(lambda: apsw.Connection(path, vfs=vfs))
        self._connection.set_busy_timeout(int(timeout * 1000))

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        return self._connection.in_transaction

    def execute(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> Rows:
        """Run one statement to its end."""

        def run() -> Rows:
            rows = list(self._connection.execute(sql, parameters))
            is_change = sql.lstrip().upper().startswith(CHANGING)
            return Rows(
                rows,
                rowcount=self._connection.changes() if is_change else -1,
                lastrowid=self._connection.last_insert_rowid(),
            )

        return self._translated(run)

    def set_authorizer(self, guard: Callable[..., int] | None) -> None:
        """Ask `guard` while a statement is prepared."""
        self._connection.set_authorizer(guard)

    def close(self) -> None:
        """Let go of the file."""
        self._translated(self._connection.close)

    @staticmethod
    def _translated(operation: Callable[[], Any]) -> Any:
        try:
            return operation()
        except apsw.Error as error:
            kind = KINDS.get(type(error), sqlite3.OperationalError)
            said = kind(str(error))
            said.sqlite_errorcode = getattr(error, "extendedresult", apsw.SQLITE_ERROR)
            raise said from error
