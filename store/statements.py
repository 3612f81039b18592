"""Runs the user's own statements in the transaction of an outcome, within bounds SQLite itself guards."""

from __future__ import annotations

import sqlite3
from typing import Final

from perdure.store.writes import Statement

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
    """Run the user's own statements; they may not end the transaction or write the store's tables."""
    if not statements:
        return
    connection.set_authorizer(_authorize)
    try:
        for statement in statements:
            connection.execute(statement.sql, statement.parameters).close()
    finally:
        connection.set_authorizer(None)


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
