"""Schedules and their firings: the scripts that write and read them.

A schedule moves by compare-and-swap on its version, as an execution does. A moment at which it was
to fire is decided once: the firings' key is the schedule and the moment.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from perdure.store.errors import Conflict, NotFound
from perdure.store.records import Firing, Schedule
from perdure.store.schedule_writes import DeleteSchedule, MoveSchedule, PutSchedule
from perdure.store.script import Many, Script
from perdure.store.scripts.rows import moment

SCHEDULE: Final = """
SELECT no, id, workflow, rule, is_declared, is_paused, version, considered_at, next_at, pending,
       last_execution, created_at
FROM workflow_schedules
"""

DUE: Final = "WHERE is_paused = 0 AND next_at IS NOT NULL AND next_at <= ? ORDER BY next_at LIMIT ?"

FIRING: Final = """
SELECT s.id, f.due_at, f.decision, f.count, f.execution_id, f.reason, f.decided_at
FROM workflow_schedule_firings f JOIN workflow_schedules s ON s.no = f.schedule_no
WHERE s.id = ? ORDER BY f.due_at DESC LIMIT ?
"""

# What was decided already stays as it was, but for what was queued and has now begun.
INSERT_FIRING: Final = """
INSERT INTO workflow_schedule_firings (schedule_no, due_at, decision, count, execution_id, reason, decided_at)
VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (schedule_no, due_at) DO UPDATE
SET decision = excluded.decision, execution_id = excluded.execution_id, reason = excluded.reason,
    decided_at = excluded.decided_at
WHERE workflow_schedule_firings.decision = 'queued'
"""


def put(write: PutSchedule) -> Script[int]:
    """Insert the schedule, or give the one of that id another rule; what it has fired stays.

    The same rule again changes nothing: moments that nobody has decided yet stay to be decided.
    """
    same = "SELECT no, workflow, rule, is_declared FROM workflow_schedules WHERE id = ?"
    known = (yield same, (write.id,)).fetchone()
    if known is not None and tuple(known[1:]) == (write.workflow, write.rule.decode(), write.is_declared):
        return int(known[0])
    if known is not None:
        yield (
            (
                "UPDATE workflow_schedules SET workflow = ?, rule = ?, is_declared = ?, next_at = ?, "
                "considered_at = ?, version = version + 1, updated_at = ? WHERE no = ?"
            ),
            (
                write.workflow,
                write.rule.decode(),
                write.is_declared,
                write.next_at,
                write.at,
                write.at,
                known[0],
            ),
        )
        return int(known[0])
    inserted = yield (
        (
            "INSERT INTO workflow_schedules (id, workflow, rule, is_declared, is_paused, version, "
            "considered_at, next_at, pending, created_at, updated_at) "
            "VALUES (?, ?, ?, ?, 0, 1, ?, ?, '[]', ?, ?)"
        ),
        (
            write.id,
            write.workflow,
            write.rule.decode(),
            write.is_declared,
            write.at,
            write.next_at,
            write.at,
            write.at,
        ),
    )
    assert inserted.lastrowid is not None
    return inserted.lastrowid


def move(write: MoveSchedule) -> Script[int]:
    """Move the schedule by compare-and-swap and record what was decided; answers its new version."""
    moved = yield (
        (
            "UPDATE workflow_schedules SET version = version + 1, considered_at = ?, next_at = ?, "
            "is_paused = ?, pending = ?, last_execution = coalesce(?, last_execution), updated_at = ? "
            "WHERE id = ? AND version = ?"
        ),
        (
            write.considered_at,
            write.next_at,
            write.is_paused,
            msgspec.json.encode(write.pending).decode(),
            write.last_execution,
            write.at,
            write.id,
            write.version,
        ),
    )
    found = (yield "SELECT no, version FROM workflow_schedules WHERE id = ?", (write.id,)).fetchone()
    if found is None:
        raise NotFound("schedule", write.id)
    if moved.rowcount == 0:
        raise Conflict(write.id, expected=write.version, current=found[1])
    if write.firings:
        rows = [
            (found[0], one.due_at, one.decision, one.count, one.execution_id, one.reason, write.at)
            for one in write.firings
        ]
        yield Many(INSERT_FIRING, rows)
    return write.version + 1


def delete(write: DeleteSchedule) -> Script[None]:
    """Delete the schedule and what is known of its firings; what it has started goes on."""
    found = (yield "SELECT no FROM workflow_schedules WHERE id = ?", (write.id,)).fetchone()
    if found is None:
        raise NotFound("schedule", write.id)
    yield "DELETE FROM workflow_schedule_firings WHERE schedule_no = ?", (found[0],)
    yield "DELETE FROM workflow_schedules WHERE no = ?", (found[0],)


def schedules(workflow: str | None) -> Script[list[Schedule]]:
    """All of them, or those of one workflow, by id."""
    if workflow is None:
        found = yield SCHEDULE + "ORDER BY id", ()
    else:
        found = yield SCHEDULE + "WHERE workflow = ? ORDER BY id", (workflow,)
    return list(map(_schedule, found))


def schedule(id_: str) -> Script[Schedule | None]:
    """One of them, or None."""
    row = (yield SCHEDULE + "WHERE id = ?", (id_,)).fetchone()
    return None if row is None else _schedule(row)


def due(before: int, limit: int) -> Script[list[Schedule]]:
    """Those that have something to decide by that time, the longest due first."""
    return list(map(_schedule, (yield SCHEDULE + DUE, (before, limit))))


def next_due() -> Script[int | None]:
    """When the next of them has something to decide."""
    row = (
        yield (
            "SELECT min(next_at) FROM workflow_schedules WHERE is_paused = 0 AND next_at IS NOT NULL",
            (),
        )
    ).fetchone()
    return None if row is None or row[0] is None else int(row[0])


def firings(id_: str, limit: int) -> Script[list[Firing]]:
    """What became of its moments, newest first."""
    return [
        Firing(
            schedule=row[0],
            due_at=moment(row[1]),
            decision=row[2],
            count=row[3],
            execution_id=row[4],
            reason=row[5],
            decided_at=moment(row[6]),
        )
        for row in (yield FIRING, (id_, limit))
    ]


def _schedule(row: Any) -> Schedule:
    return Schedule(
        no=row[0],
        id=row[1],
        workflow=row[2],
        rule=msgspec.json.decode(row[3]),
        is_declared=bool(row[4]),
        is_paused=bool(row[5]),
        version=row[6],
        considered_at=moment(row[7]),
        next_at=None if row[8] is None else moment(row[8]),
        pending=tuple(msgspec.json.decode(row[9], type=list[int])),
        last_execution=row[10],
        created_at=moment(row[11]),
    )
