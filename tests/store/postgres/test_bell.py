"""What is left for others is heard by them: soon, once, and never on the path of the writes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from perdure.store.postgres import PostgresStore, bell
from perdure.store.writes import Deregister

pytestmark = pytest.mark.anyio


class Ear:
    """Notes what is heard."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.mail: list[str] = []
        self.work = 0
        self.doubts = 0

    def listen(self, store: PostgresStore) -> None:
        """Hang at that store's bell."""
        store.hear(on_mail=self.mail.append, on_work=self._work, on_doubt=self._doubt)

    def _work(self) -> None:
        self.work += 1

    def _doubt(self) -> None:
        self.doubts += 1


@pytest.fixture
async def pair(postgres_url: str, book_of: Any) -> AsyncIterator[tuple[Any, Any, Ear]]:
    """A book that writes over one store, another store, and an ear at the other's bell."""
    first, second = PostgresStore(postgres_url), PostgresStore(postgres_url)
    await first.open()
    await second.open()
    ear = Ear()
    ear.listen(second)
    await until(lambda: second._bell._link.is_open and second._bell._ringing.done())
    yield book_of(first), second, ear
    await first.close()
    await second.close()


async def until(claim: Any) -> None:
    """Wait until it holds."""
    async with asyncio.timeout(10):
        while not claim():  # noqa: ASYNC110  the server is another process
            await asyncio.sleep(0)


async def test_mail_and_work_are_heard_by_other_processes(pair: tuple[Any, Any, Ear]):
    """With the execution that has it."""
    book, _, ear = pair
    await book.start("e1")
    await until(lambda: ear.work)
    await book.write(book.post("e1"))
    await until(lambda: ear.mail == ["e1"])
    heard = ear.work
    await book.write(Deregister(runner_no=await book.register()))
    await until(lambda: ear.work > heard)


async def test_a_flood_is_told_in_few_notices_and_each_thing_once(pair: tuple[Any, Any, Ear]):
    """However many writes there are."""
    book, _, ear = pair
    await book.publish()
    await book.store.commit([book.starting(f"e{number}") for number in range(100)])
    await until(lambda: ear.work)
    before = ear.work
    for _ in range(10):
        await book.store.commit([book.post(f"e{at}", command_id=f"c{at}-{book.tick()}") for at in range(100)])
    await until(lambda: len(set(ear.mail)) == 100)
    assert len(ear.mail) <= 1_000
    assert ear.work == before


async def test_who_has_written_is_not_rung(pair: tuple[Any, Any, Ear]):
    """It knows."""
    book, second, _ = pair
    ear = Ear()
    ear.listen(book.store)
    await book.start("e1")
    await until(book.store._bell._ringing.done)
    assert (ear.work, ear.mail) == (0, [])
    assert second is not book.store


async def test_a_lost_session_is_replaced_and_doubt_is_told(pair: tuple[Any, Any, Ear], monkeypatch):
    """What was rung meanwhile has to be looked for."""
    monkeypatch.setattr(bell, "LOOK_EVERY_S", 0.05)
    book, second, ear = pair
    Ear().listen(second)
    ear.listen(second)
    second._bell._link.drop()
    doubts = ear.doubts
    await until(lambda: ear.doubts > doubts and second._bell._link.is_open)
    await until(second._bell._ringing.done)
    await book.start("e1")
    await until(lambda: ear.work)
