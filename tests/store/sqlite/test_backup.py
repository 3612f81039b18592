"""Copies taken while others write: whole, of one moment, private, or not there at all."""

# ruff: noqa: ASYNC230, ASYNC240  the files are tiny, and nothing else runs

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import sys
import threading
from pathlib import Path

import pytest

from perdure.store import SQLiteStore
from perdure.store.errors import MigrationError, StoreCorrupt, StoreError
from perdure.store.migration import Migration
from perdure.store.scripts.guards import Entered, PassGuard
from perdure.store.sqlite import backup, migrate
from perdure.store.sqlite.backup import TargetExists, back_up
from perdure.store.states import State
from perdure.store.writes import EventWrite

pytestmark = pytest.mark.anyio


@pytest.fixture
def target(tmp_path: Path) -> str:
    """Where the copy is to be."""
    return str(tmp_path / "copies" / "monday.db")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> Path:
    """The folder of the copies."""
    made = tmp_path / "copies"
    made.mkdir()
    return made


async def facts_of(path: str, book_of) -> dict[str, list[tuple[object, ...]]]:
    """Everything a file holds, read through a store of its own."""
    store = SQLiteStore(path, inline=True)
    await store.open()
    facts = await book_of(store).facts()
    assert await store.verify() == []
    await store.close()
    return facts


async def test_a_copy_holds_every_fact_and_says_how_far_the_work_had_come(book, book_of, target: str):
    """On every kind of store, in memory too."""
    await book.move(await book.start("e1"), attempts=(book.outcome(0),))
    await book.start("e2")
    taken = await book.store.backup(target)
    assert await facts_of(target, book_of) == await book.facts()
    assert (taken.path, taken.executions, taken.schema_version) == (target, 2, len(migrate.migrations()))
    assert taken.last_event_at is not None
    assert taken.last_event_at.timestamp() * 1000 == book.now
    assert taken.size_bytes == os.path.getsize(target)  # noqa: PTH202  shorter


async def test_a_copy_belongs_to_nobody(book, book_of, target: str):
    """Or whoever opens it would ring the processes that work on the original. The original keeps them."""
    execution = await book.start("e1")
    await book.write(book.claim(execution, await book.register()))
    before = await book.facts()
    await book.store.backup(target)
    assert await book.facts() == before
    copied = await facts_of(target, book_of)
    assert copied["runners"] == []
    store = SQLiteStore(target, inline=True)
    await store.open()
    [free] = await store.claimable(limit=10)
    execution = await store.execution(free.id)
    assert execution is not None
    assert (execution.id, execution.epoch) == ("e1", 1)
    await store.close()


async def test_a_copy_holds_no_slot_for_those_it_does_not_belong_to(book, target: str):
    """Nobody would ever give it back: an agent that allows one at once would be taken for good."""
    runner_no = await book.register()
    await book.write(pass_guard(book, "e1:0:0:1", runner_no))
    await book.store.backup(target)
    store = SQLiteStore(target, inline=True)
    await store.open()
    assert await store.verify() == []
    copied = type(book)(store)
    mine = await copied.register("runner-2")
    assert await copied.write(pass_guard(copied, "e2:0:0:1", mine)) == Entered()
    await store.close()


def pass_guard(book, holder: str, runner_no: int) -> PassGuard:
    """Take the one slot of an agent."""
    return PassGuard(scope="press", holder=holder, runner_no=runner_no, slots=1, rate=None, at=book.tick())


@pytest.mark.skipif(sys.platform == "win32", reason="files have other permissions there")
async def test_a_copy_is_one_file_for_its_owner_alone(book, target: str, folder: Path):
    """No log beside it that could be forgotten, nothing half-made."""
    await book.start()
    await book.store.backup(target)
    assert [path.name for path in folder.iterdir()] == ["monday.db"]
    assert stat.S_IMODE(Path(target).stat().st_mode) == 0o600


async def test_a_file_that_is_there_stays_unless_told_otherwise(book, book_of, target: str):
    """A backup of yesterday is not lost to a slip today."""
    Path(target).write_text("yesterday")
    await book.start()
    with pytest.raises(TargetExists, match="was left alone"):
        await book.store.backup(target)
    assert Path(target).read_text() == "yesterday"
    await book.store.backup(target, overwrite=True)
    assert await facts_of(target, book_of) == await book.facts()


