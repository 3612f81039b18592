"""What becomes of a batch on SQLite when the file, and not a write, is at fault."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from perdure.store import SQLiteStore
from perdure.store.errors import DuplicateCommand, OutcomeUnknown, StoreError, StoreLocked, StoreUnavailable
from perdure.store.fanout import ItemWrite
from perdure.store.sqlite import batch
from perdure.store.sqlite.connection import Link
from perdure.store.sqlite.migrate import migrate
from perdure.store.states import StepState
from perdure.store.writes import Changed, Delta, EventWrite, Release, Started

pytestmark = pytest.mark.anyio


async def test_a_full_disk_refuses_the_whole_batch_and_the_store_goes_on(open_store, book_of):
    """Nothing of it was written; once there is room, the same batch is."""
    store = await open_store(inline=True)
    book = book_of(store)
    execution = await book.start()
    small = book.change(execution)
    large = book.starting("e2", context=b'"' + b"x" * 500_000 + b'"')
    await book.raw("PRAGMA max_page_count = 60")
    facts = await book.facts()
    with pytest.raises(StoreError, match="the disk is full: make room"):
        await store.commit([small, large])
    assert await book.facts() == facts
    assert [type(answer) for answer in await store.commit([small, large])] == [Changed, Started]
    await store.close()


async def test_a_locked_file_is_told_within_the_wait_and_nothing_is_changed(open_store, book_of, outsider):
    """The wait is the caller's to choose; here there is none."""
    store = await open_store(lock_wait_s=0.0)
    book = book_of(store)
    execution = await book.start()
    other = outsider()
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreLocked, match="is locked by"):
        await store.commit([book.change(execution)])
    assert await book.execution() == execution
    other.execute("ROLLBACK")
    other.close()
    assert (await book.move(execution)).version == 2
    await store.close()


def disk_error(code: int) -> sqlite3.OperationalError:
    """What SQLite raises for that result code."""
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = code
    return error


class FailingCommit(sqlite3.Connection):
    """A connection whose commits fail as `plan` says; each list entry is one commit."""

    plan: list[str] = []  # noqa: RUF012  one for all connections: it must outlive each of them
    opened = 0

    def __init__(self, *args, **kwargs) -> None:
        """Count the connections."""
        super().__init__(*args, **kwargs)
        type(self).opened += 1

    def execute(self, sql, parameters=()):
        """Fail a commit before or after it happens."""
        if sql != "COMMIT" or not self.plan:
            return super().execute(sql, parameters)
        match self.plan.pop(0):
            case "full":
                raise disk_error(sqlite3.SQLITE_FULL)
            case "sync failed":
                raise disk_error(sqlite3.SQLITE_IOERR_FSYNC)
            case "constraint":
                raise disk_error(sqlite3.SQLITE_CONSTRAINT)
            case "done, but not told":
                super().execute(sql, parameters)
                raise disk_error(sqlite3.SQLITE_IOERR)
            case _:
                return super().execute(sql, parameters)


@pytest.fixture
def link(path: str):
    """A link to a file store on failing connections."""
    FailingCommit.plan.clear()
    FailingCommit.opened = 0
    link = Link(path, pragmas=("PRAGMA journal_mode = WAL",), lock_wait_s=0.0, factory=FailingCommit)
    migrate(link.connection, path)
    link.connection.execute(
        "INSERT INTO workflows (no, name, revision, tags, definition, steps_total, is_active, created_at) "
        "VALUES (1, 'order', 'r1', '[]', '{}', 3, 1, 0)"
    )
    yield link
    link.close()


def ids(link: Link) -> list[str]:
    """The executions that are really there."""
    return [id_ for (id_,) in link.connection.execute("SELECT id FROM workflow_executions ORDER BY no")]


@pytest.fixture
def starting(book_of):
    """A write that starts an execution of the one workflow there is."""
    book = book_of(None)
    book.workflow_no = 1
    return book.starting


@pytest.mark.parametrize(
    ("failure", "error", "there"),
    [
        ("full", StoreUnavailable, []),
        ("sync failed", OutcomeUnknown, []),
        ("done, but not told", OutcomeUnknown, ["e1"]),
    ],
)
def test_a_commit_that_fails_is_never_called_done_and_never_tried_again(
    link: Link, starting, failure: str, error: type[Exception], there: list[str]
):
    """Where it cannot be told whether it happened, that is said; the connection is a new one."""
    FailingCommit.plan[:] = [failure]
    before = FailingCommit.opened
    with pytest.raises(error) as raised:
        batch.commit(link, [starting("e1")])
    assert type(raised.value) is error
    assert ids(link) == there
    assert FailingCommit.opened == before + 1
    assert len(batch.commit(link, [starting("e2")])) == 1
    assert ids(link) == [*there, "e2"]


def test_a_commit_of_unknown_outcome_is_so_for_a_batch_that_is_taken_apart(link: Link, starting):
    """Whoever waits for it has to look; an answer to one of its writes would pass for a refusal."""
    FailingCommit.plan[:] = ["constraint", "well", "done, but not told"]
    with pytest.raises(OutcomeUnknown):
        batch.commit(link, [starting("e1"), starting("e2"), starting("e3")])
    assert ids(link) == ["e1", "e2"]


def test_a_broken_promise_inside_a_write_undoes_the_batch(link: Link, starting, monkeypatch):
    """An error that is nobody's refusal is raised as it is, and nothing of the batch stays."""

    def broken(write: Release) -> None:
        raise AssertionError("broken")

    monkeypatch.setitem(batch.APPLY, Release, broken)
    with pytest.raises(AssertionError, match="broken"):
        batch.commit(link, [starting("e1"), Release(execution_no=1, epoch=1)])
    assert ids(link) == []


def test_who_keeps_a_refusal_does_not_keep_the_file_open(link: Link, starting, path: str):
    """The last to let go of a file takes its log away."""
    item = ItemWrite(
        step_no=0,
        lineage=0,
        item=0,
        generation=0,
        attempt=1,
        state=StepState.RUNNING,
        is_new=True,
        is_open=True,
    )
    twice = (EventWrite("paused", command_id="c1"), EventWrite("resumed", command_id="c1"))
    [refusal] = batch.commit(link, [starting("e1", delta=Delta(items=(item,), events=twice))])
    link.close()
    assert isinstance(refusal, DuplicateCommand)
    assert not Path(f"{path}-wal").exists()


def test_a_store_in_memory_survives_a_failed_batch(book_of, at_once):
    """There is nothing to open again: with its connection everything would go."""
    store = SQLiteStore(":memory:", inline=True)
    at_once(store.open())
    book = book_of(store)
    at_once(book.start("e1"))
    at_once(book.raw("PRAGMA max_page_count = 1"))
    with pytest.raises(StoreError, match="full"):
        at_once(store.commit([book.starting("e2", context=b'"' + b"x" * 100_000 + b'"')]))
    assert at_once(store.find("e")) == ["e1"]
    at_once(store.close())
