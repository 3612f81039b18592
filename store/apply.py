"""Each write as a function over an open transaction: `APPLY[type(write)](connection, write)`.

Refusals are raised as PerdureError; whoever runs the function rolls its savepoint back.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any, Final

import msgspec

from perdure.store import transitions
from perdure.store.delta import text
from perdure.store.errors import IllegalTransition, MailboxFull, NotFound
from perdure.store.protocol import Answer
from perdure.store.records import INBOX_MAX
from perdure.store.states import TERMINAL
from perdure.store.writes import (
    AnswerMessage,
    Change,
    Claim,
    DeleteExecution,
    DeleteWorkflow,
    Deregister,
    Post,
    Publish,
    Register,
    Release,
    Renew,
    Start,
    UpdateExecution,
    Write,
)


def post(connection: sqlite3.Connection, write: Post) -> int:
    """Put the message in; the same command id twice is one message."""
    execution = connection.execute(
        "SELECT no FROM workflow_executions WHERE id = ?", (write.execution_id,)
    ).fetchone()
    if execution is None:
        raise NotFound("execution", write.execution_id)
    known = connection.execute(
        "SELECT no FROM workflow_messages WHERE execution_no = ? AND command_id = ?",
        (execution[0], write.command_id),
    ).fetchone()
    if known is not None:
        return int(known[0])
    (waiting,) = connection.execute(
        "SELECT count(*) FROM workflow_messages WHERE execution_no = ? AND applied_version IS NULL", execution
    ).fetchone()
    if waiting >= INBOX_MAX:
        raise MailboxFull(write.execution_id, limit=INBOX_MAX)
    return _inserted(
        connection.execute(
            "INSERT INTO workflow_messages (execution_no, command_id, kind, payload, sender, created_at) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            (
                execution[0],
                write.command_id,
                write.kind,
                text(write.payload, "a message"),
                write.sender,
                write.at,
            ),
        )
    )


def answer_message(connection: sqlite3.Connection, write: AnswerMessage) -> None:
    """Answer a message at the version the execution is at; the first answer stays."""
    answered = connection.execute(
        "UPDATE workflow_messages SET answer = coalesce(answer, ?), applied_version = "
        "coalesce(applied_version, (SELECT version FROM workflow_executions WHERE no = execution_no)) "
        "WHERE no = ?",
        (text(write.answer, "an answer"), write.message_no),
    ).rowcount
    if answered == 0:
        raise NotFound("message", write.message_no)


def publish(connection: sqlite3.Connection, write: Publish) -> int:
    """Store the revision unless it is known, and make it the active one of its name."""
    connection.execute(
        "UPDATE workflows SET is_active = 0 WHERE name = ? AND is_active = 1 AND revision <> ?",
        (write.name, write.revision),
    )
    known = connection.execute(
        "SELECT no FROM workflows WHERE name = ? AND revision = ?", (write.name, write.revision)
    ).fetchone()
    if known is not None:
        connection.execute("UPDATE workflows SET is_active = 1 WHERE no = ? AND is_active = 0", known)
        return int(known[0])
    no = _inserted(
        connection.execute(
            "INSERT INTO workflows (name, revision, version, description, author, tags, definition, "
            "is_active, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, 1, ?)",
            (
                write.name,
                write.revision,
                write.version,
                write.description,
                write.author,
                msgspec.json.encode(write.tags).decode(),
                write.definition.decode(),
                write.at,
            ),
        )
    )
    _insert_steps(connection, no, write)
    return no


def _insert_steps(connection: sqlite3.Connection, no: int, write: Publish) -> None:
    """The nodes, then the edges; an edge carries the level of the step that has the need."""
    connection.executemany(
        "INSERT INTO workflow_steps (workflow_no, no, key, level, agent) VALUES (?, ?, ?, ?, ?)",
        [(no, step.no, step.key, step.level, step.agent) for step in write.steps],
    )
    connection.executemany(
        "INSERT INTO workflow_dependencies (workflow_no, step_no, needs_no, level) VALUES (?, ?, ?, ?)",
        [(no, step.no, need, step.level) for step in write.steps for need in step.needs],
    )


def register(connection: sqlite3.Connection, write: Register) -> int:
    """Enter a runner into the list."""
    return _inserted(
        connection.execute(
            "INSERT INTO runners (id, pid, host, kind, lock_path, doorbell, lease_ms, started_at, "
            "heartbeat_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                write.id,
                write.pid,
                write.host,
                write.kind,
                write.lock_path,
                write.doorbell,
                write.lease_ms,
                write.at,
                write.at,
            ),
        )
    )


def renew(connection: sqlite3.Connection, write: Renew) -> None:
    """Note that the runner is alive."""
    beats = connection.execute(
        "UPDATE runners SET heartbeat_at = ? WHERE no = ?", (write.at, write.runner_no)
    )
    if beats.rowcount == 0:
        raise transitions.not_listed(write.runner_no)


def deregister(connection: sqlite3.Connection, write: Deregister) -> int:
    """Take the runner off the list; what it still owned belongs to nobody. Twice is once."""
    row = connection.execute("SELECT heartbeat_at FROM runners WHERE no = ?", (write.runner_no,)).fetchone()
    if row is None or write.heard_at not in (None, row[0]):
        return 0
    if write.died:
        connection.execute(COUNT_DEATHS, (write.runner_no,))
    connection.execute(FREE, (write.died, write.runner_no))
    connection.execute("DELETE FROM runners WHERE no = ?", (write.runner_no,))
    return 1


FREE: Final = "UPDATE workflow_executions SET runner_no = NULL, epoch = epoch + ? WHERE runner_no = ?"
COUNT_DEATHS: Final = """
UPDATE workflow_step_executions SET deaths = deaths + 1
WHERE state = 'running' AND execution_no IN (SELECT no FROM workflow_executions WHERE runner_no = ?)
"""


def release(connection: sqlite3.Connection, write: Release) -> None:
    """Give the execution up, unless somebody else has taken it over."""
    connection.execute(
        "UPDATE workflow_executions SET runner_no = NULL WHERE no = ? AND epoch = ?",
        (write.execution_no, write.epoch),
    )


ROWS_OF_AN_EXECUTION: Final = (
    "workflow_contexts",
    "workflow_step_executions",
    "workflow_checkpoints",
    "workflow_messages",
    "workflow_timers",
    "workflow_events",
    "workflow_deletions",
)


def delete_execution(connection: sqlite3.Connection, write: DeleteExecution) -> None:
    """Delete a terminal execution with all its rows."""
    row = connection.execute(
        "SELECT no, state, version FROM workflow_executions WHERE id = ?", (write.execution_id,)
    ).fetchone()
    if row is None:
        raise NotFound("execution", write.execution_id)
    no, state, version = row
    if state not in TERMINAL:
        hint = "cancel it first"
        raise IllegalTransition(write.execution_id, state=state, command="delete", version=version, hint=hint)
    connection.execute("INSERT INTO workflow_deletions (execution_no) VALUES (?)", (no,))
    for table in ROWS_OF_AN_EXECUTION:
        connection.execute(f"DELETE FROM {table} WHERE execution_no = ?", (no,))  # noqa: S608  our own names
    connection.execute("DELETE FROM workflow_executions WHERE no = ?", (no,))


def delete_workflow(connection: sqlite3.Connection, write: DeleteWorkflow) -> None:
    """Delete a revision that no execution uses."""
    row = connection.execute(
        "SELECT no FROM workflows WHERE name = ? AND revision = ?", (write.name, write.revision)
    ).fetchone()
    name = f"{write.name}@{write.revision}"
    if row is None:
        raise NotFound("workflow revision", name)
    (uses,) = connection.execute(
        "SELECT count(*) FROM workflow_executions WHERE workflow_no = ?", row
    ).fetchone()
    if uses:
        hint = "delete them first"
        state = f"used by {uses} execution{'s' if uses > 1 else ''}"
        raise IllegalTransition(name, kind="workflow", state=state, command="delete", hint=hint)
    connection.execute("DELETE FROM workflow_dependencies WHERE workflow_no = ?", row)
    connection.execute("DELETE FROM workflow_steps WHERE workflow_no = ?", row)
    connection.execute("DELETE FROM workflows WHERE no = ?", row)


def update_execution(connection: sqlite3.Connection, write: UpdateExecution) -> None:
    """Change the priority; the version stays, for the owner's next change to be no conflict."""
    updated = connection.execute(
        "UPDATE workflow_executions SET priority = ?, updated_at = ? WHERE id = ?",
        (write.priority, write.at, write.execution_id),
    ).rowcount
    if updated == 0:
        raise NotFound("execution", write.execution_id)


def _inserted(cursor: sqlite3.Cursor) -> int:
    """The key of the row just inserted."""
    assert cursor.lastrowid is not None
    return cursor.lastrowid


APPLY: Final[dict[type[Write], Callable[[sqlite3.Connection, Any], Answer]]] = {
    Start: transitions.start,
    Change: transitions.change,
    Claim: transitions.claim,
    Post: post,
    AnswerMessage: answer_message,
    Publish: publish,
    Register: register,
    Renew: renew,
    Deregister: deregister,
    Release: release,
    DeleteExecution: delete_execution,
    DeleteWorkflow: delete_workflow,
    UpdateExecution: update_execution,
}
