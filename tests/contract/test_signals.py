"""Signals: kept in order until a step takes them, given back, gone with their execution."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.store.errors import PayloadTooLarge
from perdure.store.records import PAYLOAD_BYTES_MAX
from perdure.store.states import State
from perdure.store.writes import DeleteExecution, SignalMove, SignalWrite

pytestmark = pytest.mark.anyio


async def keep(book: Any, *payloads: bytes) -> list[int]:
    """Signals one after another; the versions that received them."""
    versions = []
    for payload in payloads:
        signals = (SignalWrite("go", payload),)
        versions.append((await book.write(book.change(await book.execution(), signals=signals))).version)
    return versions


async def take(book: Any, *moves: SignalMove, state: State | None = None) -> int:
    """Let steps take signals, or give them back."""
    return (await book.write(book.change(await book.execution(), state, taken=moves))).version


async def kept(book: Any) -> list[tuple[int, str, bytes]]:
    """What the next owner is given."""
    loaded = await book.store.load("e1")
    return [(signal.version, signal.name, bytes(signal.payload)) for signal in loaded.signals]


async def test_signals_are_kept_in_the_order_of_their_arrival_until_they_are_taken(book):
    """Each is named by the version that received it."""
    await book.start()
    first, second = await keep(book, b"1", b'{"a":2}')
    assert await kept(book) == [(first, "go", b"1"), (second, "go", b'{"a":2}')]
    await take(book, SignalMove(first, 0))
    assert await kept(book) == [(second, "go", b'{"a":2}')]


async def test_what_was_taken_after_a_version_is_told_and_may_be_given_back(book):
    """A restore asks for it."""
    await book.start()
    first, second = await keep(book, b"1", b"2")
    point = await take(book, SignalMove(first, 0))
    await take(book, SignalMove(second, 1))
    taken = await book.store.signals_taken("e1", after=point)
    assert [signal.version for signal in taken] == [second]
    await take(book, SignalMove(second, None))
    assert [version for version, _, _ in await kept(book)] == [second]
    assert await book.store.signals_taken("e1", after=0) != ()


async def test_a_signal_that_is_too_large_is_refused_with_its_change(book):
    """Nothing of it is written."""
    await book.start()
    signals = (SignalWrite("go", b'"%s"' % (b"x" * PAYLOAD_BYTES_MAX)),)
    answer = await book.answer_to(book.change(await book.execution(), signals=signals))
    assert isinstance(answer, PayloadTooLarge)
    assert await kept(book) == []


async def test_signals_of_many_executions_may_share_a_batch(book):
    """Each stays with its own."""
    starts = [await book.start(f"e{no}") for no in range(6)]
    changes = [
        book.change(start, signals=(SignalWrite("go", b"%d" % no),)) for no, start in enumerate(starts)
    ]
    answers = await book.store.commit(changes)
    assert [answer.version for answer in answers] == [2] * 6
    for no in range(6):
        loaded = await book.store.load(f"e{no}")
        assert [bytes(signal.payload) for signal in loaded.signals] == [b"%d" % no]


async def test_signals_go_with_their_execution(book):
    """Deleting leaves nothing behind."""
    await book.start()
    await keep(book, b"1")
    await take(book, state=State.COMPLETED)
    await book.write(DeleteExecution(execution_id="e1"))
    assert await book.store.verify() == []
