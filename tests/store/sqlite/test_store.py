"""The store on SQLite: private files, the promised durability, errors in our words."""

from __future__ import annotations

import asyncio
import inspect
import os
import sqlite3
import stat
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure.store import SQLiteStore, Store
from perdure.store.errors import StoreClosed, StoreError, StoreLocked
from perdure.store.sqlite import store as sqlite
from perdure.store.sqlite.looking import SQLiteView
from perdure.store.sqlite.translate import translated

pytestmark = pytest.mark.anyio


async def pragma(store: SQLiteStore, name: str, *, of_reader: bool = False) -> object:
    """What is in force on one of the store's connections."""
    connection = store._reader if of_reader else store._writer
    return await connection.run(lambda link: link.connection.execute(f"PRAGMA {name}").fetchone()[0])


def test_the_store_has_every_method_of_the_protocol_with_its_parameters():
    """Names, kinds and defaults; a type checker says the rest."""
    for name, method in inspect.getmembers(Store, inspect.isfunction):
        if name.startswith("_"):
            continue
        promised = inspect.signature(method).parameters.values()
        kept = inspect.signature(getattr(SQLiteStore, name)).parameters.values()
        assert [(p.name, p.kind, p.default) for p in kept] == [(p.name, p.kind, p.default) for p in promised]


@pytest.mark.skipif(sys.platform == "win32", reason="files have other permissions there")
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
async def test_the_files_are_readable_by_their_owner_alone(path: str, open_store, book_of, umask: int):
    """The database, its log and its shared memory, whatever the umask allows."""
    before = os.umask(umask)
    try:
        store = await open_store()
        await book_of(store).start()
        modes = {
            suffix: stat.S_IMODE(os.stat(path + suffix).st_mode)  # noqa: PTH116  quick
            for suffix in ("", "-wal", "-shm")
        }
        await store.close()
    finally:
        os.umask(before)
    assert modes == {"": 0o600, "-wal": 0o600, "-shm": 0o600}


async def test_a_missing_folder_is_told_before_anything_is_made(tmp_path: Path):
    """The message names it; no file and no thread is left."""
    store = SQLiteStore(str(tmp_path / "no" / "such" / "perdure.db"))
    with pytest.raises(StoreError, match=r"there is no folder .*such: make it, or choose another place"):
        await store.open()
    assert os.listdir(tmp_path) == []  # noqa: PTH208  quick


async def test_a_folder_is_no_database(tmp_path: Path):
    """And the operating system's word for it is passed on."""
    with pytest.raises(StoreError, match="check the permissions"):
        await SQLiteStore(str(tmp_path)).open()


@pytest.mark.skipif(sys.platform == "win32", reason="there are other kinds of files there")
async def test_what_is_no_regular_file_is_no_database(tmp_path: Path):
    """A pipe, a device, links that lead to themselves: said so before SQLite tries its luck with it."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "round").symlink_to(tmp_path / "round")
    for path in (tmp_path / "pipe", tmp_path / "round", Path("/dev/null")):
        with pytest.raises(StoreError, match="is no regular file: choose another place"):
            await SQLiteStore(str(path)).open()
        with pytest.raises(StoreError, match=r"there is no such file|this is no regular file"):
            await SQLiteView(str(path)).open()


async def test_a_path_means_what_it_meant_when_the_store_was_made(
    open_store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Whatever folder the program, or a step, goes to."""
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path)
    store = await open_store("perdure.db")
    monkeypatch.chdir(tmp_path / "there")
    assert await store.runners() == []
    await store.backup(str(tmp_path / "copy.db"))
    await store.close()
    await store.open()
    assert os.listdir() == []  # noqa: PTH208  quick


def test_without_a_current_folder_a_whole_path_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A folder may be removed under whoever is in it."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(StoreError, match="the current folder is gone"):
        SQLiteStore("perdure.db")


@pytest.fixture
def as_nobody() -> Iterator[Path]:
    """A folder of nobody's, and this process as nobody: to the super-user everything is allowed."""
    if sys.platform == "win32":
        pytest.skip("files have other permissions there")
    is_root = os.geteuid() == 0
    with tempfile.TemporaryDirectory() as folder:
        if is_root:
            os.chown(folder, 65_534, 65_534)
            os.seteuid(65_534)
        try:
            yield Path(folder)
        finally:
            if is_root:
                os.seteuid(0)
            Path(folder).chmod(0o700)


