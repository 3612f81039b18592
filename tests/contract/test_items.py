"""Loops and their items: kept with their counts, read in pages, and what a death counts for."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from perdure.store.fanout import ItemWrite, LoopWrite, PageWrite
from perdure.store.records import PAYLOAD_BYTES_MAX
from perdure.store.states import State, StepState
from perdure.store.writes import AttemptWrite, Change, Claim, DeleteExecution, Delta, Deregister

pytestmark = pytest.mark.anyio

COUNTS = {"total": 5, "begun": 0, "completed": 0, "failed": 0, "output_bytes": 0}


def loop(*, pages: tuple[bytes, ...] | None = None, lineage: int = 0, **counts: int) -> LoopWrite:
    """A loop of step 0 over five items."""
    written = None if pages is None else tuple(map(PageWrite, pages))
    return LoopWrite(step_no=0, lineage=lineage, pages=written, **(COUNTS | counts))


def item(no: int, state: StepState, *, is_new: bool = False, is_open: bool = True, **more: Any) -> ItemWrite:
    """One of its items."""
    usual = {"lineage": 0, "generation": 0, "attempt": 1}
    return ItemWrite(step_no=0, item=no, state=state, is_new=is_new, is_open=is_open, **(usual | more))


async def change(book: Any, delta: Delta, *, state: State = State.EXECUTING) -> None:
    """Move the execution on by one version."""
    execution = await book.execution()
    await book.write(
        Change(
            execution_no=execution.no,
            execution_id=execution.id,
            epoch=execution.epoch,
            version=execution.version,
            before=execution.state,
            state=state,
            at=1,
            delta=delta,
        )
    )


async def begin(book: Any) -> None:
    """Two items in flight, of a list of five."""
    await book.start()
    running = [item(no, StepState.RUNNING, is_new=True, started_at=5) for no in (0, 1)]
    delta = Delta(
        attempts=(AttemptWrite(0, 0, 1, 0, None, StepState.RUNNING),),
        loops=(loop(pages=(b'["a","b","c"]', b'["d","e"]'), begun=2),),
        items=tuple(running),
    )
    await change(book, delta)


async def test_a_loop_is_kept_with_what_it_goes_over_and_what_is_open(book):
    """As the next owner needs it."""
    await begin(book)
    done = item(0, StepState.COMPLETED, is_open=False, output=b'{"x":1}', finished_at=6)
    waits = item(1, StepState.WAITING, attempt=2, due_at=9, error=b'{"type":"E","message":"m"}')
    await change(book, Delta(loops=(loop(begun=2, completed=1, output_bytes=7),), items=(done, waits)))
    [kept] = (await book.store.load("e1")).loops
    assert (kept.step_no, kept.total, kept.begun, kept.completed, kept.output_bytes) == (0, 5, 2, 1, 7)
    assert kept.pages == (b'["a","b","c"]', b'["d","e"]')
    assert kept.outputs == ((0, b'{"x":1}'),)
    [still_open] = kept.open
    assert (still_open.item, still_open.attempt, still_open.state, still_open.due_at) == (1, 2, "waiting", 9)
    assert msgspec.json.decode(still_open.error) == {"type": "E", "message": "m"}
    [shown] = await book.store.loops("e1")
    assert (shown.step, shown.begun, shown.completed) == ("a", 2, 1)


async def test_outputs_are_not_read_where_they_are_too_much_for_one_list(book):
    """A million of them would be read for nothing."""
    await begin(book)
    done = item(0, StepState.COMPLETED, is_open=False, output=b"1")
    await change(
        book, Delta(loops=(loop(begun=2, completed=1, output_bytes=PAYLOAD_BYTES_MAX),), items=(done,))
    )
    [kept] = (await book.store.load("e1")).loops
    assert kept.outputs == ()


async def test_the_loop_of_a_step_that_has_completed_or_begun_anew_is_not_given_to_the_next_owner(book):
    """It is over; its items can be read."""
    await begin(book)
    again = AttemptWrite(0, 1, 1, 1, None, StepState.PENDING)
    await change(book, Delta(attempts=(again,)))
    assert (await book.store.load("e1")).loops == ()
    assert len(await book.store.items("e1", "a")) == 2


async def test_items_are_read_in_pages(book):
    """In their order, and those that failed by themselves."""
    await begin(book)
    failed = item(1, StepState.FAILED, is_open=False, error=b'{"type":"E","message":"m"}', finished_at=8)
    await change(book, Delta(loops=(loop(begun=2, failed=1),), items=(failed,)))
    items = await book.store.items("e1", "a", limit=1)
    assert [(each.item, each.state, each.started_at is not None) for each in items] == [(0, "running", True)]
    [after] = await book.store.items("e1", "a", after=0)
    assert (after.item, after.state, after.error.message) == (1, "failed", "m")
    assert [each.item for each in await book.store.items("e1", "a", failed=True)] == [1]
    assert await book.store.items("e1", "b") == []
    assert await book.store.items("e1", "a", lineage=1) == []


async def test_deaths_count_for_items_and_not_for_the_step_that_goes_over_them(book):
    """`alone` means that no other body ran in that process."""
    await begin(book)
    for round_ in (1, 2):
        runner_no = await book.register(f"runner-{round_}")
        execution = await book.execution()
        claim = {"execution_no": execution.no, "execution_id": "e1", "epoch": execution.epoch}
        await book.write(Claim(runner_no=runner_no, at=1, **claim))
        if round_ == 2:
            pending = item(0, StepState.PENDING)
            await change(book, Delta(loops=(loop(begun=2),), items=(pending,)))
        await book.write(Deregister(runner_no=runner_no, died=True))
        loaded = await book.store.load("e1")
        assert [attempt.deaths for attempt in loaded.attempts] == [0]
        expected = [(1, False), (1, False)] if round_ == 1 else [(1, False), (2, True)]
        assert [(each.deaths, each.alone) for each in loaded.loops[0].open] == expected
    [suspect] = await book.store.suspects(deaths=2, limit=10)
    assert (suspect.execution_id, suspect.deaths, suspect.steps) == ("e1", 2, 1)
    anew = item(1, StepState.RUNNING, generation=1)
    await change(book, Delta(loops=(loop(begun=2),), items=(anew,)))
    assert [each.deaths for each in (await book.store.load("e1")).loops[0].open] == [1, 0]


async def test_items_go_with_their_execution(book):
    """Nothing of a deleted one is left."""
    await begin(book)
    await change(book, Delta(), state=State.CANCELLING)
    await change(book, Delta(), state=State.CANCELLED)
    await book.write(DeleteExecution(execution_id="e1"))
    assert await book.store.items("e1", "a") == []
    assert await book.store.loops("e1") == []
