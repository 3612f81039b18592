"""A backup takes the place of a database; what was there is kept; at no moment is there nothing."""

from __future__ import annotations

# ruff: noqa: ASYNC230, ASYNC240  the files are tiny, and nothing else runs
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from perdure.store import SQLiteStore
from perdure.store.errors import MigrationError, StoreCorrupt, StoreError, StoreLocked
from perdure.store.sqlite import restore
from perdure.store.sqlite.restore import inspect

pytestmark = pytest.mark.anyio


@pytest.fixture
def backup(tmp_path: Path) -> str:
    """Where the backup lies."""
    (tmp_path / "safe").mkdir()
    return str(tmp_path / "safe" / "monday.db")


async def written(path: str, book_of, *ids: str) -> None:
    """A database with those executions."""
    store = SQLiteStore(path)
    await store.open()
    book = book_of(store)
    await book.publish()
    for id_ in ids:
        await book.start(id_)
    await store.close()


async def ids_of(path: str) -> list[str]:
    """The executions in a file, which must be sound."""
    store = SQLiteStore(path, inline=True)
    await store.open()
    found = [summary.id for summary in await store.executions()]
    assert await store.verify() == []
    await store.close()
    return found


def files_of(path: str) -> list[str]:
    """What lies beside a database, itself included."""
    return sorted(each.name for each in Path(path).parent.iterdir() if each.is_file())


async def test_the_database_is_what_the_backup_holds_and_the_old_one_is_kept(path: str, backup: str, book_of):
    """Again and again; each of them under a number of its own."""
    await written(path, book_of, "new")
    await written(backup, book_of, "old")
    done = restore.restore(backup, path)
    assert (done.path, done.kept, done.backup.executions) == (path, f"{path}.before-restore-1", 1)
    assert files_of(path) == ["perdure.db", "perdure.db.before-restore-1"]
    assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600
    assert await ids_of(path) == ["old"]
    assert await ids_of(f"{path}.before-restore-1") == ["new"]
    assert await ids_of(backup) == ["old"]
    assert restore.restore(f"{path}.before-restore-1", path).kept == f"{path}.before-restore-2"
    assert await ids_of(path) == ["new"]


async def test_where_nothing_was_nothing_is_kept(path: str, backup: str, book_of):
    """A lost disk is what backups are for."""
    await written(backup, book_of, "old")
    assert restore.restore(backup, path).kept is None
    assert await ids_of(path) == ["old"]


async def test_a_restored_database_belongs_to_nobody(path: str, backup: str, book_of):
    """A copy made by hand of a file in use still has its runners; they are not at work on this one."""
    store = SQLiteStore(backup)
    await store.open()
    book = book_of(store)
    await book.write(book.claim(await book.start("old"), await book.register()))
    await store.close()
    restore.restore(backup, path)
    store = SQLiteStore(path)
    await store.open()
    assert await store.runners() == []
    assert [execution.id for execution in await store.claimable(limit=9)] == ["old"]
    await store.close()