async def test_a_read_only_folder_is_told(as_nobody: Path):
    """There is no place for the file."""
    os.chmod(as_nobody, 0o500)  # noqa: PTH101  quick
    with pytest.raises(
        StoreError, match="Permission denied; check the permissions of the file and its folder"
    ):
        await SQLiteStore(str(as_nobody / "perdure.db")).open()


async def test_a_read_only_file_is_told(open_store, as_nobody: Path):
    """A store that could not write would be found out at the first step."""
    file = str(as_nobody / "perdure.db")
    await (await open_store(file)).close()
    os.chmod(file, 0o400)  # noqa: PTH101  quick
    with pytest.raises(StoreError, match="Permission denied"):
        await open_store(file)


async def test_a_folder_that_becomes_read_only_is_told_at_the_next_opening(open_store, as_nobody: Path):
    """SQLite needs it for the log."""
    store = await open_store(str(as_nobody / "perdure.db"))
    await store.close()
    os.chmod(as_nobody, 0o500)  # noqa: PTH101  quick
    with pytest.raises(StoreError, match="folder"):
        await store.open()


@pytest.mark.parametrize(("durability", "level"), [("power", 2), ("process", 1)])
async def test_each_class_of_durability_has_its_own_level_of_syncing(open_store, durability: str, level: int):
    """FULL syncs at every commit; NORMAL when the log is copied back."""
    store = await open_store(durability=durability)
    assert await pragma(store, "synchronous") == level
    assert await pragma(store, "journal_mode") == "wal"
    assert await pragma(store, "foreign_keys") == 1
    assert await pragma(store, "query_only", of_reader=True) == 1
    await store.close()


def test_an_unknown_class_of_durability_is_refused_by_name():
    """Nobody should believe to have chosen something."""
    with pytest.raises(StoreError, match="'power' or 'process', not 'none'"):
        SQLiteStore("x.db", durability="none")


def test_on_macos_power_loss_needs_one_pragma_more(monkeypatch):
    """There a plain sync leaves the data in the disk's cache."""
    monkeypatch.setattr(sqlite.sys, "platform", "darwin")
    assert "PRAGMA fullfsync = ON" in sqlite._pragmas("power", client=False)
    assert "PRAGMA fullfsync = ON" not in sqlite._pragmas("process", client=False)


async def test_only_the_writer_of_a_runner_makes_checkpoints(open_store):
    """A client and every reader leave the log alone."""
    runner, client = await open_store(), await open_store(client=True)
    assert await pragma(runner, "wal_autocheckpoint") > 0
    assert await pragma(runner, "wal_autocheckpoint", of_reader=True) == 0
    assert await pragma(client, "wal_autocheckpoint") == 0
    assert await pragma(client, "wal_autocheckpoint", of_reader=True) == 0
    await client.close()
    await runner.close()


async def test_a_client_lets_the_log_grow_where_a_runner_copies_it_back(path: str, open_store, book_of):
    """A thousand pages of log later the difference shows."""
    anchor = sqlite3.connect(path)
    sizes = []
    for is_client in (True, False):
        store = await open_store(client=is_client, durability="process")
        book = book_of(store)
        anchor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        for number in range(6):
            await book.start(f"e{is_client}-{number}", context=b'"' + b"x" * 1_000_000 + b'"')
        sizes.append(os.stat(path + "-wal").st_size)  # noqa: PTH116  quick
        await store.close()
    anchor.close()
    assert sizes[0] > 6_000_000
    assert sizes[1] < 6_000_000


async def test_what_was_committed_is_read_at_once(book):
    """By this store's own reading connection."""
    for number in range(5):
        await book.start(f"e{number}")
        assert (await book.store.execution(f"e{number}")).version == 1


async def test_what_was_committed_is_there_after_closing_and_opening(open_store, book_of):
    """And read by another store."""
    store = await open_store()
    execution = await book_of(store).start(context=b'{"n":1}')
    await store.close()
    again = await open_store(inline=True)
    assert await again.execution("e1") == execution
    await again.close()


async def test_a_reader_does_not_wait_for_a_writer(open_store, book_of, outsider):
    """It sees what was committed before."""
    store = await open_store(lock_wait_s=0.0)
    book = book_of(store)
    await book.start()
    other = outsider()
    other.execute("BEGIN IMMEDIATE")
    other.execute("UPDATE workflow_executions SET priority = 9")
    assert (await book.execution()).priority == 0
    other.execute("COMMIT")
    assert (await book.execution()).priority == 9
    other.close()
    await store.close()


