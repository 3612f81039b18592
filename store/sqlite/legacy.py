"""What is in an SQLite file that is not ours: its tables and rows, read and never changed."""

from __future__ import annotations

import base64
import math
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from perdure.store.errors import StoreError
from perdure.store.sqlite.files import reading
from perdure.store.sqlite.migrate import has_schema


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
        return tuple(column[1] for column in self._connection.execute(f"PRAGMA table_info({_quoted(table)})"))

    def rows(self, table: str) -> Iterator[dict[str, Any]]:
        """Every row by its columns, in the order they were inserted, as JSON can hold it."""
        columns = self.tables[table]
        for row in self._connection.execute(f"SELECT * FROM {_quoted(table)}"):  # noqa: S608  a quoted name
            yield {column: _kept(value) for column, value in zip(columns, row, strict=True)}


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
