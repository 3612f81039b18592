"""Runs the user's own statements in the transaction of an outcome, within bounds.

A statement is prepared by itself, so it is one statement and no more; it may not begin with a word that
ends the transaction or changes the session, and may not name the store's schema. Unqualified names lead
to the user's own tables: the store's are in no `search_path`.
"""

from __future__ import annotations

import re
from typing import Final

import asyncpg

from perdure.store.errors import StatementFailed
from perdure.store.postgres.dialect import quoted
from perdure.store.postgres.link import Answered, Link
from perdure.store.postgres.translate import REFUSED, is_lost
from perdure.store.writes import Statement

STATEMENT_MS: Final = 1_000  # of one statement: the session that writes is everybody's
ALLOWED: Final = frozenset(
    {
        "INSERT",
        "UPDATE",
        "DELETE",
        "MERGE",
        "SELECT",
        "WITH",
        "VALUES",
        "TABLE",
        "CREATE",
        "ALTER",
        "DROP",
        "CALL",
    }
)
_COMMENT: Final = re.compile(r"\s+|--[^\n]*(?:\n|$)|/\*.*?\*/", re.DOTALL)
_WORD: Final = re.compile(r"[A-Za-z]+")
_PASSING_TABLE: Final = re.compile(r"\bCREATE\s+(?:GLOBAL\s+|LOCAL\s+)?TEMP", re.IGNORECASE)


async def execute_statements(link: Link, statements: tuple[Statement, ...]) -> None:
    """Run them in order. Raises StatementFailed; nothing of the write they came with may stay then."""
    if not statements:
        return
    await link.simply(f"SET LOCAL statement_timeout TO {STATEMENT_MS}")
    for position, statement in enumerate(statements, start=1):
        await _execute(link, statement, position)
    try:  # what is checked only at a commit is checked now, while it is known whose it is
        await link.simply("SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED")
    except (*REFUSED, asyncpg.QueryCanceledError) as error:
        sql = "; ".join(statement.sql for statement in statements)
        raise StatementFailed(sql, position=None, why=f"{error}, when it was to be committed") from error
    await link.simply("SET LOCAL statement_timeout TO DEFAULT")


async def _execute(link: Link, statement: Statement, position: int) -> None:
    sql = statement.sql
    if why := why_not(sql, link.address.schema):
        raise StatementFailed(sql, position=position, why=why)
    try:
        prepared = await link.prepare(sql)
        answered = Answered(await prepared.fetch(*statement.parameters), prepared.get_statusmsg())
    except asyncpg.QueryCanceledError as error:
        why = f"it took longer than {STATEMENT_MS} ms, which all others had to wait for"
        raise StatementFailed(sql, position=position, why=why) from error
    except (*REFUSED, asyncpg.InterfaceError) as error:
        if is_lost(error):
            raise
        raise StatementFailed(sql, position=position, why=str(error)) from error
    if statement.rows not in (None, answered.rowcount):
        why = f"it changed {max(answered.rowcount, 0)} rows, not {statement.rows}"
        raise StatementFailed(sql, position=position, why=why)


def why_not(sql: str, schema: str) -> str:
    """Why the statement may not be run beside the store's own; empty when it may."""
    word = _first_word(sql)
    if word not in ALLOWED:
        allowed = ", ".join(sorted(ALLOWED))
        return f"it is part of an outcome's transaction and may begin with {allowed}, not {word or 'nothing'}"
    if _PASSING_TABLE.search(sql):
        return "it may not make a temporary table: the session is the store's"
    if re.search(rf'(?<![\w"]){re.escape(schema)}\s*\.|{re.escape(quoted(schema))}', sql, re.IGNORECASE):
        return f"it may not touch the schema {schema}, which is the store's own"
    return ""


def _first_word(sql: str) -> str:
    """The word the statement begins with, behind blanks and comments."""
    at = 0
    while skipped := _COMMENT.match(sql, at):
        at = skipped.end()
    found = _WORD.match(sql, at)
    return "" if found is None else found.group().upper()
