"""Group commit: who shares a transaction, and what each caller hears of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from perdure.actors.kernel import faults
from perdure.actors.writer import BATCH_MAX, Writer
from perdure.store.errors import Conflict, OutcomeUnknown, StoreClosed, StoreError
from perdure.store.writes import Renew, Write


class Disk:
    """A store whose commits take until they are let through."""

    def __init__(self) -> None:
        """Commits wait for `gate`; `answer` gives each write its answer."""
        self.batches: list[list[int]] = []
        self.gate = asyncio.Event()
        self.answer: Callable[[int], Any] = lambda no: no
        self.error: BaseException | None = None

    async def commit(self, writes: Sequence[Write]) -> list[Any]:
        """Keep the batch."""
        numbers = [write.runner_no for write in writes if isinstance(write, Renew)]
        self.batches.append(numbers)
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return [self.answer(no) for no in numbers]


@asynccontextmanager
async def writing() -> AsyncIterator[tuple[Writer, Disk]]:
    """A running writer on a disk; closed in the end."""
    disk = Disk()
    writer = Writer(disk)  # type: ignore[arg-type]
    async with asyncio.TaskGroup() as group:
        group.create_task(writer.run())
        await asyncio.sleep(0)
        yield writer, disk
        disk.gate.set()
        writer.close()


def write(writer: Writer, no: int) -> asyncio.Task[Any]:
    """Somebody who writes."""
    return asyncio.create_task(writer.write(Renew(runner_no=no, at=0)))


async def begun(disk: Disk, batches: int = 1) -> None:
    """Wait until that many commits were begun."""
    async with asyncio.timeout(5):
        while len(disk.batches) < batches:  # noqa: ASYNC110 - the loop itself has to go on
            await asyncio.sleep(0)


async def test_at_rest_a_write_is_committed_at_once():
    """It waits for no company."""
    async with writing() as (writer, disk):
        disk.gate.set()
        assert await write(writer, 7) == 7
        assert disk.batches == [[7]]


async def test_what_queues_during_a_commit_shares_the_next_one_in_order():
    """The batch grows by itself under load."""
    async with writing() as (writer, disk):
        first = write(writer, 0)
        await begun(disk)
        others = [write(writer, no) for no in range(1, 6)]
        await asyncio.sleep(0)
        disk.gate.set()
        assert await asyncio.gather(first, *others) == [0, 1, 2, 3, 4, 5]
        assert disk.batches == [[0], [1, 2, 3, 4, 5]]


async def test_a_batch_is_bounded():
    """The first of a flood does not wait for the last."""
    async with writing() as (writer, disk):
        first = write(writer, 0)
        await begun(disk)
        flood = [write(writer, no) for no in range(BATCH_MAX + 1)]
        await asyncio.sleep(0)
        disk.gate.set()
        await asyncio.gather(first, *flood)
        assert [len(batch) for batch in disk.batches] == [1, BATCH_MAX, 1]


async def test_a_refusal_reaches_only_its_caller():
    """Neighbours of a batch do not know each other."""
    async with writing() as (writer, disk):
        disk.answer = lambda no: Conflict("x", expected=1, current=2) if no == 1 else no
        callers = [write(writer, no) for no in range(3)]
        disk.gate.set()
        answers = await asyncio.gather(*callers, return_exceptions=True)
        assert (answers[0], answers[2]) == (0, 2)
        assert isinstance(answers[1], Conflict)


async def test_the_write_of_a_cancelled_caller_still_happens():
    """Only the wait is given up."""
    async with writing() as (writer, disk):
        blocking = write(writer, 0)
        await begun(disk)
        impatient, patient = write(writer, 1), write(writer, 2)
        await asyncio.sleep(0)
        impatient.cancel()
        disk.gate.set()
        assert await patient == 2
        await blocking
        assert disk.batches == [[0], [1, 2]]
        assert impatient.cancelled()


@pytest.mark.parametrize("error", [StoreError("full"), OutcomeUnknown("who knows")])
async def test_a_failed_transaction_is_told_to_everybody_in_it_and_to_nobody_else(error: StoreError):
    """The next batch has its own fate."""
    async with writing() as (writer, disk):
        disk.error = error
        callers = [write(writer, no) for no in range(2)]
        disk.gate.set()
        answers = await asyncio.gather(*callers, return_exceptions=True)
        assert answers == [error, error]
        disk.error = None
        assert await write(writer, 9) == 9


async def test_closing_commits_what_is_queued_and_takes_nothing_more():
    """What was asked for before happens."""
    async with writing() as (writer, disk):
        blocking = write(writer, 0)
        await begun(disk)
        queued = write(writer, 1)
        await asyncio.sleep(0)
        writer.close()
        disk.gate.set()
        assert await asyncio.gather(blocking, queued) == [0, 1]
        with pytest.raises(StoreClosed):
            await writer.write(Renew(runner_no=2, at=0))


async def test_a_writer_at_rest_ends_when_it_is_closed():
    """There is nothing to wait for."""
    async with asyncio.timeout(5), writing():
        pass


async def test_a_writer_that_is_stopped_leaves_nobody_waiting():
    """Those in the middle of a commit cannot know; the others can."""
    disk = Disk()
    writer = Writer(disk)  # type: ignore[arg-type]
    run = asyncio.create_task(writer.run())
    committing = write(writer, 0)
    await begun(disk)
    queued = write(writer, 1)
    await asyncio.sleep(0)
    run.cancel()
    answers = await asyncio.wait_for(asyncio.gather(committing, queued, return_exceptions=True), 5)
    assert isinstance(answers[0], OutcomeUnknown)
    assert isinstance(answers[1], StoreClosed)
    assert not isinstance(answers[1], OutcomeUnknown)
    with pytest.raises(StoreClosed):
        await writer.write(Renew(runner_no=2, at=0))


async def test_a_fault_that_is_no_store_error_ends_the_writer_and_is_told():
    """A broken invariant must not look like a slow disk."""
    disk = Disk()
    disk.error = AssertionError("a bug")
    disk.gate.set()
    writer = Writer(disk)  # type: ignore[arg-type]
    run = asyncio.create_task(writer.run())
    with pytest.raises(OutcomeUnknown):
        await write(writer, 0)
    with pytest.raises(AssertionError):
        await run


async def test_a_fault_before_the_commit_keeps_the_writes_from_the_store():
    """What the hook raises is what the caller hears, and nothing was written."""

    def fail(point: str) -> None:
        if point == "commit:before":
            raise StoreError("disk full")

    async with writing() as (writer, disk):
        disk.gate.set()
        with faults.installed(fail), pytest.raises(StoreError, match="disk full"):
            await write(writer, 1)
        assert disk.batches == []
        assert await write(writer, 2) == 2


async def test_a_fault_after_the_commit_hides_that_it_happened():
    """The commit of unknown outcome, as a test makes it."""

    def forget(point: str) -> None:
        if point == "commit:after":
            raise OutcomeUnknown("the line went dead")

    async with writing() as (writer, disk):
        disk.gate.set()
        with faults.installed(forget), pytest.raises(OutcomeUnknown):
            await write(writer, 1)
        assert disk.batches == [[1]]
