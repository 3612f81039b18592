"""How one execution moves: start, change by compare-and-swap, claim by a new owner.

Functions over an open transaction; each runs inside a savepoint of its own. They raise the refusal
as a PerdureError, and whoever runs them rolls back to the savepoint.
"""

from __future__ import annotations

import sqlite3
from functools import lru_cache
from typing import Final

from perdure.store import delta
from perdure.store.errors import (
    Conflict,
    IllegalTransition,
    InvalidId,
    LeaseLost,
    NotFound,
    PerdureError,
    StoreError,
)
from perdure.store.reads import load_by_no
from perdure.store.records import Loaded
from perdure.store.states import TERMINAL, State, can_become
from perdure.store.writes import CHANGEABLE, Change, Changed, Claim, Start, Started, Statement, is_id

INSERT_EXECUTION: Final = """
INSERT INTO workflow_executions (id, workflow_no, state, version, epoch, runner_no, priority, updated_at,
    created_at, started_at, deadline_at, remaining_ms, triggered_by, parent_id, trace_id, agents)
VALUES (?, ?, ?, 1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""

INSERT_CONTEXT: Final = "INSERT INTO workflow_contexts (execution_no, context) VALUES (?, ?)"

PATCH_CONTEXT: Final = "UPDATE workflow_contexts SET patched_context = ? WHERE execution_no = ?"

MOVE_EXECUTION: Final = (
    "UPDATE workflow_executions SET state = ?, version = version + 1, updated_at = ?{columns} "
    "WHERE no = ? AND version = ? AND epoch = ? AND state = ?"
)

MOVE_PLAINLY: Final = MOVE_EXECUTION.format(columns="")

CLAIM: Final = """
UPDATE workflow_executions SET epoch = epoch + 1, runner_no = ?, updated_at = ? WHERE no = ? AND epoch = ?
"""

IN_FLIGHT: Final = frozenset({State.EXECUTING, State.AWAITING_COMPLETION})


def start(connection: sqlite3.Connection, write: Start) -> Started:
    """Insert the execution at version 1, or join the one that has its id."""
    if not is_id(write.id):
        raise InvalidId("execution", write.id)
    found = connection.execute("SELECT no FROM workflow_executions WHERE id = ?", (write.id,)).fetchone()
    if found is not None:
        return Started(found[0], joined=True, first_event_id=0)
    _refuse_illegal_start(write)
    no = _insert(connection, write)
    connection.execute(INSERT_CONTEXT, (no, delta.text(write.context, "the context")))
    first = delta.write(connection, no, write.id, 1, write.at, write.delta)
    execute_statements(connection, write.delta.statements)
    return Started(no, joined=False, first_event_id=first)


def _insert(connection: sqlite3.Connection, write: Start) -> int:
    """The row itself; answers its key. Raises NotFound when its runner is not on the list."""
    values = (
        write.id,
        write.workflow_no,
        write.state,
        0 if write.runner_no is None else 1,
        write.runner_no,
        write.priority,
        write.at,
        write.at,
        write.at if write.state in IN_FLIGHT else None,
        write.deadline_at,
        write.remaining_ms,
        write.triggered_by,
        write.parent_id,
        write.trace_id,
        write.agents,
    )
    try:
        no = connection.execute(INSERT_EXECUTION, values).lastrowid
    except sqlite3.IntegrityError:
        _refuse_unlisted(connection, write.runner_no)
        raise
    assert no is not None
    return no


def _refuse_unlisted(connection: sqlite3.Connection, runner_no: int | None) -> None:
    """Raise NotFound when that runner is not on the list; a broken foreign key does not say which one."""
    if runner_no is None:
        return
    if connection.execute("SELECT 1 FROM runners WHERE no = ?", (runner_no,)).fetchone() is None:
        raise not_listed(runner_no)


def not_listed(runner_no: int) -> NotFound:
    """The refusal of what a runner writes that is not on the list."""
    return NotFound("runner", runner_no, hint="it was taken off the list; it must stop or register anew")


def _refuse_illegal_start(write: Start) -> None:
    """Raise IllegalTransition when an execution cannot begin in that state."""
    attempt = delta.illegal_attempt(write.delta.attempts)
    if attempt is None and can_become(State.IDLE, write.state):
        return
    wrong = write.state if attempt is None else f"{attempt.state} for step {attempt.step_no}"
    raise IllegalTransition(write.id, state="not started", command=f"begin as {wrong}:")


def change(connection: sqlite3.Connection, write: Change) -> Changed:
    """Move the execution by compare-and-swap and write what the move brings with it."""
    if not can_become(write.before, write.state):
        raise _why_refused(connection, write, f"become {write.state}:")
    attempt = delta.illegal_attempt(write.delta.attempts)
    if attempt is not None:
        command = f"take step {attempt.step_no} from {attempt.before or 'nothing'} to {attempt.state} in"
        raise _why_refused(connection, write, command)
    if _swap(connection, write) == 0:
        raise _why_refused(connection, write, f"go from {write.before} to {write.state}:")
    version = write.version + 1
    if write.state in TERMINAL:
        connection.execute("DELETE FROM workflow_timers WHERE execution_no = ?", (write.execution_no,))
    first = delta.write(connection, write.execution_no, write.execution_id, version, write.at, write.delta)
    execute_statements(connection, write.delta.statements)
    return Changed(version, first)


def _swap(connection: sqlite3.Connection, write: Change) -> int:
    """The compare-and-swap itself; answers how many rows moved (0 or 1)."""
    guard = (write.execution_no, write.version, write.epoch, write.before)
    if not write.fields:
        return connection.execute(MOVE_PLAINLY, (write.state, write.at, *guard)).rowcount
    fields = dict(write.fields)
    if "context" in fields:
        context = delta.text(fields.pop("context"), "the context")
        connection.execute(PATCH_CONTEXT, (context, write.execution_no))
    if isinstance(error := fields.get("error"), bytes):
        fields["error"] = delta.text(error, "an error")
    statement = _move_with(tuple(fields))
    return connection.execute(statement, (write.state, write.at, *fields.values(), *guard)).rowcount


@lru_cache(maxsize=256)
def _move_with(columns: tuple[str, ...]) -> str:
    """The compare-and-swap that sets these columns too. Raises StoreError for one that may not be."""
    unknown = [column for column in columns if column not in CHANGEABLE]
    if unknown:
        raise StoreError(f"a change may not set {', '.join(unknown)}: only {', '.join(sorted(CHANGEABLE))}")
    return MOVE_EXECUTION.format(columns="".join(f", {column} = ?" for column in columns))


def _why_refused(connection: sqlite3.Connection, write: Change, command: str) -> PerdureError:
    """Look the execution up to tell a stale change from an illegal one."""
    row = connection.execute(
        "SELECT version, epoch, state FROM workflow_executions WHERE no = ?", (write.execution_no,)
    ).fetchone()
    if row is None:
        return NotFound("execution", write.execution_id)
    version, epoch, state = row
    if epoch != write.epoch:
        return LeaseLost(write.execution_id, held_epoch=write.epoch, current_epoch=epoch)
    if version != write.version:
        return Conflict(write.execution_id, expected=write.version, current=version)
    return IllegalTransition(write.execution_id, state=state, command=command, version=version)


def claim(connection: sqlite3.Connection, write: Claim) -> Loaded:
    """Raise the epoch, so that the last owner loses every race from here on."""
    wanted = (write.runner_no, write.at, write.execution_no, write.epoch)
    try:
        taken = connection.execute(CLAIM, wanted).rowcount
    except sqlite3.IntegrityError:
        _refuse_unlisted(connection, write.runner_no)
        raise
    if taken == 0:
        row = connection.execute(
            "SELECT epoch FROM workflow_executions WHERE no = ?", (write.execution_no,)
        ).fetchone()
        if row is None:
            raise NotFound("execution", write.execution_id)
        raise Conflict(write.execution_id, expected=write.epoch, current=row[0])
    return load_by_no(connection, write.execution_no)


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
