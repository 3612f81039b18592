"""A conversation with a database, whichever it is: statements go out, their results come back.

What to ask, and what follows from the answer, is the same on every database; how a statement gets
there is not. So reads and writes are generators: each `yield` hands out a statement with its
parameters and takes a cursor in. SQLite runs them to their end on its thread, PostgreSQL carries
each statement over the wire. Nothing in them waits, locks or begins a transaction.

Parameters are written `?`, in the SQL that both databases understand.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

import msgspec

T = TypeVar("T")


class Cursor(Protocol):
    """What came of one statement; `sqlite3.Cursor` is one as it stands."""

    @property
    def rowcount(self) -> int:
        """How many rows were written."""
        ...

    @property
    def lastrowid(self) -> int | None:
        """The key of the row that was inserted; of several inserted together, the last and highest."""
        ...

    def fetchone(self) -> Any:
        """The next row, or None."""
        ...

    def fetchall(self) -> list[Any]:
        """The rows that are left."""
        ...

    def __iter__(self) -> Iterator[Any]:
        """The rows that are left, one by one."""
        ...


class Many(msgspec.Struct, frozen=True):
    """One statement for many rows, in order; of its cursor only the counts and the key mean something."""

    sql: str
    rows: Iterable[Sequence[Any]]


class Several(msgspec.Struct, frozen=True):
    """Questions that do not hang on each other's answers; one way there and back, where there is a way.

    They are answered together, with a sequence of cursors.
    """

    questions: Sequence[tuple[str, Sequence[Any]]]


Script = Generator[tuple[str, Sequence[Any]] | Many | Several, Cursor, T]
