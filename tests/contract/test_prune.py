"""What ended long ago goes, a few at a time; what it tells stays in the statistics."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from ended import LATE, all_kinds, life, views_agree

from perdure.store.schedule_writes import FiringWrite
from perdure.store.scripts import retention
from perdure.store.scripts.retention import Prune
from perdure.store.scripts.rows import milliseconds
from perdure.store.states import State
from perdure.store.writes import DeleteWorkflow

pytestmark = pytest.mark.anyio

EVER = 2**50


async def pruned(book: Any, *, limit: int = 100, before: int = EVER, keep_failed: bool = False) -> list[int]:
    """How many went with each of the prunings that it took."""
    counts, after_no = [], 0
    while True:
        prune = Prune(before=before, limit=limit, after_no=after_no, keep_failed=keep_failed)
        done = await book.write(prune)
        counts.append(done.executions)
        after_no = done.after_no
        if done.is_done:
            return counts


async def ids(book: Any) -> set[str]:
    """What is left."""
    return {one.id for one in await book.store.executions()}


async def test_only_what_has_ended_goes_and_leaves_nothing_behind(book):
    """In any table; what works or rests keeps every row."""
    await all_kinds(book)
    assert await book.store.prunable(before=EVER) == 4
    assert await pruned(book) == [4]
    assert await ids(book) == {"executing", "paused"}
    kept = {(await book.execution(id_)).no for id_ in await ids(book)}
    for table, rows in (await book.facts()).items():
        if table.startswith("workflow_") and "execution_no" in await columns(book, table):
            at = (await columns(book, table)).index("execution_no")
            assert {row[at] for row in rows} <= kept, table
    assert await book.store.verify() == []


async def columns(book: Any, table: str) -> list[str]:
    """The names of a table's columns, in their order."""
    sql = f"SELECT name FROM pragma_table_info('{table}')"
    if "postgres" in book.store.location:
        sql = (
            f"SELECT attname FROM pg_attribute WHERE attrelid = '{table}'::regclass "
            "AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
        )
    return [row[0] for row in await book.raw(sql)]


async def test_a_few_go_at_a_time_and_every_one_goes_in_the_end(book):
    """Each pruning begins where the one before has stopped."""
    for number in range(7):
        await life(book, f"e{number}", State.COMPLETED)
    assert await pruned(book, limit=3) == [3, 3, 1]
    assert await ids(book) == set()


async def test_what_ended_later_than_the_time_stays(book):
    """However early it began: its age counts from its end."""
    await life(book, "old", State.CANCELLED)
    long = await book.start("long")
    time = book.tick()
    await book.move(long, State.CANCELLED, fields={"finished_at": book.tick()})
    await life(book, "new", State.CANCELLED)
    assert await book.store.prunable(before=time) == 1
    assert await pruned(book, before=time) == [1]
    assert await ids(book) == {"long", "new"}


async def test_the_failed_stay_when_they_are_to_be_kept(book):
    """Everything else that ended goes."""
    await all_kinds(book)
    assert await book.store.prunable(before=EVER, keep_failed=True) == 3
    assert await pruned(book, keep_failed=True) == [3]
    assert await ids(book) == {"executing", "paused", "failed"}


async def test_a_child_stays_for_as_long_as_its_parent_is_not_at_its_end(book):
    """Whatever their ages."""
    await life(book, "parent", State.EXECUTING)
    await life(book, "child", State.COMPLETED, parent_id="parent")
    await life(book, "orphan", State.COMPLETED, parent_id="nobody")
    assert await pruned(book) == [1]
    assert await ids(book) == {"parent", "child"}
    parent = await book.execution("parent")
    await book.move(parent, State.CANCELLED, fields={"finished_at": book.tick()})
    assert await pruned(book) == [2]


async def test_statistics_are_the_same_before_and_after(book):
    """But for how many are no longer there, and for the percentiles, which are of those that are."""
    await all_kinds(book)
    late = await book.start("late")
    fields = {"error": LATE, "finished_at": book.tick()}
    await book.move(late, State.FAILED, fields=fields)

    async def told() -> list[Any]:
        workflows = [
            msgspec.structs.replace(one, pruned=0, duration_ms_p50=None, duration_ms_p95=None)
            for one in await book.store.statistics()
        ]
        return [workflows, await book.store.step_statistics(), await book.store.error_statistics()]

    before = await told()
    [order] = await book.store.statistics()
    assert (order.pruned, order.duration_ms_p50, order.duration_ms_p95) == (0, 500, 500)
    step = next(one for one in await book.store.step_statistics() if one.step == "b")
    assert (step.outcomes, step.failed, step.retried, step.retried_completed) == (6, 1, 6, 5)
    assert step.duration_ms_mean == 20
    errors = {(one.step, one.error): one.failures for one in await book.store.error_statistics()}
    assert errors == {("b", "Broken"): 7, ("", "ExecutionTimeout"): 1}
    assert await pruned(book, limit=2) == [2, 2, 1]
    assert await told() == before
    [order] = await book.store.statistics()
    assert (order.pruned, order.duration_ms_p50) == (5, None)
    await life(book, "again", State.FAILED)
    assert await pruned(book) == [1]
    [order] = await book.store.statistics(workflow="order")
    assert (order.executions, order.failed, order.pruned) == (8, 3, 6)


