"""Group commit: who shares a transaction, and what each caller hears of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from perdure.actors.kernel import faults
from perdure.actors.kernel.testing import run_virtual
from perdure.actors.writer import BATCH_MAX, RETRY, Writer
from perdure.store.errors import Conflict, OutcomeUnknown, StoreClosed, StoreError, StoreUnavailable
from perdure.store.states import State
from perdure.store.writes import Change, Delta, Renew, Statement, Write


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
        numbers = [write.execution_no if isinstance(write, Change) else write.runner_no for write in writes]
        self.batches.append(numbers)
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return [self.answer(no) for no in numbers]

    async def message(self, no: int) -> None:
        """Reading works."""


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


def with_statement(no: int) -> Change:
    """The change of that execution, with a statement of the user's."""
    return Change(
        execution_no=no,
        execution_id=f"e{no}",
        epoch=1,
        version=1,
        before=State.EXECUTING,
        state=State.EXECUTING,
        at=0,
        delta=Delta(statements=(Statement("DELETE FROM stock"),)),
    )


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


async def test_of_writes_with_statements_each_batch_has_one_and_nobody_else_waits_for_the_others():
    """Each may keep the database busy for half a second; a renewal must not wait for a queue of them."""
    async with writing() as (writer, disk):
        first = write(writer, 0)
        await begun(disk)
        heavy = [asyncio.create_task(writer.write(with_statement(no))) for no in (101, 102, 103)]
        await asyncio.sleep(0)
        renewal = write(writer, 1)
        await asyncio.sleep(0)
        disk.gate.set()
        assert await asyncio.gather(first, *heavy, renewal) == [0, 101, 102, 103, 1]
        assert disk.batches == [[0], [101, 1], [102], [103]]


async def test_everybody_has_an_error_of_their_own():
    """Whoever raises one adds to its traceback."""
    async with writing() as (writer, disk):
        cause = OSError(5, "broken")
        disk.error = StoreError("full")
        disk.error.__cause__ = cause
        disk.gate.set()
        answers = await asyncio.gather(*(write(writer, no) for no in range(3)), return_exceptions=True)
        assert len({id(answer) for answer in answers}) == 3
        assert {(type(answer), str(answer)) for answer in answers} == {(StoreError, "full")}
        assert all(isinstance(answer, StoreError) and answer.__cause__ is cause for answer in answers)


@pytest.mark.parametrize("error", [StoreError("full"), OutcomeUnknown("who knows")])
async def test_a_failed_transaction_is_told_to_everybody_in_it_and_to_nobody_else(error: StoreError):
    """The next batch has its own fate."""
    async with writing() as (writer, disk):
        disk.error = error
        callers = [write(writer, no) for no in range(2)]
        disk.gate.set()
        answers = await asyncio.gather(*callers, return_exceptions=True)
        assert [(type(answer), str(answer)) for answer in answers] == [(type(error), str(error))] * 2
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


class Broken(Disk):
    """A disk that refuses until it is mended; what each try held is in `tries`."""

    def __init__(self, error: StoreError) -> None:
        """Fail with that error while `is_down`."""
        super().__init__()
        self.gate.set()
        self.is_down = True
        self.tries: list[list[int]] = []
        self._why = error

    async def commit(self, writes: Sequence[Write]) -> list[Any]:
        """Refuse, or keep."""
        self.tries.append([write.runner_no for write in writes if isinstance(write, Renew)])
        if self.is_down:
            raise self._why
        return await super().commit(writes)


FULL = StoreUnavailable("x.db: database or disk is full; make room")
PROBE = 99


async def with_broken(play: Callable[[Writer, Broken], Awaitable[None]], error: StoreError = FULL) -> None:
    """Play with a writer on a broken disk; both end with the play."""
    disk = Broken(error)
    writer = Writer(disk)  # type: ignore[arg-type]
    writer.probe_with(lambda: Renew(runner_no=PROBE, at=0))
    async with asyncio.TaskGroup() as group:
        group.create_task(writer.run())
        await play(writer, disk)
        writer.close()


def patient(writer: Writer, no: int) -> asyncio.Task[Any]:
    """Somebody of the machine who writes."""
    return asyncio.create_task(writer.write(Renew(runner_no=no, at=0), is_patient=True))


def test_patient_writes_wait_through_an_outage_in_order_and_happen_once():
    """Their authors are parked, and know of nothing."""

    async def play(writer: Writer, disk: Broken) -> None:
        writes = [patient(writer, no) for no in range(3)]
        await anyio.sleep(60)
        assert not any(each.done() for each in writes)
        disk.is_down = False
        assert await asyncio.gather(*writes) == [0, 1, 2]
        assert disk.batches == [[0, 1, 2]]

    run_virtual(lambda: with_broken(play))


