"""What is in an SQLite file that is not ours: its tables and rows, read and never changed."""

from __future__ import annotations

import base64
import math
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any, Final

from perdure.store.errors import StoreError
from perdure.store.sqlite.files import reading
from perdure.store.sqlite.migrate import has_schema

HIDDEN: Final = 1  # what SQLite says of a column that only a name leads to

Row = dict[str, Any]
Place = int | Row  # the number of a row; where rows have none, the row itself, which then stays in memory


class NotImportable(StoreError):
    """The file is no database that could be imported from."""

    def __init__(self, path: str, why: str) -> None:
        """`why` goes on after the path."""
        super().__init__(f"{path} {why}")
        self.path = path


class LegacyFile:
    """One file while it is open, as of one moment; get one from `opened`."""

    def __init__(self, path: str, connection: sqlite3.Connection) -> None:
        """Over a connection that only reads."""
        self.path = path
        self._connection = connection
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        self.tables = {name: self._columns(name) for (name,) in names}

    def _columns(self, table: str) -> tuple[str, ...]:
        """Those that `*` stands for: also the computed ones, but none that a virtual table hides."""
        found = self._connection.execute(f"PRAGMA table_xinfo({_quoted(table)})")
        return tuple(column[1] for column in found if column[6] != HIDDEN)

    def rows(self, table: str) -> Iterator[tuple[Place, Row]]:
        """Every row by its columns, in the order they were inserted, as JSON can hold it, and its place."""
        number = self._number_of_rows(table)
        for row in self._connection.execute(f"SELECT {number}, * FROM {_quoted(table)}"):  # noqa: S608
            kept = self._row(table, row[1:])
            yield kept if row[0] is None else row[0], kept

    def row_at(self, table: str, place: Place) -> Row:
        """The row again."""
        if not isinstance(place, int):
            return place
        number = self._number_of_rows(table)
        sql = f"SELECT * FROM {_quoted(table)} WHERE {number} = ?"  # noqa: S608  quoted names
        return self._row(table, self._connection.execute(sql, (place,)).fetchone())

    def _row(self, table: str, values: Iterable[Any]) -> Row:
        return {column: _kept(value) for column, value in zip(self.tables[table], values, strict=True)}

    @cache  # noqa: B019  a file is read once, and then it is gone with what is remembered of it
    def _number_of_rows(self, table: str) -> str:
        """What the table calls the numbers of its rows, where it has any and a name is left for them."""
        columns = {column.lower() for column in self.tables[table]}
        for name in ("rowid", "_rowid_", "oid"):
            if name not in columns:
                with suppress(sqlite3.OperationalError):
                    self._connection.execute(f"SELECT {name} FROM {_quoted(table)} LIMIT 0")  # noqa: S608
                    return name
        return "NULL"


@contextmanager
def opened(path: str) -> Iterator[LegacyFile]:
    """Read the file. Raises NotImportable for a damaged one and for one of ours, StoreError."""
    if has_schema(path):
        raise NotImportable(path, "is a database of perdure itself: name it with --db to work with it")
    with reading(path) as connection:
        connection.execute("BEGIN")
        [verdict] = connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise NotImportable(path, f"is damaged: {verdict}")
        file = LegacyFile(path, connection)
        connection.text_factory = _text
        yield file


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(raw: bytes) -> Any:
    """A text, or its bytes where it is none."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


def _kept(value: Any) -> Any:
    """A value of a column as JSON keeps it, and says so where JSON has no form for it."""
    if isinstance(value, bytes):
        return {"$base64": base64.b64encode(value).decode()}
    if isinstance(value, float) and not math.isfinite(value):
        return {"$real": str(value)}
    return value
