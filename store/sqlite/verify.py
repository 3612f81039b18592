"""Looks for damage in the file of a database, and for what `scripts.verify` finds in its tables."""

from __future__ import annotations

import sqlite3
from typing import Final

from perdure.store.scripts.verify import faults_of_executions
from perdure.store.sqlite.connection import run
from perdure.store.sqlite.translate import DAMAGED

FAULTS_MAX: Final = 20  # faults of the file itself that are told one by one; after them a backup helps


def verify(connection: sqlite3.Connection, execution_id: str | None) -> list[str]:
    """A sentence for each thing found; empty when all is well. Others may write meanwhile."""
    found: list[str] = []
    connection.execute("BEGIN")  # one moment for all questions
    try:
        found += _faults_of_the_file(connection)
        found += run(connection, faults_of_executions(execution_id))
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF not in DAMAGED:
            raise
        found.append(f"the file is damaged: {error}")
    finally:
        if connection.in_transaction:  # which a failing disk has ended itself
            connection.execute("ROLLBACK")
    return found


def _faults_of_the_file(connection: sqlite3.Connection) -> list[str]:
    broken = connection.execute(f"PRAGMA integrity_check({FAULTS_MAX})")
    found = [f"the file is damaged: {row[0]}" for row in broken if row[0] != "ok"]
    orphans = connection.execute("PRAGMA foreign_key_check")
    return found + [f"a row of {row[0]} refers to a row of {row[2]} that is not there" for row in orphans]