async def test_what_people_look_at_does_not_hold_up_the_machine(open_store, book_of):
    """A list of a million rows takes its time on a connection of its own."""
    store = await open_store()
    await book_of(store).start()
    gate = threading.Event()
    looking = asyncio.create_task(store._browser.run(lambda _: gate.wait(5)))
    listing = asyncio.create_task(store.executions())
    loaded = await store.load("e1")
    assert loaded is not None
    assert not listing.done()
    gate.set()
    assert await looking
    assert [summary.id for summary in await listing] == ["e1"]
    await store.close()


async def test_a_store_in_memory_is_one_connection(open_store, book_of):
    """With threads, too; each store has a memory of its own."""
    first, second = await open_store(":memory:"), await open_store(":memory:")
    await book_of(first).start()
    assert await first.find("") == ["e1"]
    assert await second.find("") == []


async def test_a_closed_store_says_so_and_may_be_opened_again(store):
    """Reading and writing alike; closing twice is closing once."""
    await store.close()
    await store.close()
    with pytest.raises(StoreClosed):
        await store.find("")
    with pytest.raises(StoreClosed):
        await store.commit([])
    await store.open()
    assert await store.find("") == []


async def test_a_read_that_fails_is_told_in_our_words(book):
    """No error of SQLite's leaves the store."""
    await book.start()
    await book.damage("DROP TABLE workflow_timers")
    with pytest.raises(StoreError, match="no such table: workflow_timers"):
        await book.store.load("e1")


async def test_a_file_that_is_locked_while_opening_is_told(path: str, outsider):
    """Somebody else is making the schema, and takes too long."""
    other = outsider()
    other.execute("PRAGMA journal_mode = WAL")
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreLocked):
        await SQLiteStore(path, lock_wait_s=0.0).open()
    other.close()


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (sqlite3.SQLITE_FULL, "make room"),
        (sqlite3.SQLITE_IOERR_SHMSIZE, "make room"),
        (sqlite3.SQLITE_IOERR_WRITE, "the disk or file system failed"),
        (sqlite3.SQLITE_CANTOPEN, "folder exists"),
        (sqlite3.SQLITE_READONLY_DIRECTORY, "read-only"),
        (sqlite3.SQLITE_PERM, "permissions"),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, "locked by another process"),
        (sqlite3.SQLITE_CORRUPT_INDEX, "restore a backup"),
        (sqlite3.SQLITE_ERROR, "nothing was changed"),
    ],
)
def test_every_error_says_where_and_what_to_do(code: int, words: str):
    """The extended codes, too."""
    error = sqlite3.OperationalError("why")
    error.sqlite_errorcode = code
    told = str(translated(error, "orders.db"))
    assert "orders.db" in told
    assert words in told


async def test_a_store_in_memory_is_another_one_each_time_and_has_what_a_file_has(tmp_path: Path):
    """It is a copy of an empty one, which takes a tenth of making it."""
    kept: list[object] = []
    ids: set[str] = set()
    for location in (":memory:", ":memory:", str(tmp_path / "x.db")):
        store = SQLiteStore(location, inline=True)
        await store.open()
        connection = store._links[0].connection
        kept.append(
            connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY 1, 2").fetchall()
        )
        ids.update(id_ for (id_,) in connection.execute("SELECT id FROM perdure_identity"))
        await store.close()
    assert kept[0] == kept[1] == kept[2]
    assert len(ids) == 3


async def test_a_library_that_lacks_what_the_store_needs_is_refused(monkeypatch, tmp_path: Path):
    """Before there is a file; the error says which it is and what to do."""
    path = tmp_path / "x.db"
    monkeypatch.setattr(sqlite.sqlite3, "sqlite_version_info", (3, 34, 1))
    with pytest.raises(StoreError, match=r"needs 3\.35 or later: install"):
        await SQLiteStore(str(path)).open()
    assert not path.exists()


def test_an_old_library_is_advised_against_and_prints_nothing(monkeypatch, capsys):
    """Whoever asks is told; whoever does not is left alone."""
    store = SQLiteStore("x.db")
    monkeypatch.setattr(sqlite.sqlite3, "sqlite_version_info", (3, 51, 2))
    [advice] = store.advice()
    assert "fixed in 3.51.3" in advice
    monkeypatch.setattr(sqlite.sqlite3, "sqlite_version_info", (3, 51, 3))
    assert store.advice() == []
    assert capsys.readouterr() == ("", "")