def test_an_impatient_write_is_answered_at_once_and_never_written_later():
    """Whoever was told that nothing was written may ask again, elsewhere, without it happening twice."""

    async def play(writer: Writer, disk: Broken) -> None:
        held = patient(writer, 1)
        await anyio.sleep(1)
        asked_at = asyncio.get_running_loop().time()
        with pytest.raises(StoreUnavailable, match="disk is full"):
            await writer.write(Renew(runner_no=2, at=0))
        assert asyncio.get_running_loop().time() == asked_at
        disk.is_down = False
        await held
        assert disk.batches == [[1]]

    run_virtual(lambda: with_broken(play))


def test_an_impatient_write_ends_an_outage_that_is_over():
    """What people hear is never older than their question."""

    async def play(writer: Writer, disk: Broken) -> None:
        held = patient(writer, 1)
        await anyio.sleep(1_000)
        disk.is_down = False
        assert await writer.write(Renew(runner_no=2, at=0)) == 2
        assert await held == 1
        await writer.reach()

    run_virtual(lambda: with_broken(play))


def test_tries_become_rare_and_are_made_though_nothing_waits():
    """At most one in RETRY.max_s seconds; the last one finds the store in order again."""

    async def play(writer: Writer, disk: Broken) -> None:
        with pytest.raises(StoreUnavailable):
            await writer.write(Renew(runner_no=1, at=0))
        await anyio.sleep(600)
        assert 600 / RETRY.max_s <= len(disk.tries) < 600 / RETRY.max_s + 10
        with pytest.raises(StoreUnavailable):
            await writer.reach()
        disk.is_down = False
        await anyio.sleep(RETRY.max_s)
        assert not writer.outage.is_on
        assert disk.batches == [[PROBE]]

    run_virtual(lambda: with_broken(play))


def test_a_commit_of_unknown_outcome_is_never_tried_again():
    """Its author reads back; those behind it were not touched and may wait."""

    async def play(writer: Writer, disk: Broken) -> None:
        unknown = patient(writer, 1)
        await anyio.sleep(0.01)
        held, asked = patient(writer, 2), write(writer, 3)
        with pytest.raises(OutcomeUnknown):
            await unknown
        answers = await asyncio.gather(asked, return_exceptions=True)
        assert isinstance(answers[0], OutcomeUnknown)  # it was in the very next try
        disk.is_down = False
        with pytest.raises(OutcomeUnknown):
            await held
        assert [batch for batch in disk.tries if 1 in batch] == [[1]]
        assert [batch for batch in disk.tries if 2 in batch] == [[2, 3]]

    run_virtual(lambda: with_broken(play, OutcomeUnknown("the sync failed")))


@pytest.mark.parametrize("error", [FULL, OutcomeUnknown("the sync failed")])
def test_an_outage_is_told_once_when_it_begins_and_once_when_it_ends(error: StoreError, caplog):
    """However many tries and writers there are."""

    async def play(writer: Writer, disk: Broken) -> None:
        held = [patient(writer, no) for no in range(50)]
        for _ in range(50):
            with pytest.raises(StoreError):
                await writer.write(Renew(runner_no=1, at=0))
            await anyio.sleep(1)
        disk.is_down = False
        await asyncio.gather(*held, return_exceptions=True)
        await anyio.sleep(RETRY.max_s)

    run_virtual(lambda: with_broken(play, error))
    assert [record.getMessage().split()[0] for record in caplog.records] == [
        "store_unavailable",
        "store_available",
    ]


def test_a_store_that_flaps_is_not_told_of_ten_times_a_second(caplog):
    """An outage right after another goes on with its pauses."""

    async def play(writer: Writer, disk: Broken) -> None:
        disk.is_down = False
        for _ in range(1_000):
            writer.suspect(FULL)
            await writer.outage.over()
        assert asyncio.get_running_loop().time() > 1_000 * RETRY.max_s * 0.9

    run_virtual(lambda: with_broken(play))


def test_closing_in_an_outage_tries_once_more_and_tells_everybody():
    """A full disk must not keep a process from ending."""

    async def play(writer: Writer, disk: Broken) -> None:
        held = patient(writer, 1)
        await anyio.sleep(30)
        tries = len(disk.tries)
        writer.close()
        with pytest.raises(StoreUnavailable):
            await held
        assert len(disk.tries) == tries + 1

    run_virtual(lambda: with_broken(play))


def test_closing_in_an_outage_tries_nothing_where_nobody_waits():
    """A try may take as long as a lock is waited for; a command line that has its error is done."""

    async def play(writer: Writer, disk: Broken) -> None:
        with pytest.raises(StoreUnavailable):
            await writer.write(Renew(runner_no=1, at=0))
        tries = len(disk.tries)
        writer.close()
        await anyio.sleep(30)
        assert len(disk.tries) == tries

    run_virtual(lambda: with_broken(play))
