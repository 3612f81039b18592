"""The contract of a store, as tests: a store is what passes them.

They run on every store of ours. To try another one, name a function that takes a folder and returns the
store, not yet opened: `PERDURE_CONTRACT_STORE=my.module:make pytest tests/contract`. What looks into the
tables of our own stores is then skipped.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from perdure.store import SQLiteStore
from perdure.store.postgres import PostgresStore

sys.path.insert(0, str(Path(__file__).parent))  # for `ended` and `playing`, which are no tests

FOREIGN = "PERDURE_CONTRACT_STORE"
KINDS = (os.environ[FOREIGN],) if FOREIGN in os.environ else ("memory", "file", "threads", "postgres")


@pytest.fixture(params=KINDS)
def make_store(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Any]:
    """Make stores of one kind, each of the same facts (in memory: of its own)."""
    kind: str = request.param
    path = str(tmp_path / "perdure.db")
    if kind == "memory":
        return lambda: SQLiteStore(":memory:", inline=True)
    if kind in ("file", "threads"):
        return lambda: SQLiteStore(path, inline=kind == "file")
    if kind == "postgres":
        url: str = request.getfixturevalue("postgres_url")
        return lambda: PostgresStore(url)
    module, _, name = kind.partition(":")
    make = getattr(importlib.import_module(module), name)
    return lambda: make(tmp_path)


@pytest.fixture
async def store(make_store: Callable[[], Any]) -> AsyncIterator[Any]:
    """Every kind of store, open and empty."""
    store = make_store()
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def books(store: Any, make_store: Callable[[], Any], book_of: Any) -> AsyncIterator[list[Any]]:
    """Books about three stores of the same facts, as three processes have them."""
    if store.location == ":memory:":
        pytest.skip("nobody else can see such a store")
    async with AsyncExitStack() as stack:
        others = [make_store(), make_store()]
        for other in others:
            await other.open()
            # Also if the next one fails: a thread that is left keeps the whole run from ending.
            stack.push_async_callback(other.close)
        yield [book_of(one) for one in (store, *others)]


@pytest.fixture
def empty_on(request: pytest.FixtureRequest, postgres: Any) -> Callable[[str], Any]:
    """Answers, for a kind of store, what makes a context in which there is an empty one."""

    @contextmanager
    def on_server() -> Iterator[PostgresStore]:
        with postgres.schema(request.getfixturevalue("postgres_server")) as url:
            yield PostgresStore(url)

    @contextmanager
    def in_memory() -> Iterator[SQLiteStore]:
        yield SQLiteStore(":memory:", inline=True)

    return {"memory": in_memory, "postgres": on_server}.__getitem__


@pytest.fixture
def book(store: Any, book_of: Any) -> Any:
    """A book about every kind of store."""
    return book_of(store)
