"""Takes lines out of the logs of executions that ended a while ago: those that repeat what a table says.

An automatic checkpoint is a row of its own, with its version, time and size; the line in the log beside it
is for those who follow the log while it is written. Once an execution has ended for some time nobody does,
and the line goes. A line stays where it is all that its version has, and where somebody asked for what
it tells. So the log still has every version, and a look back finds what it found before.
"""

from __future__ import annotations

from typing import Final

import msgspec

from perdure.store.script import Many, Script
from perdure.store.states import TERMINAL
from perdure.store.writes import Write

ENDED: Final = ", ".join(f"'{state}'" for state in sorted(TERMINAL))

REACH: Final = "SELECT execution_no FROM workflow_compaction_reach"
LOOK: Final = f"""
SELECT e.no, e.created_at,
       CASE WHEN e.state IN ({ENDED}) AND coalesce(e.finished_at, e.updated_at) < ? THEN 1 ELSE 0 END
FROM workflow_executions e WHERE e.no > ? ORDER BY e.no LIMIT ?
"""
COMPACT: Final = """
DELETE FROM workflow_events WHERE id IN (
    SELECT v.id FROM workflow_deletions d
    CROSS JOIN workflow_events v ON v.execution_no = d.execution_no
    WHERE v.type = 'checkpoint_created' AND v.by IS NULL AND v.command_id IS NULL
      AND EXISTS (SELECT 1 FROM workflow_checkpoints k
                  WHERE k.execution_no = v.execution_no AND k.version = v.version AND k.automatic = 1)
      AND EXISTS (SELECT 1 FROM workflow_events w
                  WHERE w.execution_no = v.execution_no AND w.version = v.version AND w.type <> v.type)
)
"""


class Compact(Write, frozen=True, kw_only=True):
    """Compact the logs of the next `limit` executions, as far as they ended before then.

    Executions are taken in the order of their creation, and each once: one that has not ended by then
    keeps its whole log until it is pruned. Answers `Compacted`.
    """

    before: int
    limit: int


class Compacted(msgspec.Struct, frozen=True):
    """The answer to `Compact`: how many lines went, and whether there is nothing more to look at."""

    events: int
    is_done: bool


def compact(write: Compact) -> Script[Compacted]:
    """Look at the next few; what is younger ends the looking."""
    (reach,) = (yield REACH, ()).fetchone()
    page = (yield LOOK, (write.before, reach, write.limit)).fetchall()
    old = [row for row in page if row[1] < write.before]
    if not old:
        return Compacted(events=0, is_done=True)
    rows = [(no,) for no, _, has_ended in old if has_ended]
    gone = 0
    if rows:
        yield Many("INSERT INTO workflow_deletions (execution_no) VALUES (?)", rows)
        gone = (yield COMPACT, ()).rowcount
        yield Many("DELETE FROM workflow_deletions WHERE execution_no = ?", rows)
    yield "UPDATE workflow_compaction_reach SET execution_no = ?", (old[-1][0],)
    return Compacted(events=gone, is_done=len(old) < len(page) or len(page) < write.limit)


def is_due(before: int) -> Script[bool]:
    """Whether there is an execution so old that has not been looked at."""
    (reach,) = (yield REACH, ()).fetchone()
    first = "SELECT created_at FROM workflow_executions WHERE no > ? ORDER BY no LIMIT 1"
    row = (yield first, (reach,)).fetchone()
    return row is not None and row[0] < before
