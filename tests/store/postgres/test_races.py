"""What looks first and then writes sees what others have written between the two."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from perdure.store.errors import IllegalTransition, NotFound
from perdure.store.postgres import PostgresStore
from perdure.store.schedule_writes import DeleteSchedule, FiringWrite
from perdure.store.scripts.apply import APPLY
from perdure.store.scripts.guards import MoveCircuit
from perdure.store.scripts.queueing import Admit
from perdure.store.scripts.retention import Prune, Pruned
from perdure.store.scripts.versions import MigrateExecution
from perdure.store.states import State
from perdure.store.writes import DeleteExecution, DeleteWorkflow, Place, Write

pytestmark = pytest.mark.anyio

WAITING = "SELECT count(*) FROM pg_stat_activity WHERE pid = ? AND wait_event_type = 'Lock'"
CLAIM = "UPDATE workflow_executions SET epoch = epoch + 1, runner_no = ? WHERE id = 'e1'"
REOPEN = "UPDATE workflow_executions SET state = 'scheduling', runner_no = ? WHERE id = 'e1'"


@pytest.fixture
async def book(postgres_url: str, book_of: Any) -> Any:
    """A book about a store in PostgreSQL."""
    store = PostgresStore(postgres_url)
    await store.open()
    yield book_of(store)
    await store.close()


@pytest.fixture
async def beside(book: Any) -> Any:
    """Answers a write that comes while somebody else, who is not done yet, has written something."""
    other = PostgresStore(f"{book.store._address.dsn}&schema={book.store._address.schema}")
    await other.open()

    async def answer(first: str | Write, write: Write) -> Any:
        await other._writer.simply("BEGIN")
        if isinstance(first, str):
            await other._writer.execute(first, (await book.register(),))
        else:
            await other._writer.run(APPLY[type(first)](first))
        writing = asyncio.create_task(book.answer_to(write))
        async with asyncio.timeout(10):
            while not (await other._readers[0].execute(WAITING, (book.store._writer.pid,))).fetchone()[0]:
                assert not writing.done(), "it did not wait"
        await other._writer.simply("COMMIT")
        return await writing

    for reader in other._readers:
        await reader.open()
    yield answer
    await other.close()


Beside = Callable[[str | Write, Write], Awaitable[Any]]


async def test_an_execution_that_is_claimed_just_now_is_not_moved_to_another_version(
    book: Any, beside: Beside
):
    """It would be owned by a runner that drops it, and performed by nobody."""
    execution = await book.start(state=State.IDLE)
    workflow_no = await book.publish(revision="r2")
    move = MigrateExecution(
        execution_id="e1",
        version=execution.version,
        workflow_no=workflow_no,
        numbers=(),
        by=None,
        command_id="m",
        data=b"{}",
        at=book.tick(),
    )
    assert isinstance(await beside(CLAIM, move), IllegalTransition)
    assert (await book.execution()).workflow_no == execution.workflow_no


async def test_an_execution_that_is_reopened_just_now_is_not_deleted(book: Any, beside: Beside):
    """Nor pruned: it is at work again."""
    await book.move(await book.start(), State.FAILED)
    assert isinstance(await beside(REOPEN, DeleteExecution(execution_id="e1")), IllegalTransition)
    assert (await book.execution()).state is State.SCHEDULING


async def test_an_execution_that_is_reopened_just_now_is_not_pruned(book: Any, beside: Beside):
    """However old it is."""
    await book.move(await book.start(), State.FAILED)
    pruned = await beside(REOPEN, Prune(before=2**50, limit=10))
    assert isinstance(pruned, Pruned)
    assert pruned.executions == 0
    assert (await book.execution()).state is State.SCHEDULING


@pytest.mark.parametrize("is_known", [False, True])
async def test_of_two_who_admit_at_once_the_second_sees_whom_the_first_has_admitted(
    book: Any, beside: Beside, *, is_known: bool
):
    """Whether or not there was a row to hold, as an earlier release has left one for each queue."""
    for id_ in ("e1", "e2"):
        await book.start(id_, state=State.IDLE, place=Place("q", 1))
    if is_known:
        await book.write(MoveCircuit(scope="queue q", version=0, circuit=b"{}", at=book.tick()))
    first = Admit(queue="q", at=book.tick())
    assert await beside(first, Admit(queue="q", at=book.tick())) is None
    assert [execution.id for execution in await book.store.claimable(limit=9)] == ["e1"]


async def test_a_message_for_what_is_deleted_just_now_finds_nobody(book: Any, beside: Beside):
    """As it would a moment later."""
    await book.move(await book.start(), State.FAILED)
    assert isinstance(await beside(DeleteExecution(execution_id="e1"), book.post()), NotFound)


async def test_a_revision_that_is_used_just_now_is_not_deleted(book: Any, beside: Beside):
    """The refusal says by how many."""
    await book.publish()
    refusal = await beside(book.starting(), DeleteWorkflow(name="order", revision="r1"))
    assert isinstance(refusal, IllegalTransition)
    assert "used by 1 execution" in str(refusal)


async def test_a_schedule_that_fires_just_now_is_deleted_with_what_it_has_fired(book: Any, beside: Beside):
    """Whoever deletes it need not try again."""
    await book.write(book.put_schedule())
    fires = book.move_schedule(FiringWrite(2_000, "skipped"))
    assert await beside(fires, DeleteSchedule(id="nightly")) is None
    assert await book.store.schedule("nightly") is None
