"""What has ended is counted once, in blocks, and statistics say what a look at every row says."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from ended import ERROR, all_kinds, life, views_agree

from perdure.store.scripts.retention import Prune
from perdure.store.scripts.rows import milliseconds, moment
from perdure.store.scripts.tallies import BLOCK, RESTS_MAX, Tally
from perdure.store.scripts.versions import MigrateExecution
from perdure.store.states import State, StepState
from perdure.store.writes import DeleteExecution, Delta, EventWrite, UpdateExecution

pytestmark = pytest.mark.anyio

EVER = 2**50
FIRST = Tally(block=0)


async def counted(book: Any) -> int:
    """How many executions are in a tally: only the views look at the rows again."""
    rows = await book.raw("SELECT executions FROM workflow_tallies WHERE executions IS NOT NULL")
    return sum(0 if text == "[]" else 1 for (text,) in rows)


async def rests(book: Any) -> list[str]:
    """The executions of tallied blocks that are in no tally."""
    sql = "SELECT id FROM workflow_executions WHERE no IN (SELECT execution_no FROM workflow_tally_rests)"
    return sorted(id_ for (id_,) in await book.raw(sql))


async def told(book: Any, **of: Any) -> list[Any]:
    """All three kinds of statistics."""
    store = book.store
    return [await ask(**of) for ask in (store.statistics, store.step_statistics, store.error_statistics)]


async def reopened(book: Any, id_: str = "failed") -> None:
    """The execution is tried again."""
    await book.move(await book.execution(id_), State.EXECUTING, fields={"finished_at": None})


async def test_statistics_are_the_same_before_and_after(book):
    """Of all workflows and of one, percentiles and errors included."""
    await all_kinds(book)
    before = await told(book)
    await book.write(FIRST)
    assert await counted(book) == 1
    assert await rests(book) == ["executing", "paused"]
    assert await told(book) == await told(book, workflow="order") == before
    assert await told(book, workflow="other") == [[], [], []]
    await views_agree(book)
    assert await book.store.verify() == []


async def test_what_is_tallied_is_not_looked_at_again(book):
    """Statistics believe the tally: that is what it is for."""
    await all_kinds(book)
    await book.write(FIRST)
    await book.raw(
        "UPDATE workflow_tallies SET executions = '[]', steps = '[]', errors = '[]', durations = '[]'"
    )
    [order] = await book.store.statistics()
    assert (order.executions, order.active, order.duration_ms_p50) == (2, 2, None)


async def test_of_a_stretch_of_time_whole_blocks_are_not_looked_at_either(book):
    """A block with one that is older is counted, row by row; so is what has no tally."""
    await all_kinds(book)
    await book.skip_to(BLOCK)
    await life(book, "second", State.FAILED)
    await book.skip_to(2 * BLOCK)
    await life(book, "third", State.FAILED)
    for block in (0, 1):
        await book.write(Tally(block=block))
    await views_agree(book)
    await book.raw(
        "UPDATE workflow_tallies SET executions = '[]', steps = '[]', errors = '[]', durations = '[]'"
    )
    second, third = await book.execution("second"), await book.execution("third")
    oldest = await book.raw("SELECT min(created_at) FROM workflow_executions")

    async def count(since: int) -> int:
        return sum(each.executions for each in await book.store.statistics(since=moment(since)))

    assert await count(oldest[0][0]) == 2 + 1  # those at work, and the third
    assert await count(oldest[0][0] + 1) == 5 + 1  # the others of a block whose first is older
    assert await count(milliseconds(second.created_at)) == 1
    assert await count(milliseconds(second.created_at) + 1) == 1
    assert await count(milliseconds(third.created_at) + 1) == 0


async def test_what_ends_after_the_tally_is_counted_as_what_it_is(book):
    """And joins the tally when the block is tallied again."""
    await all_kinds(book)
    await book.write(FIRST)
    paused = await book.execution("paused")
    await book.move(paused, State.CANCELLED, fields={"started_at": 5, "finished_at": book.tick()})
    await views_agree(book)
    assert await rests(book) == ["executing", "paused"]
    await book.write(FIRST)
    assert await rests(book) == ["executing"]
    await views_agree(book)


async def test_what_is_reopened_takes_the_tally_of_its_block_away(book):
    """Until the block is tallied again, its rows are counted."""
    await all_kinds(book)
    await book.write(FIRST)
    await reopened(book)
    assert (await counted(book), await rests(book)) == (0, [])
    await views_agree(book)
    await book.write(FIRST)
    assert await rests(book) == ["executing", "failed", "paused"]
    await views_agree(book)


async def test_many_that_are_reopened_at_once_take_it_away_too(book):
    """What is written together is no way around it."""
    ids = [f"e{number}" for number in range(6)]
    for id_ in ids:
        await life(book, id_, State.FAILED)
    await book.write(FIRST)
    again = [book.change(await book.execution(id_), State.EXECUTING) for id_ in ids]
    await book.store.commit(again)
    assert (await counted(book), await rests(book)) == (0, [])
    await views_agree(book)


async def test_what_is_deleted_takes_it_away(book):
    """One by one or by a pruning; the roll-ups have what was pruned."""
    await all_kinds(book)
    await book.write(FIRST)
    await book.write(DeleteExecution(execution_id="cancelled"))
    assert await counted(book) == 0
    await views_agree(book)
    await book.write(FIRST)
    await book.write(Prune(before=EVER, limit=2))
    assert await counted(book) == 0
    await views_agree(book)


async def test_what_moves_to_another_version_takes_it_away(book):
    """Its steps are others from then on."""
    await all_kinds(book)
    await book.write(FIRST)
    failed = await book.execution("failed")
    version = await book.publish(revision="r2")
    move = MigrateExecution(
        execution_id=failed.id,
        version=failed.version,
        workflow_no=version,
        numbers=((0, 0), (1, None), (2, 2)),
        by=None,
        command_id="move",
        data=b"{}",
        at=book.tick(),
    )
    await book.write(move)
    assert await counted(book) == 0
    await views_agree(book)


async def many(book: Any, numbers: range) -> None:
    """Executions that work."""
    await book.publish()
    for start in numbers[::100]:
        await book.store.commit(
            [book.starting(f"e{number}") for number in numbers if 0 <= number - start < 100]
        )


async def end_all(book: Any, *, but: int) -> None:
    """Let all but the last of them come to their end."""
    running = await book.raw("SELECT id FROM workflow_executions WHERE state = 'executing' ORDER BY no")
    ids = [id_ for (id_,) in running]
    changes = [book.change(await book.execution(id_), State.CANCELLED) for id_ in ids[: len(ids) - but]]
    for start in range(0, len(changes), 100):
        await book.store.commit(changes[start : start + 100])


async def test_a_block_is_due_when_it_is_full_and_old_and_as_good_as_ended(book):
    """The rest of the store is counted as it stands."""
    await many(book, range(1, BLOCK))
    time = book.tick()
    assert await book.store.tallies_due(before=EVER) == []
    await many(book, range(BLOCK, BLOCK + 1))
    assert await book.store.tallies_due(before=EVER) == []
    await end_all(book, but=RESTS_MAX + 2)
    assert await book.store.tallies_due(before=EVER) == []
    await end_all(book, but=RESTS_MAX + 1)
    assert await book.store.tallies_due(before=time) == []
    assert await book.store.tallies_due(before=EVER) == [0]
    await book.write(FIRST)
    assert await book.store.tallies_due(before=EVER) == []
    assert len(await rests(book)) == RESTS_MAX
    await views_agree(book)
    await reopened(book, "e1")
    assert await book.store.tallies_due(before=EVER) == []
    await end_all(book, but=RESTS_MAX + 1)
    assert await book.store.tallies_due(before=EVER) == [0]


async def test_what_was_imported_a_moment_ago_makes_no_block_before_it_due(book):
    """It is as old as it says, but somebody may be about to commit a start with a number before its own."""
    await book.start("e1", state=State.CANCELLED)
    time = book.tick()
    await book.skip_to(BLOCK)
    await book.start("e2", state=State.CANCELLED, imported_at=book.tick())
    await book.raw("UPDATE workflow_executions SET created_at = 1 WHERE id = 'e2'")
    assert await book.store.tallies_due(before=time) == []
    assert await book.store.tallies_due(before=EVER) == [0]


async def test_who_tallies_and_who_reopens_at_the_same_time_agree_in_the_end(books):
    """Whoever comes second waits for the other, or sees what the other did."""
    mine, other, _ = books
    for number in range(4):
        await life(mine, f"e{number}", State.FAILED)
    for number in range(24):
        id_ = f"e{number % 4}"
        execution = await mine.execution(id_)
        is_ended = execution.state is State.FAILED
        change = mine.change(
            execution, State.EXECUTING if is_ended else State.FAILED, events=(EventWrite("noted"),)
        )
        await asyncio.gather(other.write(FIRST), mine.write(change), other.write(FIRST))
        await views_agree(mine)


@pytest.mark.parametrize("touch", ["claimed", "prioritized"])
async def test_a_failure_that_tells_no_time_has_that_of_its_execution(book, touch):
    """An imported one may not; so what touches an execution that has ended changes what its block tells."""
    failed = book.attempt(0, StepState.FAILED, error=ERROR)
    await book.start("e1", state=State.FAILED, delta=Delta(attempts=(failed,)), finished_at=book.now)
    await book.write(FIRST)
    if touch == "claimed":
        await book.write(book.claim(await book.execution("e1"), await book.register()))
    else:
        await book.write(UpdateExecution(execution_id="e1", priority=1, at=book.tick()))
    await views_agree(book)


async def test_an_error_may_say_anything(book):
    """Also what no text of a database can hold, as a NUL, in its message or beside it."""
    execution = await book.start()
    error = rb'{"type":"Broken","message":"a \u0000 and a \\u0000","step":"a"}'
    failed = book.attempt(0, StepState.FAILED, is_outcome=True, error=error)
    fields = {"error": error, "finished_at": book.tick()}
    await book.move(execution, State.FAILED, attempts=(failed,), fields=fields)
    late = await book.start("late")
    fields = {"error": rb'{"type":"Late","message":"\u0000"}', "finished_at": book.tick()}
    await book.move(late, State.FAILED, fields=fields)
    before = await told(book)
    assert [(each.step, each.error) for each in before[2]] == [("", "Late"), ("a", "Broken")]
    await book.write(FIRST)
    assert await told(book) == before
    await views_agree(book)
    pruned = await book.write(Prune(before=EVER, limit=9))
    assert pruned.executions == 2
    assert (await told(book))[2] == before[2]
