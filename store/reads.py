"""What the machine reads: executions to take up, timers that fall due, messages that wait."""

from __future__ import annotations

import sqlite3
from typing import Any

from perdure.store import rows
from perdure.store.codec import decode
from perdure.store.errors import NotFound
from perdure.store.pages import bounded
from perdure.store.records import PAGE_MAX, Attempt, Execution, Loaded, Message, Runner
from perdure.store.rows import CLAIMABLE


def load(connection: sqlite3.Connection, execution_id: str) -> Loaded | None:
    """All that is needed to take the execution up, as of one moment, or None."""
    connection.execute("BEGIN")  # else a commit between two questions shows rows of two versions
    try:
        row = connection.execute(rows.EXECUTION + "WHERE e.id = ?", (execution_id,)).fetchone()
        return None if row is None else _complete(connection, rows.execution(row))
    finally:
        connection.execute("ROLLBACK")


def load_by_no(connection: sqlite3.Connection, execution_no: int) -> Loaded:
    """The same for an execution that is known to exist."""
    row = connection.execute(rows.EXECUTION + "WHERE e.no = ?", (execution_no,)).fetchone()
    return _complete(connection, rows.execution(row))


def _complete(connection: sqlite3.Connection, execution: Execution) -> Loaded:
    """Add what hangs on the execution."""
    no = (execution.no,)
    attempts = connection.execute(
        rows.ATTEMPT + "WHERE a.execution_no = ? ORDER BY a.step_no, a.generation, a.attempt", no
    )
    timers = connection.execute(rows.TIMER + "WHERE t.execution_no = ? ORDER BY t.due_at, t.step_no", no)
    inbox = connection.execute(
        rows.MESSAGE + "WHERE m.execution_no = ? AND m.answer IS NULL ORDER BY m.no", no
    )
    return Loaded(
        execution=execution,
        attempts=tuple(map(rows.attempt, attempts)),
        timers=tuple(map(rows.timer, timers)),
        inbox=tuple(map(rows.message, inbox)),
    )


def claimable(connection: sqlite3.Connection, limit: int, after_no: int) -> list[Execution]:
    """Executions nobody owns that have something to do now, highest priority first, then oldest.

    Two ranges of one index: what is left of the priority of `after_no`, then every lower one.
    """
    limit = bounded(limit)
    start = _priority_of(connection, after_no)
    query = rows.EXECUTION + f"WHERE {CLAIMABLE} "
    order = "ORDER BY e.priority DESC, e.no LIMIT ?"
    if start is None:
        found = connection.execute(query + order, (limit,)).fetchall()
        return list(map(rows.execution, found))
    same = query + "AND e.priority = ? AND e.no > ? " + order
    found = connection.execute(same, (start, after_no, limit)).fetchall()
    if len(found) < limit:
        lower = query + "AND e.priority < ? " + order
        found += connection.execute(lower, (start, limit - len(found))).fetchall()
    return list(map(rows.execution, found))


def _priority_of(connection: sqlite3.Connection, execution_no: int) -> int | None:
    """The priority a page ended at; None at the beginning, or when that execution is gone."""
    found = connection.execute("SELECT priority FROM workflow_executions WHERE no = ?", (execution_no,))
    row = found.fetchone()
    return None if row is None else row[0]


def suspects(connection: sqlite3.Connection, deaths: int, limit: int) -> list[Execution]:
    """Claimable executions with a step in whose attempt its process has died that often, or oftener."""
    found = connection.execute(
        rows.EXECUTION
        + f"WHERE {CLAIMABLE} AND EXISTS (SELECT 1 FROM workflow_step_executions a "
        + "WHERE a.execution_no = e.no AND a.is_outcome = 0 AND a.deaths >= ?) ORDER BY e.no LIMIT ?",
        (deaths, bounded(limit)),
    )
    return list(map(rows.execution, found))


_DUE = (
    "FROM workflow_timers t INDEXED BY workflow_timers_due "
    "CROSS JOIN workflow_executions e ON e.no = t.execution_no "
    "WHERE e.runner_no IS NULL AND e.state = 'awaiting_completion' "
)


