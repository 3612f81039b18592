"""Approvals: the scripts that keep what executions ask people, and that list it."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from perdure.store.asking import Approval, ApprovalWrite, Decision, PendingApproval
from perdure.store.codec import encode
from perdure.store.script import Script
from perdure.store.scripts.pages import bounded
from perdure.store.scripts.rows import Row, milliseconds, moment
from perdure.store.states import State

KEEP: Final = """
INSERT INTO workflow_approvals (execution_no, step_no, generation, quorum, approvers, decisions, message,
    asked_at, due_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (execution_no, step_no) DO UPDATE
SET generation = excluded.generation, quorum = excluded.quorum, approvers = excluded.approvers,
    decisions = excluded.decisions, message = excluded.message, asked_at = excluded.asked_at,
    due_at = excluded.due_at
"""

DROP: Final = "DELETE FROM workflow_approvals WHERE execution_no = ? AND step_no = ?"

KEPT: Final = """
SELECT p.step_no, p.generation, p.quorum, p.approvers, p.decisions, p.message, p.asked_at, p.due_at
FROM workflow_approvals p WHERE p.execution_no = {execution} ORDER BY p.step_no
"""

PENDING: Final = """
SELECT e.id, w.name, e.state, s.key, p.message, p.approvers, p.quorum, p.decisions, p.asked_at, p.due_at
FROM workflow_approvals p
JOIN workflow_executions e ON e.no = p.execution_no
JOIN workflows w ON w.no = e.workflow_no
JOIN workflow_steps s ON s.workflow_no = e.workflow_no AND s.no = p.step_no
WHERE p.asked_at >= ? AND (p.asked_at, e.id, s.key) > (?, ?, ?)
ORDER BY p.asked_at, e.id, s.key LIMIT ?
"""

_names: Final = msgspec.json.Decoder(tuple[str, ...])
_decisions: Final = msgspec.json.Decoder(tuple[Decision, ...])


def write(execution_no: int, approval: ApprovalWrite) -> tuple[str, tuple[Any, ...]]:
    """The statement that keeps or drops one. Raises PayloadTooLarge."""
    kept = approval.approval
    if kept is None:
        return DROP, (execution_no, approval.step_no)
    return KEEP, (
        execution_no,
        approval.step_no,
        kept.generation,
        kept.quorum,
        encode(kept.approvers, what="the approvers").decode(),
        encode(kept.decisions, what="the decisions of an approval").decode(),
        kept.message,
        kept.asked_at,
        kept.due_at,
    )


def approval(row: Row) -> Approval:
    """What an execution asks, or was told before it asked: a row of KEPT."""
    return Approval(
        step_no=row[0],
        generation=row[1],
        quorum=row[2],
        approvers=_names.decode(row[3]),
        decisions=_decisions.decode(row[4]),
        message=row[5],
        asked_at=row[6],
        due_at=row[7],
    )


def pending(after: PendingApproval | None, limit: int) -> Script[list[PendingApproval]]:
    """What all executions ask, the longest waiting first, after that one."""
    since = 0 if after is None else milliseconds(after.asked_at)
    place = (since, "", "") if after is None else (since, after.execution_id, after.step)
    return [
        PendingApproval(
            execution_id=row[0],
            workflow=row[1],
            state=State(row[2]),
            step=row[3],
            message=row[4],
            approvers=_names.decode(row[5]),
            quorum=row[6],
            decisions=_decisions.decode(row[7]),
            asked_at=moment(row[8]),
            due_at=None if row[9] is None else moment(row[9]),
        )
        for row in (yield PENDING, (since, *place, bounded(limit)))
    ]