async def test_a_file_that_appears_during_the_copy_stays_too(book, target: str, folder: Path, monkeypatch):
    """The last step cannot replace anything."""
    await book.start()

    def settle_late(name: str, *, path: str) -> backup.Backup:
        taken = settle(name, path=path)
        Path(target).write_text("somebody else's")
        return taken

    settle = backup.settle
    monkeypatch.setattr(backup, "settle", settle_late)
    with pytest.raises(TargetExists):
        await book.store.backup(target)
    assert Path(target).read_text() == "somebody else's"
    assert [path.name for path in folder.iterdir()] == ["monday.db"]


async def test_the_database_itself_is_no_place_for_its_copy(path: str, book_of):
    """Nor under another name of the same file, nor a folder, nor a folder that is not there."""
    store = SQLiteStore(path)
    await store.open()
    await book_of(store).start()
    Path(path + ".link").symlink_to(path)
    for wrong, why in (
        (path, "the database itself"),
        (path + ".link", "the database itself"),
        (str(Path(path).parent), "is a folder"),
        (path + "/x/y.db", "there is no folder"),
    ):
        with pytest.raises(StoreError, match=why):
            await store.backup(wrong, overwrite=True)
    assert await store.verify() == []
    await store.close()


async def test_another_database_that_is_open_is_not_overwritten(path: str, book_of, target: str):
    """Its log would be played onto the copy."""
    first, second = SQLiteStore(path), SQLiteStore(target)
    await first.open()
    await second.open()
    await book_of(second).start("kept")
    with pytest.raises(StoreError, match="somebody has open"):
        await first.backup(target, overwrite=True)
    assert await second.execution("kept") is not None
    await first.close()
    await second.close()


async def test_writes_go_on_during_the_copy_and_it_shows_one_moment(
    path: str, book_of, target: str, monkeypatch
):
    """Each page is followed by commits of somebody else; the copy neither begins again nor mixes times."""
    monkeypatch.setattr(backup, "PAGES_AT_ONCE", 1)
    store = SQLiteStore(path, durability="process")
    await store.open()
    book = book_of(store)
    execution = await book.start()
    for _ in range(30):
        execution = await book.move(execution, events=(EventWrite("noted", data=b'"' + b"x" * 4_000 + b'"'),))
    written = 0

    async def write() -> None:
        nonlocal execution, written
        while not copying.done():
            execution = await book.move(execution, State.EXECUTING)
            written += 1

    copying = asyncio.ensure_future(store.backup(target))
    await write()
    taken = await copying
    assert written > 0
    copied = await facts_of(target, book_of)
    [row] = copied["workflow_executions"]
    versions = [event[2] for event in copied["workflow_events"]]
    assert versions == list(range(1, len(versions) + 1))
    assert versions[-1] in row
    assert taken.size_bytes > 30 * 4_000
    await store.close()


async def test_commits_of_others_after_each_page_do_not_make_the_copy_begin_again(
    path: str, book_of, target: str, outsider, monkeypatch
):
    """Under load it would never come to its end."""
    monkeypatch.setattr(backup, "PAGES_AT_ONCE", 1)
    store = SQLiteStore(path)
    await store.open()
    await book_of(store).start()
    other, source = outsider(), outsider()
    other.execute("CREATE TABLE noise (x)")
    [pages] = source.execute("PRAGMA page_count").fetchone()
    looks = 0

    def write() -> bool:
        nonlocal looks
        looks += 1
        other.execute("INSERT INTO noise VALUES (1)")
        return looks > 2 * pages

    backup.back_up_from(source, path, target, is_abandoned=write)
    assert looks == pages
    copied = sqlite3.connect(target)
    assert copied.execute("SELECT count(*) FROM noise").fetchone() == (0,)
    assert other.execute("SELECT count(*) FROM noise").fetchone() == (pages,)
    for connection in (other, source, copied):
        connection.close()
    await store.close()


async def test_a_caller_that_is_cancelled_leaves_nothing_behind(
    path: str, book_of, target: str, folder: Path, monkeypatch
):
    """The thread notices between two pages; the store goes on."""
    begun, is_cancelled = threading.Event(), threading.Event()

    def copy_late(*args, **kwargs) -> None:
        begun.set()
        is_cancelled.wait(30)
        copy(*args, **kwargs)

    copy = backup.copy
    monkeypatch.setattr(backup, "copy", copy_late)
    store = SQLiteStore(path)
    await store.open()
    await book_of(store).start()
    copying = asyncio.ensure_future(store.backup(target))
    while not begun.is_set():  # noqa: ASYNC110  a thread rings no bell
        await asyncio.sleep(0)
    assert copying.cancel()
    await asyncio.sleep(0)
    is_cancelled.set()
    with pytest.raises(asyncio.CancelledError):
        await copying
    assert list(folder.iterdir()) == []
    assert await store.execution("e1") is not None
    await store.backup(target)
    await store.close()


