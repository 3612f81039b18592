"""How functions reach SQLite: in turn, to their end, whether or not anybody still waits."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import aiosqlite
import pytest

from perdure.store.errors import StoreClosed, StoreError
from perdure.store.script import Script
from perdure.store.sqlite.connection import (
    IN_MEMORY,
    InlineConnection,
    Link,
    ThreadedConnection,
    run_at_one_moment,
)
from perdure.store.sqlite.files import PART_BYTES, rewrite

pytestmark = pytest.mark.anyio

CONNECTIONS = [InlineConnection, ThreadedConnection]


def link_to(path: str) -> Link:
    """A plain link."""
    return Link(path, pragmas=("PRAGMA journal_mode = WAL",), lock_wait_s=0.0)


def count(link: Link) -> int:
    """The rows of the one table."""
    return link.connection.execute("SELECT count(*) FROM t").fetchone()[0]


def test_aiosqlite_still_has_the_door_we_use():
    """One private name, bounded in pyproject.toml: this fails first when it goes."""
    assert asyncio.iscoroutinefunction(aiosqlite.Connection._execute)


async def test_what_cannot_be_opened_waits_for_the_end_of_its_thread(tmp_path: Path, monkeypatch):
    """One that outlived its loop would complain of that on stderr."""
    junk = tmp_path / "junk.db"
    junk.write_bytes(b"hello" * 1_000)
    ends: list[asyncio.Future[object]] = []
    stop = aiosqlite.Connection.stop

    def watched(thread: aiosqlite.Connection) -> asyncio.Future[object] | None:
        end = stop(thread)
        assert end is not None
        ends.append(end)
        return end

    monkeypatch.setattr(aiosqlite.Connection, "stop", watched)
    with pytest.raises(sqlite3.DatabaseError, match="not a database"):
        await ThreadedConnection(link_to(str(junk))).open()
    assert [end.done() for end in ends] == [True]


def test_an_aiosqlite_without_the_door_is_refused_in_words(path: str, monkeypatch):
    """And not with an AttributeError in the middle of a commit."""
    monkeypatch.delattr(aiosqlite.Connection, "_execute")
    with pytest.raises(StoreError, match="install the version that perdure's requirements name"):
        ThreadedConnection(link_to(path))


@pytest.fixture
async def connect(path: str):
    """Connections of either kind to one file; what a failing test leaves open is closed."""
    connections = []

    def connected(kind):
        connections.append(kind(link_to(path)))
        return connections[-1]

    yield connected
    for connection in connections:
        await connection.close()


@pytest.mark.parametrize("kind", CONNECTIONS)
async def test_a_function_runs_over_the_link_and_answers(connect, kind):
    """With its arguments; what it raises is raised."""
    connection = connect(kind)
    await connection.open()
    await connection.run(lambda link: link.connection.execute("CREATE TABLE t (x)"))
    await connection.run(lambda link, x: link.connection.execute("INSERT INTO t VALUES (?)", (x,)), 1)
    assert await connection.run(count) == 1
    with pytest.raises(sqlite3.OperationalError):
        await connection.run(lambda link: link.connection.execute("no SQL"))
    await connection.close()


@pytest.mark.parametrize("kind", CONNECTIONS)
async def test_a_closed_connection_says_so(connect, kind):
    """Before it was opened, too; closing twice is closing once."""
    connection = connect(kind)
    with pytest.raises(StoreClosed):
        await connection.run(count)
    await connection.open()
    await connection.close()
    await connection.close()
    with pytest.raises(StoreClosed, match="is closed: open it before using it"):
        await connection.run(count)


async def test_one_call_is_one_hop_to_one_thread(connect):
    """Every function runs on the same thread, which is not the caller's."""
    connection = connect(ThreadedConnection)
    await connection.open()
    threads = {await connection.run(lambda link: threading.get_ident()) for _ in range(5)}
    assert len(threads) == 1
    assert threading.get_ident() not in threads
    await connection.close()


