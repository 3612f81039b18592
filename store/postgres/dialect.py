"""The statements that all stores share, as PostgreSQL wants to have them written."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final

STATEMENTS_MAX: Final = 1_024  # texts kept translated: more than there are, however they are combined

_TABLE: Final = re.compile(r"\b(FROM|JOIN|INTO|UPDATE)\s+(workflows|runners|workflow_\w+)\b")
_FUNCTION: Final = re.compile(r"\bjson_valid\(")
_HINT: Final = re.compile(r"\bINDEXED BY \w+\s*")
_LOCKS: Final = {  # wishes in the shared text that SQLite, with its one writer, has no need of
    "/* LOCKED */": "FOR UPDATE",
    "/* SKIP LOCKED */": "FOR NO KEY UPDATE SKIP LOCKED",
}
_NUMBERED_TABLES: Final = re.compile(
    r"\s*INSERT INTO (workflows|runners|workflow_executions|workflow_messages|workflow_schedules)\b"
)


def dialect(schema: str) -> Callable[[str], str]:
    """The translator for tables that lie in that schema.

    Tables are named with their schema, so that nothing hangs on the `search_path` of a session, which
    a pooler may hand to others; `?` become numbers; SQLite's index hints go. An insert into a table
    whose rows are numbered answers the number.
    """
    prefix = quoted(schema)

    @lru_cache(STATEMENTS_MAX)
    def translate(sql: str) -> str:
        sql = _HINT.sub("", sql).replace("CROSS JOIN workflow", "JOIN workflow")
        for wish, lock in _LOCKS.items():
            sql = sql.replace(wish, lock)
        is_numbered = _NUMBERED_TABLES.match(sql) is not None
        sql = _TABLE.sub(rf"\1 {prefix}.\2", sql)
        sql = _FUNCTION.sub(f"{prefix}.json_valid(", sql)
        if is_numbered:
            sql += " RETURNING no"
        elif sql.lstrip().startswith(f"INSERT INTO {prefix}.workflow_events "):
            sql += " RETURNING id"
        return _with_numbers(sql)

    return translate


def quoted(name: str) -> str:
    """A name as an identifier, whatever is in it."""
    return '"' + name.replace('"', '""') + '"'


def _with_numbers(sql: str) -> str:
    """`?` as `$1`, `$2`, …; the texts have no other question marks."""
    parts = sql.split("?")
    return parts[0] + "".join(f"${number}{part}" for number, part in enumerate(parts[1:], 1))
