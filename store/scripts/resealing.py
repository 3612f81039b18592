"""Key rotation: what is sealed with an older key, or not at all, is sealed with the current one."""

from __future__ import annotations

from typing import Any, Final

from perdure.store.script import Script
from perdure.store.scripts.sealing import MARK, Keys, Reseal, opened, seal, sealed_error
from perdure.store.scripts.search import begin_anew

# Where payloads are: each table with its key and the columns that hold some.
COLUMNS: Final[dict[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "workflow_contexts": (("execution_no",), ("context", "patched_context")),
    "workflow_executions": (("no",), ("error",)),
    "workflow_step_executions": (("execution_no", "step_no", "generation", "attempt"), ("error", "output")),
    "workflow_items": (("execution_no", "step_no", "lineage", "item"), ("error", "output")),
    "workflow_loop_pages": (("execution_no", "step_no", "lineage", "page"), ("items",)),
    "workflow_events": (("id",), ("data",)),
    "workflow_messages": (("no",), ("payload", "answer")),
    "workflow_signals": (("execution_no", "version"), ("payload",)),
}


def reseal(write: Reseal) -> Script[int]:
    """At most `limit` rows; what changes meanwhile is left for the next time."""
    done = plain = 0
    for table, (key, columns) in COLUMNS.items():
        for column in columns:
            left = write.limit - done
            count, unsealed = yield from _reseal_column(write, table, key, column, limit=left)
            done, plain = done + count, plain + unsealed
    if plain:
        yield from begin_anew()  # the index must not go on telling what is sealed from now on
    if done == 0:
        yield "DELETE FROM workflow_keys WHERE id <> ?", (write.keys.current,)
    return done


def _reseal_column(
    write: Reseal, table: str, key: tuple[str, ...], column: str, *, limit: int
) -> Script[tuple[int, int]]:
    """How many rows it was, and how many of them were not sealed at all."""
    if limit <= 0:
        return 0, 0
    mine = f'%"{MARK}{write.keys.current}:%'
    names, where = ", ".join(key), " AND ".join(f"{name} = ?" for name in key)
    found = yield (
        f"SELECT {names}, {column} FROM {table} WHERE {column} IS NOT NULL AND {column} NOT LIKE ? LIMIT ?",
        (mine, limit),
    )
    rows = found.fetchall()
    for row in rows:
        *place, text = row
        fresh = _resealed(text, column, write.keys)
        yield f"UPDATE {table} SET {column} = ? WHERE {where} AND {column} = ?", (fresh, *place, text)
    return len(rows), sum(MARK not in row[-1] for row in rows)


def _resealed(text: str, column: str, keys: Keys) -> Any:
    plain = opened(text, keys).encode()
    return (sealed_error(plain, keys) if column == "error" else seal(plain, keys)).decode()