async def crashed(path: str, *, id: str) -> None:
    """A process writes an execution, and dies before its log is written back."""
    book = str(Path(__file__).parents[2] / "contract" / "book.py")
    program = f"""
import asyncio, os, signal
from pathlib import Path
import importlib.util, sys
from perdure.store import SQLiteStore
spec = importlib.util.spec_from_file_location("shared", {book!r})
shared = importlib.util.module_from_spec(spec)
spec.loader.exec_module(shared)

async def main():
    store = SQLiteStore({path!r})
    await store.open()
    await shared.Book(store).start({id!r})
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True)  # noqa: ASYNC221
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert Path(path + "-wal").exists()


@pytest.mark.integration
async def test_the_log_of_a_crash_is_never_played_onto_the_copy(path: str, backup: str, book_of):
    """It belongs to the file that is kept, and is in it."""
    await crashed(path, id="acknowledged")
    await written(backup, book_of, "old")
    restore.restore(backup, path)
    assert await ids_of(path) == ["old"]
    assert await ids_of(f"{path}.before-restore-1") == ["acknowledged"]


@pytest.mark.integration
async def test_a_log_whose_database_was_removed_is_set_aside(path: str, backup: str, book_of):
    """It would be played onto whatever comes to bear the name."""
    await crashed(path, id="removed")
    Path(path).unlink()
    log = Path(path + "-wal").read_bytes()
    await written(backup, book_of, "old")
    assert restore.restore(backup, path).kept == f"{path}.before-restore-1"
    assert await ids_of(path) == ["old"]
    assert Path(f"{path}.before-restore-1-wal").read_bytes() == log


@pytest.mark.integration
async def test_a_copy_made_by_hand_is_restored_with_its_log(path: str, backup: str):
    """Three files that belong together; nothing of them is lost, or changed."""
    await crashed(backup, id="acknowledged")
    restore.restore(backup, path)
    assert await ids_of(path) == ["acknowledged"]


async def test_a_damaged_database_is_set_aside_as_it_is(path: str, backup: str, book_of):
    """With its log: somebody may want to look at it."""
    content, log = b"\xff" * 9_000, b"\xfe" * 9_000
    Path(path).write_bytes(content)
    Path(path + "-wal").write_bytes(log)
    await written(backup, book_of, "old")
    kept = restore.restore(backup, path).kept
    assert await ids_of(path) == ["old"]
    assert kept is not None
    assert (Path(kept).read_bytes(), Path(kept + "-wal").read_bytes()) == (content, log)


@pytest.mark.parametrize("has_runner", [True, False])
async def test_a_database_somebody_has_open_is_not_replaced(
    path: str, backup: str, book_of, monkeypatch, *, has_runner: bool
):
    """Be it a store or any other program, even one that is only looking."""
    monkeypatch.setattr(restore, "IN_USE_WAIT_S", 0.0)
    await written(path, book_of, "new")
    await written(backup, book_of, "old")
    if has_runner:
        store = SQLiteStore(path)
        await store.open()
        close = store.close
    else:
        looking = sqlite3.connect(path)
        looking.execute("SELECT count(*) FROM workflows").fetchone()

        async def close() -> None:
            looking.close()

    with pytest.raises(StoreLocked, match="nothing was changed"):
        restore.restore(backup, path)
    await close()
    assert files_of(path) == ["perdure.db"]
    assert await ids_of(path) == ["new"]


async def test_a_damaged_backup_replaces_nothing(path: str, backup: str, book_of):
    """It is found out before anything is touched."""
    await written(path, book_of, "new")
    await written(backup, book_of, *(f"old-{number}" for number in range(100)))
    connection = sqlite3.connect(backup)
    [(root,)] = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'workflow_executions_id'")
    connection.close()
    with Path(backup).open("r+b") as file:
        file.seek((root - 1) * 4096)
        file.write(b"\xff" * 4096)
    with pytest.raises(StoreCorrupt, match="try an older backup; nothing was changed"):
        restore.restore(backup, path)
    assert files_of(path) == ["perdure.db"]
    assert await ids_of(path) == ["new"]


@pytest.mark.parametrize(
    ("statement", "error", "why"),
    [
        (
            "INSERT INTO perdure_migrations (version, name, checksum) VALUES (99, 'x', 'x')",
            MigrationError,
            "99",
        ),
        ("UPDATE perdure_migrations SET checksum = 'x'", MigrationError, "another text"),
        ("DROP TABLE perdure_migrations", StoreError, "no perdure database"),
    ],
)
async def test_a_backup_this_release_does_not_know_replaces_nothing(
    path: str, backup: str, book_of, *, statement: str, error: type[StoreError], why: str
):
    """Of a newer release, of a development version, or of another program."""
    await written(path, book_of, "new")
    await written(backup, book_of, "old")
    connection = sqlite3.connect(backup, isolation_level=None)
    connection.execute(statement)
    connection.close()
    with pytest.raises(error, match=why):
        restore.restore(backup, path)
    assert files_of(path) == ["perdure.db"]
    assert await ids_of(path) == ["new"]


async def test_the_database_is_no_backup_of_itself_and_a_missing_file_is_none(path: str, book_of):
    """Both are told before anything is touched."""
    await written(path, book_of, "new")
    with pytest.raises(StoreError, match="the database itself"):
        restore.restore(path, path)
    with pytest.raises(StoreError, match="no such file"):
        restore.restore(path + ".nowhere", path)
    assert files_of(path) == ["perdure.db"]


async def test_a_link_to_a_database_stays_a_link(path: str, backup: str, book_of, tmp_path: Path):
    """The file it leads to is replaced, where it lies."""
    (tmp_path / "elsewhere").mkdir()
    real = str(tmp_path / "elsewhere" / "real.db")
    await written(real, book_of, "new")
    await written(backup, book_of, "old")
    Path(path).symlink_to(real)
    restore.restore(backup, path)
    assert Path(path).is_symlink()
    assert await ids_of(path) == await ids_of(real) == ["old"]


async def test_a_failure_at_the_last_step_leaves_the_old_database(
    path: str, backup: str, book_of, monkeypatch
):
    """Whole, under its own name, with all it held."""
    await written(path, book_of, "new")
    await written(backup, book_of, "old")

    def fail(self: Path, target: str) -> Path:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(StoreError, match="cannot be replaced: Input/output error"):
        restore.restore(backup, path)
    monkeypatch.undo()
    assert files_of(path) == ["perdure.db"]
    assert await ids_of(path) == ["new"]


async def test_a_failure_after_the_last_step_loses_neither(path: str, backup: str, book_of, monkeypatch):
    """The new one is in its place, the old one under its second name."""
    await written(path, book_of, "new")
    await written(backup, book_of, "old")
    calls = []

    def fail(place: str) -> None:
        calls.append(place)
        if len(calls) > 2:
            raise StoreError("Input/output error")

    monkeypatch.setattr(restore, "sync_folder_of", fail)
    with pytest.raises(StoreError, match="Input/output"):
        restore.restore(backup, path)
    assert await ids_of(path) == ["old"]
    assert await ids_of(f"{path}.before-restore-1") == ["new"]


@pytest.mark.integration
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_restore_killed_at_any_step_leaves_one_whole_database(path: str, backup: str, book_of, at_once):
    """Killed before each system call that changes a name: the old one or the new one, never neither."""
    calls = ("link", "unlink", "replace")
    seen = set()
    for number in range(1, 12):
        for each in Path(path).parent.glob("perdure.db*"):
            each.unlink()
        at_once(_write_inline(path, book_of, "new"))
        if number == 1:
            at_once(_write_inline(backup, book_of, "old"))
        child = os.fork()
        if not child:
            _restore_killed_at(number, calls, backup, path)
        _, status = os.waitpid(child, 0)
        seen.add(tuple(at_once(ids_of(path))))
        if os.WIFEXITED(status):
            break
    else:
        raise AssertionError("it never came to its end")
    assert number > 2
    assert seen == {("new",), ("old",)}


async def _write_inline(path: str, book_of, id_: str) -> None:
    store = SQLiteStore(path, inline=True)
    await store.open()
    await book_of(store).start(id_)
    await store.close()


def _restore_killed_at(number: int, calls: tuple[str, ...], backup: str, path: str) -> None:
    """In a child: restore, and die before the call of that number."""
    left = [number]

    def dying(function):
        def call(*args, **kwargs):
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)

        return call

    for name in calls:
        setattr(os, name, dying(getattr(os, name)))
    restore.restore(backup, path)
    os._exit(0)


async def test_a_backup_on_a_disk_that_cannot_be_written_is_restored(path: str, backup: str, book_of):
    """Neither the backup nor its folder is touched."""
    await written(backup, book_of, "old")
    before = files_of(backup)
    Path(backup).chmod(0o400)
    Path(backup).parent.chmod(0o500)
    try:
        assert inspect(backup) >= 1
        restore.restore(backup, path)
        assert files_of(backup) == before
    finally:
        Path(backup).parent.chmod(0o700)
    assert await ids_of(path) == ["old"]