def due(connection: sqlite3.Connection, before: int, limit: int) -> list[str]:
    """Waiting executions nobody owns with a timer due by then, in due order, each once.

    A paused execution's timers stay out: what falls due meanwhile fires when it is resumed.
    """
    found = connection.execute(
        "SELECT e.id " + _DUE + "AND t.due_at <= ? ORDER BY t.due_at LIMIT ?",
        (before, bounded(limit)),
    )
    return list(dict.fromkeys(id_ for (id_,) in found))


def next_due(connection: sqlite3.Connection, after: int) -> int | None:
    """When the next of them falls due, after that time."""
    query = "SELECT t.due_at " + _DUE + "AND t.due_at > ? ORDER BY t.due_at LIMIT 1"
    row = connection.execute(query, (after,)).fetchone()
    return None if row is None else row[0]


def inbox(connection: sqlite3.Connection, runner_no: int | None) -> list[Message]:
    """Messages not applied yet to executions this runner (None: nobody) owns, oldest first."""
    found = connection.execute(
        rows.MESSAGE
        + "INDEXED BY workflow_messages_unapplied "
        + "CROSS JOIN workflow_executions e ON e.no = m.execution_no "
        + "WHERE m.applied_version IS NULL AND e.runner_no IS ? ORDER BY m.no LIMIT ?",
        (runner_no, PAGE_MAX),
    )
    return list(map(rows.message, found))


def applied(connection: sqlite3.Connection, execution_id: str, command_id: str) -> int | None:
    """The version in which the execution applied that command; None if it never has."""
    row = connection.execute(
        "SELECT v.version FROM workflow_executions e JOIN workflow_events v ON v.execution_no = e.no "
        "WHERE e.id = ? AND v.command_id = ?",
        (execution_id, command_id),
    ).fetchone()
    return None if row is None else row[0]


def message(connection: sqlite3.Connection, no: int) -> Message | None:
    """One message, with its answer once there is one."""
    row = connection.execute(rows.MESSAGE + "WHERE m.no = ?", (no,)).fetchone()
    return None if row is None else rows.message(row)


def runners(connection: sqlite3.Connection) -> list[Runner]:
    """The processes on the list."""
    return list(map(rows.runner, connection.execute(rows.RUNNER)))


def held(connection: sqlite3.Connection) -> dict[int, int]:
    """How many executions each runner owns, by its `no`; who owns none is not in it."""
    return dict(connection.execute(HELD))


HELD = """
SELECT runner_no, count(*) FROM workflow_executions INDEXED BY workflow_executions_runner
WHERE runner_no IS NOT NULL GROUP BY runner_no
"""


def fold(connection: sqlite3.Connection, execution_id: str, version: int) -> tuple[Attempt, ...]:
    """The outcome of each step as of that version.

    Per step the newest generation opened by then counts; it has an outcome if it settled by then.
    """
    found = connection.execute(
        rows.ATTEMPT
        + "WHERE e.id = ? AND a.is_outcome = 1 AND a.settled_version <= ? "
        + "AND NOT EXISTS (SELECT 1 FROM workflow_step_executions n "
        + "WHERE n.execution_no = a.execution_no AND n.step_no = a.step_no "
        + "AND n.generation > a.generation AND n.opened_version <= ?) "
        + "ORDER BY a.step_no",
        (execution_id, version, version),
    )
    return tuple(map(rows.attempt, found))


def context_at(connection: sqlite3.Connection, execution_id: str, version: int) -> dict[str, Any]:
    """The context as of that version: the first one with every later patch laid over it."""
    row = connection.execute(
        "SELECT e.no, c.context FROM workflow_executions e "
        "JOIN workflow_contexts c ON c.execution_no = e.no WHERE e.id = ?",
        (execution_id,),
    ).fetchone()
    if row is None:
        raise NotFound("execution", execution_id)
    context: dict[str, Any] = decode(row[1], what=f"the context of execution {execution_id}")
    patches = connection.execute(
        "SELECT data FROM workflow_events WHERE execution_no = ? AND type = 'context_updated' "
        "AND version <= ? AND data IS NOT NULL ORDER BY id",
        (row[0], version),
    )
    for (data,) in patches:
        update = decode(data, what=f"a context update of {execution_id}")
        context = update["replace"] if "replace" in update else context | update.get("patch", {})
    return context