async def test_whoever_cancels_abandons_the_wait_and_not_the_work(connect):
    """The function has begun: it runs to its end, and closing waits for it."""
    connection = connect(ThreadedConnection)
    await connection.open()
    await connection.run(lambda link: link.connection.execute("CREATE TABLE t (x)"))
    begun, may_go_on = threading.Event(), threading.Event()

    def insert(link: Link) -> None:
        begun.set()
        may_go_on.wait()
        link.connection.execute("INSERT INTO t VALUES (1)")

    waits = asyncio.ensure_future(connection.run(insert))
    await asyncio.to_thread(begun.wait)
    waits.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waits
    may_go_on.set()
    assert await connection.run(count) == 1
    await connection.close()


@pytest.mark.parametrize("ticks", [0, 1, 2, 3])
async def test_a_commit_cancelled_after_some_ticks_is_there_whole_or_not_at_all(
    open_store, book_of, ticks: int
):
    """Never half: with its events and its steps, or without any of it. An empty batch waits for it."""
    store = await open_store()
    book = book_of(store)
    execution = await book.start()
    change = book.change(execution, attempts=(book.outcome(0), book.attempt(1)))
    commit = asyncio.ensure_future(store.commit([change, book.starting("e2")]))
    for _ in range(ticks):
        await asyncio.sleep(0)
    commit.cancel()
    await asyncio.wait([commit])
    await store.commit([])
    version = (await book.execution()).version
    happened = version == 2
    assert happened is (ticks > 0)
    assert len(await store.attempts("e1")) == (2 if happened else 0)
    assert len(await store.events(execution_id="e1")) == version
    assert await store.find("e") == (["e2", "e1"] if happened else ["e1"])
    assert await store.verify() == []


async def test_a_call_whose_caller_was_cancelled_in_the_queue_still_runs(path: str, connect):
    """What was asked for before closing is done before closing."""
    connection = connect(ThreadedConnection)
    await connection.open()
    await connection.run(lambda link: link.connection.execute("CREATE TABLE t (x)"))
    calls = [
        asyncio.ensure_future(
            connection.run(lambda link: link.connection.execute("INSERT INTO t VALUES (1)"))
        )
        for _ in range(20)
    ]
    await asyncio.sleep(0)
    for call in calls:
        call.cancel()
    await asyncio.wait(calls)
    await connection.close()
    reopened = link_to(path)
    assert count(reopened) == 20
    reopened.close()


def test_a_link_that_cannot_be_set_up_leaves_nothing_open(tmp_path):
    """A pragma that fails closes the connection again."""
    link = Link(str(tmp_path / "t.db"), pragmas=("no SQL",), lock_wait_s=0.0)
    with pytest.raises(sqlite3.OperationalError):
        link.open()
    assert link._connection is None


def test_a_log_whose_sync_failed_is_written_again_before_anything_is_answered(path: str):
    """Nobody else writes meanwhile; while that fails the connection is not to be had."""
    rewritten: list[str] = []
    other = sqlite3.connect(path, isolation_level=None, timeout=0)

    def rewrite(log: str) -> None:
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        rewritten.append(log)
        if len(rewritten) == 1:
            raise OSError("no such luck")

    link = Link(path, pragmas=("PRAGMA journal_mode = WAL",), lock_wait_s=0, rewrite=rewrite)
    link.connection.execute("CREATE TABLE t (x)")
    link.connection.execute("INSERT INTO t VALUES (1)")
    link.doubt_log()
    link.drop()
    with pytest.raises(sqlite3.OperationalError, match="no such luck"):
        _ = link.connection
    assert link.connection.execute("SELECT x FROM t").fetchall() == [(1,)]
    assert rewritten == [f"{path}-wal"] * 2
    _ = link.connection
    assert len(rewritten) == 2
    other.close()
    link.close()


