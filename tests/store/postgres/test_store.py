"""The store on PostgreSQL and its sessions; what every store keeps to is tested in `tests/contract`."""

from __future__ import annotations

import asyncio

import pytest

from perdure.store.errors import StoreClosed, StoreError
from perdure.store.postgres import PostgresStore
from perdure.store.postgres.store import READERS
from perdure.store.script import Script

pytestmark = pytest.mark.anyio


def slow() -> Script[None]:
    """A question that takes its time."""
    yield "SELECT pg_sleep(60)", ()


async def test_a_store_that_is_closed_opens_no_session_for_those_who_stood_in_line(postgres_url: str):
    """Nobody would ever close it."""
    store = PostgresStore(postgres_url)
    await store.open()
    asked = [asyncio.create_task(store._ask(slow())) for _ in range(2 * READERS)]
    while not all(reader.is_open for reader in store._readers):  # noqa: ASYNC110 - no event tells of it
        await asyncio.sleep(0)
    await store.close()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(answer, StoreError) for answer in answers)
    assert [type(answer) for answer in answers[READERS:]] == [StoreClosed] * READERS
    assert not any(reader.is_open for reader in store._readers)