async def test_a_damaged_database_gives_no_copy(path: str, book_of, target: str, folder: Path):
    """A rotation of backups must not replace good ones by one that is useless."""
    store = SQLiteStore(path, inline=True)
    await store.open()
    book = book_of(store)
    for number in range(50):
        await book.start(f"e{number}")
    root = (await book.raw("SELECT rootpage FROM sqlite_master WHERE name = 'workflow_executions_id'"))[0][0]
    await store.close()
    with Path(path).open("r+b") as file:
        file.seek((root - 1) * 4096)
        file.write(b"\xff" * 4096)
    with pytest.raises(StoreCorrupt, match="doctor"):
        back_up(path, target)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("content", [None, b"", b"hello\n" * 1000])
def test_what_is_no_perdure_database_gives_no_copy(
    path: str, target: str, folder: Path, content: bytes | None
):
    """A missing file, an empty one, a text; none of them is touched."""
    if content is not None:
        Path(path).write_bytes(content)
    with pytest.raises(StoreError):
        back_up(path, target)
    assert Path(path).exists() == (content is not None)
    assert list(folder.iterdir()) == []


async def test_a_closed_file_can_be_copied_without_opening_a_store(path: str, book_of, target: str):
    """As the command line does it: nothing is migrated, nothing is entered."""
    store = SQLiteStore(path)
    await store.open()
    await book_of(store).start()
    await store.close()
    assert back_up(path, target).executions == 1
    assert not Path(path + "-wal").exists()


def later(monkeypatch: pytest.MonkeyPatch, *scripts: str) -> None:
    """A release that knows more migrations."""
    known = OURS + [Migration(number, f"{number:04}_more", sql) for number, sql in enumerate(scripts, NEXT)]
    monkeypatch.setattr(migrate, "migrations", lambda: known)


OURS = migrate.migrations()
NEXT = OURS[-1].version + 1


async def reopened(path: str) -> None:
    """Open and close, as any command does."""
    store = SQLiteStore(path, inline=True)
    await store.open()
    await store.close()


def tables(path: str) -> set[str]:
    """The tables of a file."""
    connection = sqlite3.connect(path)
    found = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    connection.close()
    return found


async def test_a_fresh_file_is_not_copied_before_its_first_migration(path: str, monkeypatch):
    """There is nothing to go back to; nor is there when nothing is missing."""
    later(monkeypatch, "CREATE TABLE extra (x);")
    await reopened(path)
    await reopened(path)
    assert list(Path(path).parent.glob("*before*")) == []


async def test_a_file_with_a_history_is_kept_before_it_is_migrated(path: str, book_of, monkeypatch):
    """Named after the first version it lacked; an older copy stays."""
    later(monkeypatch)
    store = SQLiteStore(path)
    await store.open()
    await book_of(store).start("old")
    await store.close()
    Path(f"{path}.before-{NEXT}").write_text("of an earlier try")
    later(monkeypatch, "CREATE TABLE extra (x);", "CREATE TABLE more (x);")
    await reopened(path)
    assert {"extra", "more"} <= tables(path)
    assert Path(f"{path}.before-{NEXT}").read_text() == "of an earlier try"
    kept = f"{path}.before-{NEXT}-1"
    assert "extra" not in tables(kept)
    later(monkeypatch)
    assert (await facts_of(kept, book_of))["workflow_executions"]


async def test_a_migration_that_fails_takes_its_copy_away(path: str, monkeypatch):
    """A service that is started again and again must not fill the disk."""
    later(monkeypatch)
    await reopened(path)
    later(monkeypatch, "CREATE TABLE extra (x);\nCREATE TABLE extra (x);")
    with pytest.raises(MigrationError):
        await reopened(path)
    assert list(Path(path).parent.glob("*before*")) == []


async def test_without_room_for_the_copy_nothing_is_migrated(path: str, monkeypatch):
    """The schema stays as it was, and the message says why."""
    later(monkeypatch)
    await reopened(path)
    later(monkeypatch, "CREATE TABLE extra (x);")

    def fail(name: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(backup, "sync", fail)
    with pytest.raises(StoreError, match="No space left"):
        await reopened(path)
    assert "extra" not in tables(path)
    assert list(Path(path).parent.glob("*.db?*")) == []
