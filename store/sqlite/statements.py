"""Runs the user's own statements in the transaction of an outcome, within bounds SQLite itself guards.

They may not end the transaction, touch the store's tables, or keep the one connection that writes
busy for long: work is counted in instructions of SQLite's virtual machine, as the store has no
clock. Whatever is wrong with a statement is a StatementFailed of the write it came with.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from perdure.store.errors import StatementFailed
from perdure.store.sqlite.translate import REFUSED, is_refusal
from perdure.store.writes import Statement

INSTRUCTIONS_MAX: Final = 25_000_000  # of one write's statements: about half a second, a million rows changed
INSTRUCTIONS_PER_LOOK: Final = 500_000  # between two looks at the budget; some 10 ms
VALUE_BYTES_MAX: Final = 64 * 2**20  # of one value a statement makes: `zeroblob` would take a gigabyte

WHAT_TO_DO: Final = {
    sqlite3.SQLITE_AUTH: "it may not touch the store's own tables or the transaction",
    sqlite3.SQLITE_INTERRUPT: (
        f"it kept the database busy for more than {INSTRUCTIONS_MAX:,} instructions, which all others had to "
        "wait for: do the work in several steps, or over a connection of your own"
    ),
    sqlite3.SQLITE_LOCKED: "another statement is in the middle of this table",
}
FORBIDDEN_TO_STATEMENTS: Final = frozenset(
    {
        sqlite3.SQLITE_TRANSACTION,
        sqlite3.SQLITE_SAVEPOINT,
        sqlite3.SQLITE_PRAGMA,
        sqlite3.SQLITE_ATTACH,
        sqlite3.SQLITE_DETACH,
    }
)
WRITING: Final = frozenset(
    {
        sqlite3.SQLITE_INSERT,
        sqlite3.SQLITE_UPDATE,
        sqlite3.SQLITE_DELETE,
        sqlite3.SQLITE_DROP_TABLE,
        sqlite3.SQLITE_DROP_INDEX,
        sqlite3.SQLITE_DROP_TRIGGER,
        sqlite3.SQLITE_DROP_VIEW,
        sqlite3.SQLITE_ALTER_TABLE,
        sqlite3.SQLITE_CREATE_TABLE,
        sqlite3.SQLITE_CREATE_INDEX,
        sqlite3.SQLITE_CREATE_TRIGGER,
        sqlite3.SQLITE_CREATE_VIEW,
        sqlite3.SQLITE_CREATE_TEMP_TABLE,  # a temporary table would hide ours from this connection
        sqlite3.SQLITE_CREATE_TEMP_INDEX,
        sqlite3.SQLITE_CREATE_TEMP_TRIGGER,
        sqlite3.SQLITE_CREATE_TEMP_VIEW,
    }
)


def execute_statements(connection: sqlite3.Connection, statements: tuple[Statement, ...]) -> None:
    """Run them in order. Raises StatementFailed; after some failures the transaction is gone as well."""
    if not statements:
        return
    connection.set_authorizer(_authorize)
    connection.set_progress_handler(_Budget(), INSTRUCTIONS_PER_LOOK)
    length_max = connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, VALUE_BYTES_MAX)
    try:
        for position, statement in enumerate(statements, start=1):
            _execute(connection, statement, position)
    finally:
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, length_max)
        connection.set_progress_handler(None, 0)
        connection.set_authorizer(None)


def _execute(connection: sqlite3.Connection, statement: Statement, position: int) -> None:
    try:
        cursor = connection.execute(statement.sql, statement.parameters)
        for _ in cursor:
            pass  # SQLite counts the rows of a RETURNING when it has handed them out
    except MemoryError as error:
        raise StatementFailed(statement.sql, position=position, why="there is not enough memory") from error
    except REFUSED as error:
        why = _why(error)
        if why is None:
            raise
        raise StatementFailed(statement.sql, position=position, why=why) from error
    if statement.rows not in (None, cursor.rowcount):
        why = f"it changed {max(cursor.rowcount, 0)} rows, not {statement.rows}"
        raise StatementFailed(statement.sql, position=position, why=why)


def _why(error: Exception) -> str | None:
    """What is wrong with the statement; None when it is the file or the disk that fails."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    advice = None if code is None else WHAT_TO_DO.get(code)
    if advice is None:
        return str(error) if is_refusal(error) else None
    return f"{error}; {advice}"


class _Budget:
    """Called by SQLite every INSTRUCTIONS_PER_LOOK; True interrupts the statement."""

    def __init__(self) -> None:
        self._looks_left = INSTRUCTIONS_MAX // INSTRUCTIONS_PER_LOOK

    def __call__(self) -> bool:
        self._looks_left -= 1
        return self._looks_left < 0


def _authorize(
    action: int, first: str | None, second: str | None, _database: str | None, _trigger: str | None
) -> int:
    """SQLite's own guard, asked while a statement is prepared."""
    if action in FORBIDDEN_TO_STATEMENTS:
        return sqlite3.SQLITE_DENY
    if action in WRITING and any(_is_ours(name) for name in (first, second)):
        return sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_OK


def _is_ours(name: str | None) -> bool:
    """Whether that table or index belongs to the store."""
    lower = (name or "").lower()
    return lower.startswith(("workflow_", "perdure_")) or lower in {
        "workflows",
        "runners",
        "workflows_active",
        "sqlite_sequence",
    }