async def told_since(book: Any, since: datetime | None) -> list[Any]:
    """All three kinds of statistics."""
    store = book.store
    return [
        await ask(since=since) for ask in (store.statistics, store.step_statistics, store.error_statistics)
    ]


async def test_statistics_of_a_stretch_of_time_are_of_what_was_created_in_it(book):
    """Of one workflow or of all; what was pruned has no time."""
    await all_kinds(book)
    assert await told_since(book, datetime.fromtimestamp(0, UTC)) == await told_since(book, None)
    then = datetime.fromtimestamp(book.tick() / 1000, UTC)
    assert await told_since(book, then) == [[], [], []]
    await life(book, "late-1", State.FAILED)
    await life(book, "late-2", State.COMPLETED)
    [[order], steps, [error]] = await told_since(book, then)
    assert (order.executions, order.completed, order.failed, order.active) == (2, 1, 1, 0)
    assert (order.success_ratio, order.duration_ms_mean, order.duration_ms_p50) == (0.5, 500, 500)
    assert [(each.step, each.failed, each.failure_ratio) for each in steps] == [("b", 1, 0.5), ("a", 0, 0.0)]
    assert (error.step, error.error, error.failures) == ("b", "Broken", 3)
    assert await book.store.statistics(since=then, workflow="other") == []
    assert await book.store.statistics(since=then, workflow="order") == [order]
    assert sum(await pruned(book)) == 6
    assert await told_since(book, then) == [[], [], []]


async def test_the_views_tell_what_the_statistics_tell(book):
    """Also of what was pruned."""
    await all_kinds(book)
    for _ in range(2):
        await views_agree(book)
        await pruned(book)


async def test_statistics_outlive_the_definition(book):
    """A workflow that is gone with all its executions is still told of."""
    await life(book, "e1", State.COMPLETED)
    assert await pruned(book) == [1]
    await book.write(DeleteWorkflow(name="order", revision="r1"))
    [order] = await book.store.statistics()
    assert (order.workflow, order.completed, order.pruned) == ("order", 1, 1)


async def test_percentiles_are_durations_that_so_many_did_not_exceed(book):
    """Of twenty, the tenth and the nineteenth."""
    for number in range(20):
        execution = await book.start(f"e{number}")
        execution = await book.move(execution, State.AGGREGATING_RESULTS)
        fields = {"started_at": 1_000, "finished_at": 1_001 + number}
        await book.move(execution, State.COMPLETED, fields=fields)
    [order] = await book.store.statistics()
    assert (order.duration_ms_p50, order.duration_ms_p95) == (10, 19)


async def test_pruning_is_due_where_something_is_so_old(book):
    """Never where there is nothing."""
    assert not await book.store.is_pruning_due(before=book.now + 1)
    await book.start("e1")
    first = book.now
    await book.start("e2")
    assert await book.store.is_pruning_due(before=first + 1)
    assert not await book.store.is_pruning_due(before=first)


async def test_of_what_was_taken_over_without_an_end_the_last_change_counts(book):
    """As of executions that an earlier system has left."""
    await life(book, "e1", State.CANCELLED)
    await book.raw("UPDATE workflow_executions SET finished_at = NULL")
    [changed_at] = (await book.raw("SELECT updated_at FROM workflow_executions"))[0]
    assert await pruned(book, before=changed_at) == [0]
    assert await pruned(book) == [1]


async def test_all_lines_of_histories_that_are_so_old_go_and_no_others(book, monkeypatch):
    """However many there are: each pruning takes a few, and the next one goes on."""
    monkeypatch.setattr(retention, "FIRINGS_MAX", 2)
    for id_ in ("nightly", "weekly"):
        await book.write(book.put_schedule(id_))
        firings = [FiringWrite(due_at, "skipped") for due_at in range(1, 6)]
        await book.write(book.move_schedule(*firings, id=id_, at=10))
        await book.write(book.move_schedule(FiringWrite(6, "skipped"), id=id_, version=2, at=20))
    assert len(await pruned(book, before=20)) == 6
    for id_ in ("nightly", "weekly"):
        assert [milliseconds(one.due_at) for one in await book.store.firings(id_)] == [6]
