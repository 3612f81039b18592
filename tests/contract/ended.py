"""Executions that came to every kind of end, and the views that count them row by row."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from perdure.store.records import WorkflowStatistics
from perdure.store.scripts import tallies
from perdure.store.scripts.faring import ErrorStatistics, StepStatistics
from perdure.store.scripts.rows import milliseconds, moment
from perdure.store.states import TERMINAL, State, StepState

WORKFLOW = tuple(
    name for name in WorkflowStatistics.__struct_fields__ if not name.startswith("duration_ms_p")
)  # of percentiles there is no view
STEP = StepStatistics.__struct_fields__
ERRORS = ErrorStatistics.__struct_fields__
EVER = datetime(1970, 1, 1, tzinfo=UTC)
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
    """The views, which look at every row, say what the statistics say; and so do percentiles of all time."""
    store = book.store
    workflows = await store.statistics()
    assert await _viewed(book, "workflow_statistics", WORKFLOW) == _told(workflows, WORKFLOW)
    steps = await store.step_statistics()
    assert await _viewed(book, "workflow_step_statistics", STEP) == _told(steps, STEP)
    errors = await store.error_statistics()
    assert await _viewed(book, "workflow_error_statistics", ERRORS) == _told(errors, ERRORS)
    with every_row():
        looked_at = await store.statistics(since=EVER)  # which roll-ups cannot answer either
    expected = dict.fromkeys((each.workflow for each in workflows), (None, None))
    expected |= {each.workflow: (each.duration_ms_p50, each.duration_ms_p95) for each in looked_at}
    assert {each.workflow: (each.duration_ms_p50, each.duration_ms_p95) for each in workflows} == expected
    await times_agree(book)


async def times_agree(book: Any) -> None:
    """Statistics of all but the oldest say what a look at every row says."""
    store = book.store
    second = "SELECT created_at FROM workflow_executions ORDER BY created_at LIMIT 1 OFFSET 1"
    for (created_at,) in await book.raw(second):
        since = moment(created_at)
        for ask in (store.statistics, store.step_statistics, store.error_statistics):
            told = await ask(since=since)
            with every_row():
                assert await ask(since=since) == told, (ask.__name__, created_at)


@contextmanager
def every_row() -> Iterator[None]:
    """Let statistics of a stretch of time believe no tally."""
    none = "SELECT block FROM workflow_tallies WHERE block < 0 AND block <> ? AND block <> ?"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tallies, "WHOLE", none)
        yield


async def _viewed(book: Any, view: str, columns: tuple[str, ...]) -> set[tuple[Any, ...]]:
    return {tuple(row) for row in await book.raw(f"SELECT {', '.join(columns)} FROM {view}")}


def _told(statistics: list[Any], columns: tuple[str, ...]) -> set[tuple[Any, ...]]:
    """The same as the views have it, with times in milliseconds."""
    return {tuple(_plain(getattr(each, name)) for name in columns) for each in statistics}


def _plain(value: Any) -> Any:
    return milliseconds(value) if isinstance(value, datetime) else value
