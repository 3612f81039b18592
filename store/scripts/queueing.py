"""The queues of executions whose workflow lets only so many run at once.

While an execution waits, its row names its queue; once it was admitted, its slot. So a slot is the row of
the one that holds it, never a count that could drift, and it is given up in the change that ends it.

Who has waited longest goes first, a step of priority counting as much as AGE_MS of waiting: the order
never changes while they wait, so an index keeps it, and nobody is overtaken for ever.
"""

from __future__ import annotations

from typing import Final

import msgspec

from perdure.store.script import Script
from perdure.store.writes import Place, Write

AGE_MS: Final = 60_000  # a minute of waiting is worth one step of priority
QUEUES_MAX: Final = 1_000  # queues that are looked at together

ENQUEUE: Final = """
UPDATE workflow_executions SET queue = ?, queue_most = ?, queue_rank = created_at - ? * priority WHERE no = ?
"""

# Leaps from one queue to the next along the index, and asks of each whether there is room.
QUEUES: Final = """
WITH RECURSIVE heads (queue) AS (
    SELECT min(e.queue) FROM workflow_executions e WHERE e.queue > ?
    UNION ALL
    SELECT (SELECT min(e.queue) FROM workflow_executions e WHERE e.queue > heads.queue)
    FROM heads WHERE heads.queue IS NOT NULL)
SELECT h.queue, f.workflow_no FROM heads h
JOIN workflow_executions f ON f.no = (
    SELECT e.no FROM workflow_executions e WHERE e.queue = h.queue ORDER BY e.queue_rank, e.no LIMIT 1)
WHERE (SELECT count(*) FROM workflow_executions s WHERE s.slot = h.queue) < f.queue_most
LIMIT ?
"""
# Of several who admit at once each is to see whom those before have admitted: whoever writes the row holds
# its key to the end of the transaction, also without the row, which goes as there is no end of queues' names.
LOCK_QUEUE: Final = """
INSERT INTO workflow_guards (scope, updated_at) VALUES (?, ?)
ON CONFLICT (scope) DO UPDATE SET updated_at = excluded.updated_at
"""
FORGET_QUEUE: Final = "DELETE FROM workflow_guards WHERE scope = ?"
HEAD: Final = """
SELECT no, id, queue_most FROM workflow_executions WHERE queue = ? ORDER BY queue_rank, no LIMIT 1
"""
MEMBER: Final = "SELECT no, id, queue_most FROM workflow_executions WHERE queue = ? AND id = ?"
ADMIT: Final = "UPDATE workflow_executions SET slot = queue, queue = NULL WHERE no = ? AND queue = ?"


class Queue(msgspec.Struct, frozen=True, kw_only=True):
    """A queue with room for one more, and the revision of the one that is next."""

    name: str
    workflow_no: int


class Admit(Write, frozen=True, kw_only=True):
    """Admit the first of a queue if there is room, or one of it that is named. Answers its id, or None."""

    queue: str
    execution_id: str | None = None
    at: int


def enqueue(no: int, place: Place) -> Script[None]:
    """Let an execution that has just been written wait in its queue."""
    yield ENQUEUE, (place.queue, place.most, AGE_MS, no)


def admit(write: Admit) -> Script[str | None]:
    """Give a slot to the one that is next."""
    lock = f"queue {write.queue}"  # the scope of no agent, whose names have no blanks
    yield LOCK_QUEUE, (lock, write.at)
    yield FORGET_QUEUE, (lock,)
    if write.execution_id is None:
        found = yield HEAD, (write.queue,)
    else:
        found = yield MEMBER, (write.queue, write.execution_id)
    row = found.fetchone()
    if row is None:
        return None
    no, id_, most = row
    held = yield "SELECT count(*) FROM workflow_executions WHERE slot = ?", (write.queue,)
    if held.fetchone()[0] >= most:
        return None
    yield ADMIT, (no, write.queue)
    return str(id_)


def is_anybody_queued() -> Script[bool]:
    """Whether somebody waits in any queue."""
    found = yield "SELECT 1 FROM workflow_executions WHERE queue > ? LIMIT 1", ("",)
    return found.fetchone() is not None


def queues(after: str) -> Script[list[Queue]]:
    """Queues behind that name, in order, in which somebody waits and for whom there is room."""
    return [Queue(name=row[0], workflow_no=row[1]) for row in (yield QUEUES, (after, QUEUES_MAX))]