def test_a_log_in_doubt_is_written_again_before_it_is_copied_at_the_end(path: str):
    """The last one to close copies the log, which must not tear the file."""
    rewritten: list[str] = []
    link = Link(path, pragmas=("PRAGMA journal_mode = WAL",), lock_wait_s=0, rewrite=rewritten.append)
    link.connection.execute("CREATE TABLE t (x)")
    link.doubt_log()
    link.close()
    assert rewritten == [f"{path}-wal"]


def written_again(address: str, *pragmas: str) -> list[str]:
    """The logs that are written again when a sync fails after one row has been."""
    rewritten: list[str] = []

    def note(log: str) -> None:
        rewrite(log)
        rewritten.append(log)

    link = Link(address, pragmas=pragmas, lock_wait_s=0, rewrite=note)
    link.connection.execute("CREATE TABLE t (x)")
    link.connection.execute("INSERT INTO t VALUES (1)")
    link.doubt_log()
    assert link.connection.execute("SELECT x FROM t").fetchall() == [(1,)]
    link.close()
    return rewritten


@pytest.mark.parametrize("of", ["link", "address"])
def test_a_log_in_doubt_is_found_by_whatever_name_the_file_was_opened(tmp_path: Path, of: str):
    """SQLite keeps it beside the file itself, not beside a link to it, and an address is no name."""
    real = tmp_path / "real.db"
    address = tmp_path / "link.db"
    address.symlink_to(real)
    name = str(address) if of == "link" else f"{real.as_uri()}?mode=rwc"
    assert written_again(name, "PRAGMA journal_mode = WAL") == [f"{real}-wal"]


def test_a_log_in_doubt_that_has_nothing_yet_is_sure(path: str):
    """Nothing was written to it, or what was has been copied and the log taken away."""
    link = Link(path, pragmas=("PRAGMA journal_mode = WAL",), lock_wait_s=0)
    for _ in range(2):
        link.doubt_log()
        link.connection.execute("CREATE TABLE IF NOT EXISTS t (x)")
        link.drop()
        assert not Path(f"{path}-wal").exists()
    link.doubt_log()
    assert link.connection.execute("SELECT x FROM t").fetchall() == []
    link.close()


def test_a_log_that_somebody_has_taken_away_is_not_called_sure(path: str):
    """What is in it has no name any more, so nothing can be said of it."""
    link = Link(path, pragmas=("PRAGMA journal_mode = WAL",), lock_wait_s=0)
    link.connection.execute("CREATE TABLE t (x)")
    Path(f"{path}-wal").unlink()
    link.doubt_log()
    with pytest.raises(sqlite3.OperationalError, match="cannot be written"):
        _ = link.connection
    link.close()


@pytest.mark.parametrize("mode", ["memory", "DELETE", "TRUNCATE"])
def test_where_there_is_no_log_nothing_is_in_doubt(path: str, mode: str):
    """In memory there is no disk; beside a rollback journal a file is written again by the rollback."""
    address, pragma = (IN_MEMORY, "WAL") if mode == "memory" else (path, mode)
    assert written_again(address, f"PRAGMA journal_mode = {pragma}") == []


def test_a_file_that_is_rewritten_stays_what_it_was(tmp_path: Path):
    """Whatever its size, and in its place."""
    file = tmp_path / "log"
    for size in (0, 1, PART_BYTES, PART_BYTES + 1):
        content = random.Random(size).randbytes(size)
        file.write_bytes(content)
        place = file.stat().st_ino
        rewrite(str(file))
        assert file.read_bytes() == content
        assert file.stat().st_ino == place


def test_what_ended_a_look_at_one_moment_is_told_though_nothing_is_left_to_roll_back(path: str):
    """Some errors of the disk end the transaction themselves."""

    def failing() -> Script[None]:
        yield "ROLLBACK", ()
        raise sqlite3.OperationalError("disk I/O error")

    connection = sqlite3.connect(path, isolation_level=None)
    with closing(connection), pytest.raises(sqlite3.OperationalError, match="disk I/O error"):
        run_at_one_moment(connection, failing())
