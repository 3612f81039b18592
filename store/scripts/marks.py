"""Checkpoints that are not needed any more: which there are, and how they go."""

from __future__ import annotations

from typing import Final

from perdure.store.errors import NotFound
from perdure.store.records import Checkpoint, CheckpointStatistics
from perdure.store.script import Script
from perdure.store.scripts import rows
from perdure.store.writes import Write

# What somebody has named, or goes on from, stays whatever is asked for.
REMOVABLE: Final = """
k.automatic = 1 AND k.label IS NULL AND NOT EXISTS (
    SELECT 1 FROM workflow_forks f JOIN workflow_executions e ON e.id = f.source_id
    WHERE e.no = k.execution_no AND f.source_version = k.version)
"""

STATISTICS: Final = """
SELECT count(*), coalesce(sum(automatic), 0), coalesce(sum(CASE WHEN label IS NULL THEN 0 ELSE 1 END), 0),
       coalesce(sum(size_bytes), 0), coalesce(max(size_bytes), 0), min(created_at), max(created_at)
FROM workflow_checkpoints WHERE execution_no = ?
"""


class PruneCheckpoints(Write, frozen=True, kw_only=True):
    """Forget those checkpoints, but for any with a label, made by hand or that a fork builds on.

    Nothing else goes: a checkpoint is a name for a position in the log. Answers how many went.
    Refused: NotFound.
    """

    execution_id: str
    versions: tuple[int, ...]


def prune(write: PruneCheckpoints) -> Script[int]:
    """Delete what may go of the checkpoints named."""
    row = (yield "SELECT no FROM workflow_executions WHERE id = ?", (write.execution_id,)).fetchone()
    if row is None:
        raise NotFound("execution", write.execution_id)
    count = 0
    for version in write.versions:
        gone = yield (
            f"DELETE FROM workflow_checkpoints AS k WHERE execution_no = ? AND version = ? AND {REMOVABLE}",
            (row[0], version),
        )
        count += max(0, gone.rowcount)
    return count


def removable(execution_id: str) -> Script[list[Checkpoint]]:
    """The checkpoints that may be forgotten, newest first."""
    found = yield (
        rows.CHECKPOINT + f"WHERE e.id = ? AND {REMOVABLE} ORDER BY k.version DESC",
        (execution_id,),
    )
    return list(map(rows.checkpoint, found))


def statistics(execution_id: str) -> Script[CheckpointStatistics]:
    """How many checkpoints there are, and how much they stand for. Raises NotFound."""
    row = (yield "SELECT no FROM workflow_executions WHERE id = ?", (execution_id,)).fetchone()
    if row is None:
        raise NotFound("execution", execution_id)
    found = (yield STATISTICS, row).fetchone()
    return CheckpointStatistics(
        execution_id=execution_id,
        count=found[0],
        automatic=int(found[1]),
        labelled=int(found[2]),
        size_bytes=int(found[3]),
        size_bytes_max=int(found[4]),
        first_at=rows.maybe_moment(found[5]),
        last_at=rows.maybe_moment(found[6]),
    )
