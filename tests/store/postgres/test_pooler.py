"""Behind a pooler in transaction mode everything works but listening, and that is said."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit, urlunsplit

import asyncpg
import pytest

from perdure.runtime import Runtime, Workflow
from perdure.store.errors import StoreError
from perdure.store.postgres import PostgresStore
from perdure.store.postgres.address import Address
from perdure.store.protocol import Audible
from perdure.store.states import State

pytestmark = [pytest.mark.anyio, pytest.mark.integration]

_spec = importlib.util.spec_from_file_location("pooler", Path(__file__).parent / "pooler.py")
assert _spec is not None
assert _spec.loader is not None
_pooler = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_pooler)


@pytest.fixture
def pooled(postgres_url: str, tmp_path: Path) -> Callable[[], Any]:
    """The server's address through a pooler, as long as it listens."""
    parts = urlsplit(postgres_url)
    options = parse_qs(parts.query)
    host = options.get("host", [""])[0]
    if not host.startswith("/"):
        pytest.skip("needs a server with a Unix socket")

    @asynccontextmanager
    async def listening() -> AsyncIterator[tuple[str, Any]]:
        pooler = _pooler.Pooler(Path(host))
        user = parts.username or options.get("user", ["postgres"])[0]
        async with pooler.listening(tmp_path, user=user, database=parts.path.strip("/")) as folder:
            query = f"host={folder}&schema={options['schema'][0]}"  # settings of a session do not get through
            yield urlunsplit(parts._replace(query=query)), pooler

    return listening


async def test_a_store_works_behind_a_pooler(pooled: Any, book_of: Any):
    """Writes that go together, one that is refused among them, and questions side by side."""
    async with pooled() as (url, pooler):
        store = PostgresStore(url)
        await store.open()
        book = book_of(store)
        execution = await book.start("e1")
        await book.move(execution, attempts=(book.outcome(0),))
        stale = book.change(execution, attempts=(book.outcome(1),))
        answers = await store.commit([book.starting(f"more-{n}") for n in range(10)] + [stale])
        assert [type(answer).__name__ for answer in answers] == ["Started"] * 10 + ["Conflict"]
        loaded = await asyncio.gather(*(store.load(f"more-{n}") for n in range(10)))
        assert {one.execution.state for one in loaded} == {State.EXECUTING}
        assert await store.verify() == []
        assert pooler.lent > 20
        await store.close()


async def test_a_runtime_works_behind_a_pooler_and_says_that_it_cannot_hear(
    pooled: Any, caplog: pytest.LogCaptureFixture
):
    """Once, when it opens."""
    flow = Workflow("flow")

    @flow.step
    async def double(n: int) -> int:
        return 2 * n

    async with pooled() as (url, _), Runtime(url, workflows=[flow]) as runtime:
        executions = [await runtime.start(flow, {"n": n}) for n in range(20)]
        results = [await execution.result() for execution in executions]
        assert [result.outputs["double"] for result in results] == [2 * n for n in range(20)]
        assert isinstance(runtime.store, Audible)
        assert "?pooler=session" in str(runtime.store.cannot_hear)
    assert caplog.text.count("bell_not_heard") == 1


async def test_a_server_itself_is_no_pooler(postgres_url: str):
    """Found out by the number of its process; or said in the address."""
    for url in (postgres_url, postgres_url + "&pooler=session"):
        store = PostgresStore(url)
        await store.open()
        assert store.cannot_hear is None
        await store.close()


async def test_a_pooler_that_is_told_of_is_not_looked_for(pooled: Any):
    """And one that is denied is an error of the server's."""
    async with pooled() as (url, _):
        told = PostgresStore(url + "&pooler=transaction")
        await told.open()
        assert told.cannot_hear is not None
        await told.close()
        denied = PostgresStore(url + "&pooler=session")
        with pytest.raises(StoreError, match="unsupported startup parameter"):
            await denied.open()


async def test_our_pooler_gives_each_transaction_the_other_session(pooled: Any):
    """Or these tests would show nothing."""
    async with pooled() as (url, _):
        connection = await asyncpg.connect(Address.parse(url).dsn, statement_cache_size=0)
        seen = [await connection.fetchval("SELECT pg_backend_pid()") for _ in range(4)]
        assert seen[0] == seen[2] != seen[1] == seen[3]
        await connection.close(timeout=1)


def test_an_address_says_what_is_in_between():
    """Nothing else may be said."""
    assert Address.parse("postgresql://h/d?pooler=transaction").is_pooled is True
    assert Address.parse("postgresql://h/d?pooler=session").is_pooled is False
    assert Address.parse("postgresql://h/d").is_pooled is None
    with pytest.raises(StoreError, match="say transaction, session or auto"):
        Address.parse("postgresql://h/d?pooler=maybe")
