"""Each write as a script for an open transaction: `APPLY[type(write)](write)`.

Refusals are raised as PerdureError; whoever runs the script rolls its savepoint back.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import msgspec

from perdure.store.claims import ClaimFree
from perdure.store.errors import IllegalTransition, MailboxFull, NotFound
from perdure.store.records import INBOX_MAX
from perdure.store.schedule_writes import DeleteSchedule, MoveSchedule, PutSchedule
from perdure.store.script import Cursor, Script
from perdure.store.scripts import (
    compaction,
    deliveries,
    guards,
    marks,
    queueing,
    retention,
    schedules,
    search,
    tallies,
    transitions,
    versions,
)
from perdure.store.scripts.delta import text
from perdure.store.scripts.resealing import reseal
from perdure.store.scripts.sealing import KeyedClaim, Reseal, claim_keyed
from perdure.store.states import TERMINAL, Role
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


def post(write: Post) -> Script[int]:
    """Put the message in; the same command id twice is one message."""
    execution = (yield "SELECT no FROM workflow_executions WHERE id = ?", (write.execution_id,)).fetchone()
    if execution is None:
        raise NotFound("execution", write.execution_id)
    known = (
        yield (
            "SELECT no FROM workflow_messages WHERE execution_no = ? AND command_id = ?",
            (execution[0], write.command_id),
        )
    ).fetchone()
    if known is not None:
        return int(known[0])
    (waiting,) = (
        yield (
            "SELECT count(*) FROM workflow_messages WHERE execution_no = ? AND applied_version IS NULL",
            execution,
        )
    ).fetchone()
    if waiting >= INBOX_MAX:
        raise MailboxFull(write.execution_id, limit=INBOX_MAX)
    cursor = yield (
        (
            "INSERT INTO workflow_messages "
            "(execution_no, command_id, kind, payload, sender, created_at) VALUES (?, ?, ?, ?, ?, ?)"
        ),
        (
            execution[0],
            write.command_id,
            write.kind,
            text(write.payload, "a message"),
            write.sender,
            write.at,
        ),
    )
    return _inserted(cursor)


def answer_message(write: AnswerMessage) -> Script[None]:
    """Answer a message at the version the execution is at; the first answer stays."""
    answered = (
        yield (
            (
                "UPDATE workflow_messages SET answer = coalesce(answer, ?), "
                "applied_version = coalesce(applied_version, "
                "(SELECT version FROM workflow_executions WHERE no = execution_no)) "
                "WHERE no = ?"
            ),
            (text(write.answer, "an answer"), write.message_no),
        )
    ).rowcount
    if answered == 0:
        raise NotFound("message", write.message_no)


def publish(write: Publish) -> Script[int]:
    """Store the revision unless it is known, and make it the active one of its name."""
    if write.activates:
        yield (
            "UPDATE workflows SET is_active = 0 WHERE name = ? AND is_active = 1 AND revision <> ?",
            (write.name, write.revision),
        )
    known = (
        yield "SELECT no FROM workflows WHERE name = ? AND revision = ?", (write.name, write.revision)
    ).fetchone()
    if known is not None:
        if write.activates:
            yield "UPDATE workflows SET is_active = 1 WHERE no = ? AND is_active = 0", known
        return int(known[0])
    cursor = yield (
        (
            "INSERT INTO workflows (name, revision, version, description, author, tags, definition, "
            "steps_total, is_active, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        ),
        (
            write.name,
            write.revision,
            write.version,
            write.description,
            write.author,
            msgspec.json.encode(write.tags).decode(),
            write.definition.decode(),
            sum(step.role is Role.GRAPH for step in write.steps),
            int(write.activates),
            write.at,
        ),
    )
    no = _inserted(cursor)
    yield from _insert_steps(no, write)
    return no


def _insert_steps(no: int, write: Publish) -> Script[None]:
    """The nodes, then the edges; an edge carries the level of the step that has the need."""
    for step in write.steps:
        yield (
            "INSERT INTO workflow_steps (workflow_no, no, key, level, agent, role) VALUES (?, ?, ?, ?, ?, ?)",
            (no, step.no, step.key, step.level, step.agent, step.role),
        )
    for step in write.steps:
        for need in step.needs:
            yield (
                (
                    "INSERT INTO workflow_dependencies (workflow_no, step_no, needs_no, level) "
                    "VALUES (?, ?, ?, ?)"
                ),
                (no, step.no, need, step.level),
            )


def register(write: Register) -> Script[int]:
    """Enter a runner into the list; one that is on it already (nobody told it so) is brought up to date."""
    entry = (write.pid, write.host, write.kind, write.lock_path, write.doorbell, write.lease_ms, write.at)
    listed = (yield "SELECT no FROM runners WHERE id = ?", (write.id,)).fetchone()
    if listed is not None:
        yield UPDATE_RUNNER, (*entry, listed[0])
        return int(listed[0])
    return _inserted((yield INSERT_RUNNER, (write.id, *entry, write.at)))


INSERT_RUNNER: Final = """
INSERT INTO runners (id, pid, host, kind, lock_path, doorbell, lease_ms, heartbeat_at, started_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
UPDATE_RUNNER: Final = """
UPDATE runners SET pid = ?, host = ?, kind = ?, lock_path = ?, doorbell = ?, lease_ms = ?, heartbeat_at = ?
WHERE no = ?
"""


def renew(write: Renew) -> Script[None]:
    """Note that the runner is alive."""
    beats = yield "UPDATE runners SET heartbeat_at = ? WHERE no = ?", (write.at, write.runner_no)
    if beats.rowcount == 0:
        raise transitions.not_listed(write.runner_no)


def deregister(write: Deregister) -> Script[int]:
    """Take the runner off the list; what it still owned belongs to nobody. Twice is once.

    Its row is locked first: others may be at it in the same moment, and a death counts once.
    """
    listed = yield "SELECT heartbeat_at FROM runners WHERE no = ? /* LOCKED */", (write.runner_no,)
    row = listed.fetchone()
    if row is None or write.heard_at not in (None, row[0]):
        return 0
    if write.died:
        yield COUNT_DEATHS, (write.runner_no,) * 3
        yield COUNT_DEATHS_OF_ITEMS, (write.runner_no,) * 3
    yield FREE, (int(write.died), write.runner_no)
    yield "DELETE FROM runners WHERE no = ?", (write.runner_no,)
    return 1


FREE: Final = "UPDATE workflow_executions SET runner_no = NULL, epoch = epoch + ? WHERE runner_no = ?"
# A step that goes over items runs nothing itself; its items do, and theirs are the deaths.
RUNNING: Final = """
(SELECT count(*) FROM workflow_step_executions a
 JOIN workflow_executions e ON e.no = a.execution_no
 WHERE a.state = 'running' AND e.runner_no = ?
   AND NOT EXISTS (SELECT 1 FROM workflow_loops l
                   WHERE l.execution_no = a.execution_no AND l.step_no = a.step_no))
+ (SELECT count(*) FROM workflow_executions e JOIN workflow_items i ON i.execution_no = e.no
   WHERE e.runner_no = ? AND i.is_open = 1 AND i.state = 'running')
"""
COUNT_DEATHS: Final = f"""
UPDATE workflow_step_executions SET deaths = deaths + 1, alone = CASE {RUNNING} WHEN 1 THEN 1 ELSE 0 END
WHERE state = 'running' AND execution_no IN (SELECT no FROM workflow_executions WHERE runner_no = ?)
  AND NOT EXISTS (SELECT 1 FROM workflow_loops l WHERE l.execution_no = workflow_step_executions.execution_no
                  AND l.step_no = workflow_step_executions.step_no)
"""
COUNT_DEATHS_OF_ITEMS: Final = f"""
UPDATE workflow_items SET deaths = deaths + 1, alone = CASE {RUNNING} WHEN 1 THEN 1 ELSE 0 END
WHERE is_open = 1 AND state = 'running'
  AND execution_no IN (SELECT no FROM workflow_executions WHERE runner_no = ?)
"""


def release(write: Release) -> Script[None]:
    """Give the execution up, unless somebody else has taken it over."""
    yield (
        "UPDATE workflow_executions SET runner_no = NULL WHERE no = ? AND epoch = ?",
        (write.execution_no, write.epoch),
    )


ROWS_OF_AN_EXECUTION: Final = (
    "workflow_contexts",
    "workflow_step_executions",
    "workflow_checkpoints",
    "workflow_messages",
    "workflow_timers",
    "workflow_signals",
    "workflow_approvals",
    "workflow_items",
    "workflow_loop_pages",
    "workflow_loops",
    "workflow_forks",
    "workflow_deliveries",
    "workflow_execution_moves",
    "workflow_tally_rests",
    "workflow_events",
    "workflow_deletions",
)


def delete_execution(write: DeleteExecution) -> Script[None]:
    """Delete a terminal execution with all its rows."""
    query = "SELECT no, state, version FROM workflow_executions WHERE id = ? /* LOCKED */"
    row = (yield query, (write.execution_id,)).fetchone()
    if row is None:
        raise NotFound("execution", write.execution_id)
    no, state, version = row
    if state not in TERMINAL:
        hint = "cancel it first"
        raise IllegalTransition(write.execution_id, state=state, command="delete", version=version, hint=hint)
    yield from tallies.take_away([no])
    yield "INSERT INTO workflow_deletions (execution_no) VALUES (?)", (no,)
    for table in ROWS_OF_AN_EXECUTION:
        (yield f"DELETE FROM {table} WHERE execution_no = ?", (no,))
    yield from search.forget(no)
    yield "DELETE FROM workflow_executions WHERE no = ?", (no,)


def delete_workflow(write: DeleteWorkflow) -> Script[None]:
    """Delete a revision that no execution uses."""
    row = (
        yield "SELECT no FROM workflows WHERE name = ? AND revision = ?", (write.name, write.revision)
    ).fetchone()
    name = f"{write.name}@{write.revision}"
    if row is None:
        raise NotFound("workflow revision", name)
    uses = 0
    for table in ("workflow_executions", "workflow_execution_moves"):  # those that are, and that once were
        (count,) = (yield f"SELECT count(*) FROM {table} WHERE workflow_no = ?", row).fetchone()
        uses += count
    if uses:
        hint = "delete them first"
        state = f"used by {uses} execution{'s' if uses > 1 else ''}"
        raise IllegalTransition(name, kind="workflow", state=state, command="delete", hint=hint)
    yield "DELETE FROM workflow_dependencies WHERE workflow_no = ?", row
    yield "DELETE FROM workflow_steps WHERE workflow_no = ?", row
    yield from search.forget(-row[0])
    yield "DELETE FROM workflows WHERE no = ?", row


def update_execution(write: UpdateExecution) -> Script[None]:
    """Change the priority; the version stays, for the owner's next change to be no conflict."""
    values = (write.priority, queueing.AGE_MS * write.priority, write.at, write.execution_id)
    rows = (yield PRIORITIZE, values).fetchall()
    if not rows:
        raise NotFound("execution", write.execution_id)
    yield from tallies.take_away(no for no, state in rows if state in TERMINAL)


PRIORITIZE: Final = """
UPDATE workflow_executions SET priority = ?, queue_rank = created_at - ?, updated_at = ? WHERE id = ?
RETURNING no, state
"""


def _inserted(cursor: Cursor) -> int:
    """The key of the row just inserted."""
    assert cursor.lastrowid is not None
    return cursor.lastrowid


APPLY: Final[dict[type[Write], Callable[[Any], Script[Any]]]] = {
    Start: transitions.start,
    Change: transitions.change,
    Claim: transitions.claim,
    ClaimFree: transitions.claim_free,
    KeyedClaim: claim_keyed,
    Reseal: reseal,
    Post: post,
    AnswerMessage: answer_message,
    Publish: publish,
    Register: register,
    Renew: renew,
    Deregister: deregister,
    Release: release,
    DeleteExecution: delete_execution,
    DeleteWorkflow: delete_workflow,
    search.Index: search.index,
    compaction.Compact: compaction.compact,
    tallies.Tally: tallies.tally,
    retention.Prune: partial(retention.prune, tables=ROWS_OF_AN_EXECUTION),
    UpdateExecution: update_execution,
    queueing.Admit: queueing.admit,
    guards.PassGuard: guards.enter,
    guards.LeaveGuard: guards.leave,
    guards.MoveCircuit: guards.move_circuit,
    deliveries.ClaimDelivery: deliveries.claim,
    deliveries.SettleDelivery: deliveries.settle,
    deliveries.RepeatDelivery: deliveries.repeat,
    marks.PruneCheckpoints: marks.prune,
    versions.ActivateWorkflow: versions.activate,
    versions.DeactivateWorkflow: versions.deactivate,
    versions.MigrateExecution: versions.migrate,
    PutSchedule: schedules.put,
    MoveSchedule: schedules.move,
    DeleteSchedule: schedules.delete,
}
