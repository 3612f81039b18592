"""Messages that a change leaves in the inboxes of other executions."""

from __future__ import annotations

from typing import Final

import msgspec


class PostWrite(msgspec.Struct, frozen=True):
    """Put a message into the inbox of another execution, unless that has ended or does not exist."""

    execution_id: str
    command_id: str
    kind: str
    payload: bytes
    sender: str


# Twice is once; whoever has ended or is gone hears nothing any more.
POST: Final = """
INSERT INTO workflow_messages (execution_no, command_id, kind, payload, sender, created_at)
SELECT e.no, ?, ?, ?, ?, ? FROM workflow_executions e
WHERE e.id = ? AND e.state NOT IN ('completed', 'failed', 'cancelled', 'rolled_back')
ON CONFLICT (execution_no, command_id) DO NOTHING
"""
