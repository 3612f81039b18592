"""Executions that came to every kind of end, and the views that count them row by row."""

from __future__ import annotations

from typing import Any

import msgspec

from perdure.store.scripts.faring import StepStatistics
from perdure.store.states import TERMINAL, State, StepState

SAME = (
    "executions",
    "completed",
    "failed",
    "cancelled",
    "active",
    "success_ratio",
    "duration_ms_mean",
    "duration_ms_min",
    "duration_ms_max",
    "rolled_back",
    "pruned",
)
ERROR = b'{"type":"Broken","message":"it broke","step":"b"}'
LATE = b'{"type":"ExecutionTimeout","message":"too late"}'


async def life(book: Any, id_: str, end: State, **fields: Any) -> None:
    """An execution whose step b is tried twice, and that comes to that end."""
    execution = await book.start(id_, **fields)
    failed = book.attempt(1, StepState.FAILED, error=ERROR, started_at=5, finished_at=9)
    execution = await book.move(execution, attempts=(book.outcome(0, started_at=10, finished_at=40), failed))
    second = book.outcome(1, attempt=2, started_at=10, finished_at=30)
    if end is State.FAILED:
        second = book.attempt(1, StepState.FAILED, attempt=2, is_outcome=True, error=ERROR, finished_at=9)
    execution = await book.move(execution, attempts=(second,))
    before = {State.COMPLETED: State.AGGREGATING_RESULTS, State.ROLLED_BACK: State.COMPENSATING}.get(end)
    if before is not None:
        execution = await book.move(execution, before)
    if end in TERMINAL:
        now = book.tick()
        await book.move(execution, end, fields={"started_at": now - 500, "finished_at": now})


async def all_kinds(book: Any) -> None:
    """One of each end, one that works, one that is paused."""
    for end in (*sorted(TERMINAL), State.EXECUTING, State.PAUSED):
        await life(book, str(end), end)
    await book.move(await book.execution("paused"), State.PAUSED)


async def views_agree(book: Any) -> None:
    """The views, which look at every row, say what the statistics say of one workflow."""
    [order] = await book.store.statistics()
    [[view]] = [await book.raw(f"SELECT {', '.join(SAME)} FROM workflow_statistics")]
    assert tuple(view) == tuple(getattr(order, name) for name in SAME)
    steps = await book.store.step_statistics()
    views = await book.raw(
        f"SELECT {', '.join(StepStatistics.__struct_fields__)} FROM workflow_step_statistics"
    )
    assert {tuple(view) for view in views} == {msgspec.structs.astuple(each) for each in steps}
    errors = await book.store.error_statistics()
    views = await book.raw("SELECT step, error, failures FROM workflow_error_statistics")
    assert {tuple(view) for view in views} == {(each.step, each.error, each.failures) for each in errors}
