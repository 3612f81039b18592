"""One batch of writes, one transaction, a savepoint for each write."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Sequence
from typing import Any

from perdure.store.apply import APPLY
from perdure.store.connection import Link
from perdure.store.errors import OutcomeUnknown, PerdureError, StoreError
from perdure.store.protocol import Answer
from perdure.store.translate import translated
from perdure.store.writes import Write


def commit(link: Link, writes: Sequence[Write]) -> list[Answer]:
    """Apply the batch; answers in order, a refusal being an error value.

    Raises StoreError when nothing was written, OutcomeUnknown when that cannot be told.
    """
    try:
        connection = link.connection
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.Error as error:
        raise translated(error, link.path) from error
    try:
        answers = [_apply(connection, write) for write in writes]
    except sqlite3.Error as error:
        _undo(link, connection)
        raise translated(error, link.path) from error
    except BaseException:
        _undo(link, connection)
        raise
    _commit(link, connection)
    return answers


def _apply(connection: sqlite3.Connection, write: Write) -> Answer:
    """Apply one write, or undo it alone and say why it was refused."""
    connection.execute("SAVEPOINT write")
    try:
        answer: Any = APPLY[type(write)](connection, write)
    except PerdureError as refused:
        answer = refused
    except (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.DataError, ValueError) as error:
        answer = StoreError(f"{type(write).__name__} was refused by the database: {error}")
    except sqlite3.OperationalError as error:
        if not connection.in_transaction or _is_grave(error):
            raise
        answer = StoreError(f"{type(write).__name__} was refused by the database: {error}")
    if isinstance(answer, PerdureError):
        connection.execute("ROLLBACK TO write")
    connection.execute("RELEASE write")
    checked: Answer = answer
    return checked


def _is_grave(error: sqlite3.OperationalError) -> bool:
    """Whether an error speaks of the file and not of the one statement."""
    return error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_ERROR


def _commit(link: Link, connection: sqlite3.Connection) -> None:
    """Make it durable. A commit that fails is never tried again: the connection is done with."""
    try:
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        was_open = connection.in_transaction
        _undo(link, connection)
        if was_open:
            raise translated(error, link.path) from error
        raise OutcomeUnknown(
            f"a commit to {link.path} failed ({error}) and it cannot be told whether it happened: "
            "read the state back before going on"
        ) from error


def _undo(link: Link, connection: sqlite3.Connection) -> None:
    """Roll back, and start over with a new connection: after a failed write none is to be trusted."""
    with contextlib.suppress(sqlite3.Error):
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    with contextlib.suppress(sqlite3.Error):
        link.close()
