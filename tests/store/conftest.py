"""What the tests of the store on SQLite share; what every store keeps to is tested in `tests/contract`."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, cast

import pytest

from perdure.store import SQLiteStore

KINDS = ("memory", "file", "threads")  # inline in memory, inline on a file, threads on a file


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Where a file store may be."""
    return str(tmp_path / "perdure.db")


@pytest.fixture
async def open_store(path: str) -> AsyncIterator[Callable[..., Awaitable[SQLiteStore]]]:
    """Open stores, on `path` unless another is given; what a failing test leaves open is closed."""
    stores: list[SQLiteStore] = []

    async def opened(path: str = path, **options: Any) -> SQLiteStore:
        store = SQLiteStore(path, **options)
        stores.append(store)
        await store.open()
        return store

    yield opened
    for store in reversed(stores):
        await store.close()


@pytest.fixture(params=KINDS)
async def store(request: pytest.FixtureRequest, path: str, open_store: Any) -> SQLiteStore:
    """Every kind of store, open and empty."""
    if request.param == "memory":
        return cast("SQLiteStore", await open_store(":memory:", inline=True))
    return cast("SQLiteStore", await open_store(path, inline=request.param == "file", lock_wait_s=0.0))


@pytest.fixture
def book(store: SQLiteStore, book_of: Any) -> Any:
    """A book about every kind of store."""
    return book_of(store)


@pytest.fixture(scope="session")
def at_once() -> Callable[[Coroutine[Any, Any, Any]], Any]:
    """Run a call of an inline store, which never waits, without an event loop."""

    def run(call: Coroutine[Any, Any, Any]) -> Any:
        try:
            call.send(None)
        except StopIteration as done:
            return done.value
        raise AssertionError("an inline store has waited")

    return run


@pytest.fixture
def outsider(path: str) -> Callable[[], sqlite3.Connection]:
    """A connection of somebody else to the same file."""
    return lambda: sqlite3.connect(path, timeout=0, isolation_level=None)
