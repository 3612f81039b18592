"""Loops and their items: the scripts that keep them, and that read them back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from perdure.store.fanout import ItemWrite, KeptLoop, Loop, LoopWrite, OpenItem, fits
from perdure.store.records import Attempt, Error, Record
from perdure.store.script import Many, Script, Several
from perdure.store.scripts.pages import bounded
from perdure.store.scripts.rows import Row, error_of, maybe_moment
from perdure.store.states import StepState


class Item(Record, frozen=True, kw_only=True):
    """One item of a loop that has begun, as its last attempt left it; `item` counts from 0."""

    item: int
    generation: int
    attempt: int
    state: StepState
    started_at: datetime | None
    finished_at: datetime | None
    due_at: datetime | None
    deaths: int
    error: Error | None
    output: msgspec.Raw | None


INSERT_LOOP: Final = """
INSERT INTO workflow_loops (execution_no, step_no, lineage, total, begun, completed, failed, output_bytes)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""

MOVE_LOOP: Final = """
UPDATE workflow_loops SET begun = ?, completed = ?, failed = ?, output_bytes = ?
WHERE execution_no = ? AND step_no = ? AND lineage = ?
"""

INSERT_PAGE: Final = """
INSERT INTO workflow_loop_pages (execution_no, step_no, lineage, page, items) VALUES (?, ?, ?, ?, ?)
"""

INSERT_ITEM: Final = """
INSERT INTO workflow_items (generation, attempt, state, is_open, started_at, finished_at, due_at, error,
    output, execution_no, step_no, lineage, item)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""

# Deaths count within a generation, as those of a step do.
MOVE_ITEM: Final = """
UPDATE workflow_items
SET deaths = CASE generation WHEN ? THEN deaths ELSE 0 END, generation = ?, attempt = ?, state = ?,
    is_open = ?, started_at = coalesce(?, started_at), finished_at = ?, due_at = ?, error = ?, output = ?
