"""Key rotation: what is sealed with an older key, or not at all, is sealed with the current one."""

from __future__ import annotations

from typing import Any, Final

from perdure.store.script import Script
from perdure.store.scripts.sealing import MARK, Keys, Place, Reseal, Resealed, opened, seal, sealed_error
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
    "workflow_deliveries": (("id",), ("payload",)),
}
PLACES: Final = tuple((table, key, column) for table, (key, columns) in COLUMNS.items() for column in columns)


def reseal(write: Reseal) -> Script[Resealed]:
    """At most `limit` rows, in the order of their keys; what changes meanwhile is found by the next pass."""
    done = plain = 0
    place = Place()
    for at, (table, key, column) in enumerate(PLACES):
        if at < write.place.column:
            continue
        after = write.place.after if at == write.place.column else ()
        rows = yield from _reseal_column(write, table, key, column, after=after, limit=write.limit - done)
        done += len(rows)
        plain += sum(MARK not in row[-1] for row in rows)
        if done == write.limit:
            place = Place(at, tuple(rows[-1][:-1]) if rows else after)
            break
    if plain:
        yield from begin_anew()  # the index must not go on telling what is sealed from now on
    is_done = done == 0 and write.place == Place()
    if is_done:
        yield "DELETE FROM workflow_keys WHERE id <> ?", (write.keys.current,)
    return Resealed(done, place, is_done)


def _reseal_column(
    write: Reseal, table: str, key: tuple[str, ...], column: str, *, after: tuple[int | str, ...], limit: int
) -> Script[list[Any]]:
    """The rows that it was, as they were."""
    mine = f'"{MARK}{write.keys.current}:'
    names, where = ", ".join(key), " AND ".join(f"{name} = ?" for name in key)
    behind = f"AND ({names}) > ({', '.join('?' for _ in after)})" if after else ""
    # Without LIKE: to SQLite capitals are small letters there, and the keys of two names one.
    other = f"{column} IS NOT NULL AND replace({column}, ?, '') = {column} {behind}"
    sql = f"SELECT {names}, {column} FROM {table} WHERE {other} ORDER BY {names} LIMIT ?"
    rows: list[Any] = (yield sql, (mine, *after, limit)).fetchall()
    for row in rows:
        *place, text = row
        fresh = _resealed(text, column, write.keys)
        yield f"UPDATE {table} SET {column} = ? WHERE {where} AND {column} = ?", (fresh, *place, text)
    return rows


def _resealed(text: str, column: str, keys: Keys) -> Any:
    plain = opened(text, keys).encode()
    return (sealed_error(plain, keys) if column == "error" else seal(plain, keys)).decode()
