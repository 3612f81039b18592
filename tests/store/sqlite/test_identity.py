"""Two stores never mix: a process notices that another file has taken the place of its own."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from perdure.store.errors import StoreReplaced
from perdure.store.sqlite.backup import back_up
from perdure.store.sqlite.files import size_of
from perdure.store.sqlite.identity import Identity, identity_of
from perdure.store.sqlite.restore import restore

pytestmark = pytest.mark.anyio


def identity(path: str) -> Identity:
    """What the file calls itself."""
    with closing(sqlite3.connect(path)) as connection:
        found = identity_of(connection)
    assert found is not None
    return found


def move(source: str | Path, target: str | Path) -> None:
    """Give a file another name, past every process that has it open."""
    Path(source).replace(target)


async def test_each_store_has_an_identity_that_stays(open_store, tmp_path: Path):
    """However often it is opened; another store has another."""
    one, two = str(tmp_path / "one.db"), str(tmp_path / "two.db")
    await open_store(one, inline=True)
    await open_store(two, inline=True)
    first = identity(one)
    await open_store(one, inline=True)
    assert identity(one) == first
    assert first.copied_from is None
    assert identity(two).id != first.id


@pytest.mark.parametrize("kind", ["inline", "threads"])
async def test_a_file_that_was_replaced_is_neither_written_nor_read(
    open_store, book_of, path: str, tmp_path: Path, kind: str
):
    """SQLite itself would go on with the file that nobody can find any more."""
    store = await open_store(inline=kind == "inline")
    book = book_of(store)
    await book.start("e1")
    other = str(tmp_path / "other.db")
    await open_store(other, inline=True)
    move(path, tmp_path / "away.db")
    move(other, path)
    with pytest.raises(StoreReplaced, match=r"perdure\.db is not what this process has opened"):
        await book.write(book.starting("e2"))
    with pytest.raises(StoreReplaced):
        await store.execution("e1")


async def test_a_file_that_was_removed_is_not_made_anew(open_store, book_of, path: str, tmp_path: Path):
    """What would be answered would be gone with the process."""
    book = book_of(await open_store(inline=True))
    await book.start("e1")
    move(path, tmp_path / "away.db")
    with pytest.raises(StoreReplaced):
        await book.write(book.starting("e2"))
    assert size_of(path) == 0


async def test_the_work_goes_on_once_the_file_is_back(open_store, book_of, path: str, tmp_path: Path):
    """It was moved away and back: it is the same store."""
    book = book_of(await open_store(inline=True))
    await book.start("e1")
    move(path, tmp_path / "away.db")
    with pytest.raises(StoreReplaced):
        await book.write(book.starting("e2"))
    move(tmp_path / "away.db", path)
    await book.start("e2")
    assert (await book.execution("e1")).id == "e1"


async def test_another_store_under_the_same_file_is_noticed_when_it_is_opened_again(
    open_store, path: str, tmp_path: Path
):
    """Copied over it byte by byte, so that the system takes it for the same file."""
    other = str(tmp_path / "other.db")
    await (await open_store(other, inline=True)).close()
    store = await open_store(inline=True)
    store._links[0].drop()
    shutil.copyfile(other, path)
    with pytest.raises(StoreReplaced, match=f"now it is the store {identity(other).id}"):
        await store.commit([])


async def test_a_store_that_was_closed_takes_what_is_there(open_store, path: str, tmp_path: Path):
    """Whoever opens it means what is there now."""
    store = await open_store(inline=True)
    other = str(tmp_path / "other.db")
    await (await open_store(other, inline=True)).close()
    await store.close()
    move(other, path)
    await store.open()
    assert await store.executions() == []


async def test_a_copy_is_a_store_of_its_own_and_so_is_what_is_restored(open_store, path: str, tmp_path: Path):
    """Both say what they were copied from; the original stays what it was."""
    await (await open_store(inline=True)).close()
    original = identity(path)
    copy = str(tmp_path / "copy.db")
    back_up(path, copy)
    assert identity(path) == original
    assert identity(copy).copied_from == original.id
    assert identity(copy).id != original.id
    restore(copy, path)
    assert identity(path).copied_from == identity(copy).id
    assert len({original.id, identity(copy).id, identity(path).id}) == 3