WHERE execution_no = ? AND step_no = ? AND lineage = ? AND item = ?
"""


def write(no: int, loops: Iterable[LoopWrite], items: Sequence[ItemWrite]) -> Script[None]:
    """Keep how far loops have come, and their items."""
    for loop in loops:
        key = (no, loop.step_no, loop.lineage)
        counts = (loop.begun, loop.completed, loop.failed, loop.output_bytes)
        if loop.pages is None:
            yield MOVE_LOOP, (*counts, *key)
            continue
        yield INSERT_LOOP, (*key, loop.total, *counts)
        if loop.pages:
            yield Many(INSERT_PAGE, [(*key, no, page.payload.decode()) for no, page in enumerate(loop.pages)])
    inserted = [(each.generation, *_values(no, each)) for each in items if each.is_new]
    moved = [(each.generation, each.generation, *_values(no, each)) for each in items if not each.is_new]
    if inserted:
        yield Many(INSERT_ITEM, inserted)
    if moved:
        yield Many(MOVE_ITEM, moved)


def _values(no: int, item: ItemWrite) -> tuple[Any, ...]:
    return (
        item.attempt,
        item.state,
        int(item.is_open),
        item.started_at,
        item.finished_at,
        item.due_at,
        None if item.error is None else item.error.decode(),
        None if item.output is None else item.output.decode(),
        no,
        item.step_no,
        item.lineage,
        item.item,
    )


LOOPS: Final = """
SELECT l.step_no, l.lineage, l.total, l.begun, l.completed, l.failed, l.output_bytes
FROM workflow_loops l WHERE l.execution_no = {execution} ORDER BY l.step_no, l.lineage
"""

PAGES: Final = """
SELECT items FROM workflow_loop_pages WHERE execution_no = ? AND step_no = ? AND lineage = ? ORDER BY page
"""

OPEN: Final = """
SELECT item, generation, attempt, state, due_at, deaths, alone, error FROM workflow_items
WHERE execution_no = ? AND step_no = ? AND lineage = ? AND is_open = 1 ORDER BY item
"""

OUTPUTS: Final = """
SELECT item, output FROM workflow_items
WHERE execution_no = ? AND step_no = ? AND lineage = ? AND state = 'completed' ORDER BY item
"""


def kept(
    execution_no: int, loops: Iterable[Row], attempts: Iterable[Attempt]
) -> Script[tuple[KeptLoop, ...]]:
    """The loops (rows of LOOPS) that have not come to their end: those of the newest lineage of a step."""
    newest = {attempt.step_no: attempt for attempt in attempts}
    found = []
    for row in loops:
        attempt = newest.get(row[0])
        lineage, state = (0, None) if attempt is None else (attempt.lineage, attempt.state)
        if row[1] == lineage and state is not StepState.COMPLETED:
            found.append((yield from _kept(execution_no, row)))
    return tuple(found)


def _kept(execution_no: int, row: Sequence[Any]) -> Script[KeptLoop]:
    key = (execution_no, row[0], row[1])
    with_outputs = fits(total=row[2], output_bytes=row[6])
    asked = (PAGES, OPEN, OUTPUTS) if with_outputs else (PAGES, OPEN)
    pages, still_open, *outputs = yield Several([(question, key) for question in asked])
    return KeptLoop(
        step_no=row[0],
        lineage=row[1],
        total=row[2],
        begun=row[3],
        completed=row[4],
        failed=row[5],
        output_bytes=row[6],
        pages=tuple(text.encode() for (text,) in pages),
        open=tuple(_open_item(each) for each in still_open),
        outputs=tuple((item, output.encode()) for rows in outputs for item, output in rows),
    )


def _open_item(row: Sequence[Any]) -> OpenItem:
    return OpenItem(
        item=row[0],
        generation=row[1],
        attempt=row[2],
        state=StepState(row[3]),
        due_at=row[4],
        deaths=row[5],
        alone=row[6] == 1,
        error=None if row[7] is None else row[7].encode(),
    )


LOOPS_SHOWN: Final = """
SELECT s.key, l.lineage, l.total, l.begun, l.completed, l.failed, l.output_bytes
FROM workflow_loops l
JOIN workflow_executions e ON e.no = l.execution_no
JOIN workflow_steps s ON s.workflow_no = e.workflow_no AND s.no = l.step_no
WHERE e.id = ? ORDER BY l.step_no, l.lineage
"""

ITEMS: Final = """
SELECT i.item, i.generation, i.attempt, i.state, i.started_at, i.finished_at, i.due_at, i.deaths, i.error,
       i.output
FROM workflow_items i
WHERE i.execution_no = (SELECT no FROM workflow_executions WHERE id = ?)
  AND i.step_no = (SELECT s.no FROM workflow_executions e
                   JOIN workflow_steps s ON s.workflow_no = e.workflow_no WHERE e.id = ? AND s.key = ?)
  AND i.lineage = ? AND i.item > ?{failed} ORDER BY i.item LIMIT ?
"""


def loops(execution_id: str) -> Script[list[Loop]]:
    """The loops of an execution, of each step the newest."""
    newest = {
        row[0]: Loop(
            step=row[0],
            lineage=row[1],
            total=row[2],
            begun=row[3],
            completed=row[4],
            failed=row[5],
            output_bytes=row[6],
        )
        for row in (yield LOOPS_SHOWN, (execution_id,))
    }
    return list(newest.values())


def items(
    execution_id: str, step: str, *, lineage: int, after: int, limit: int, failed: bool
) -> Script[list[Item]]:
    """A page of the items of one step that have begun, in order."""
    query = ITEMS.format(failed=" AND i.state = 'failed'" if failed else "")
    found = yield query, (execution_id, execution_id, step, lineage, after, bounded(limit))
    return [
        Item(
            item=row[0],
            generation=row[1],
            attempt=row[2],
            state=StepState(row[3]),
            started_at=maybe_moment(row[4]),
            finished_at=maybe_moment(row[5]),
            due_at=maybe_moment(row[6]),
            deaths=row[7],
            error=error_of(row[8]),
            output=None if row[9] is None else msgspec.Raw(row[9].encode()),
        )
        for row in found
    ]
