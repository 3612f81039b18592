"""What people put in is unreadable in the database and the same when it comes out, on every store."""

from __future__ import annotations

import inspect
import typing
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from perdure.runtime.keys import Keyring
from perdure.store.errors import PayloadTooLarge
from perdure.store.records import PAYLOAD_BYTES_MAX, Error, Loaded
from perdure.store.scripts.apply import APPLY
from perdure.store.scripts.resealing import COLUMNS
from perdure.store.scripts.sealing import MARK, PAYLOADS, KeyMissing, Reseal, Resealed
from perdure.store.scripts.search import Index
from perdure.store.states import State, StepState
from perdure.store.writes import AnswerMessage, DeliveryWrite, EventWrite, MessageWrite, SignalWrite

pytestmark = pytest.mark.anyio

SECRET = "the-secret-word"
OLD = {"k1": b"1" * 32}
BOTH = OLD | {"k2": b"2" * 32}
READABLE = {"circuit", "definition", "rule"}  # bytes of a write that stay as they are, and why: see `sealing`


@pytest.fixture
def make_keyed(make_store: Callable[[], Any]) -> Callable[[Keyring | None], Any]:
    """Make stores of the same facts with other keys."""

    def make(keys: Keyring | None) -> Any:
        store = make_store()
        store._keys = keys
        return store

    return make


@pytest.fixture
def with_keys(make_keyed: Any, book_of: Any) -> Any:
    """A book over a store with those keys, as long as it is open."""

    @asynccontextmanager
    async def opened(keys: Keyring | None) -> AsyncIterator[Any]:
        store = make_keyed(keys)
        if store.location == ":memory:":
            pytest.skip("nobody else can see such a store")
        await store.open()
        try:
            yield book_of(store)
        finally:
            await store.close()

    return opened


def quoted(text: str) -> bytes:
    """A payload that says it."""
    return msgspec.json.encode({"said": text})


async def fill(book: Any) -> None:
    """Put the secret wherever something can be put."""
    error = msgspec.json.encode(Error(type="ValueError", message=SECRET, stack=SECRET, step="b"))
    execution = await book.start(context=quoted(SECRET))
    message_no = await book.write(book.post(payload=quoted(SECRET)))
    execution = await book.move(
        execution,
        attempts=(
            book.outcome(0, output=quoted(SECRET)),
            book.attempt(1, StepState.FAILED, is_outcome=True, error=error),
        ),
        events=(EventWrite("noted", data=quoted(SECRET)),),
        messages=(MessageWrite(message_no, quoted(SECRET)),),
        signals=(SignalWrite("go", quoted(SECRET)),),
        fields={"context": quoted(SECRET), "error": error},
        deliveries=(DeliveryWrite("e1", "noted", "http://there", None, quoted(SECRET)),),
    )
    other = await book.write(book.post(command_id="c2", payload=quoted(SECRET)))
    await book.write(AnswerMessage(message_no=other, answer=quoted(SECRET)))
    for number in range(5):  # enough to be written together
        await book.start(f"more-{number}", context=quoted(SECRET))


async def tables(book: Any) -> str:
    """All that the database holds, as one text."""
    return repr([await book.raw(f"SELECT * FROM {table}") for table in COLUMNS])


async def test_nothing_that_people_put_in_can_be_read_in_the_tables(with_keys: Any):
    """And all of it comes out as it was, to whoever has the key."""
    async with with_keys(Keyring("k1", OLD)) as book:
        await fill(book)
        assert SECRET not in await tables(book)
        loaded = await book.store.load("e1")
        assert loaded.execution.context == {"said": SECRET}
        assert (loaded.execution.error.message, loaded.execution.error.stack) == (SECRET, SECRET)
        assert bytes(loaded.attempts[0].output) == quoted(SECRET)
        assert loaded.attempts[1].error.message == SECRET
        assert bytes(loaded.signals[0].payload) == quoted(SECRET)
        events = await book.store.events(execution_id="e1")
        assert events[-1].data == {"said": SECRET}
        message = await book.store.message(1)
        assert (message.payload, message.answer) == (quoted(SECRET), quoted(SECRET))
        assert await book.store.context_at("e1", 1) == {"said": SECRET}


async def test_what_the_machine_looks_at_stays_readable(with_keys: Any):
    """States, times, the kind of an error and the step it came from."""
    async with with_keys(Keyring("k1", OLD)) as book:
        await fill(book)
        [(state, error)] = await book.raw("SELECT state, error FROM workflow_executions WHERE id = 'e1'")
        kept = msgspec.json.decode(error)
        assert (state, kept["type"], kept["step"]) == ("executing", "ValueError", "b")
        assert kept["message"].startswith(f"{MARK}k1:")


async def test_a_claim_answers_what_it_claims_opened(with_keys: Any):
    """As it would without keys."""
    async with with_keys(Keyring("k1", OLD)) as book:
        await fill(book)
        claimed = await book.write(book.claim(await book.execution(), await book.register()))
        assert isinstance(claimed, Loaded)
        assert claimed == await book.store.load("e1")
        assert claimed.execution.context == {"said": SECRET}


async def test_a_store_without_the_key_does_not_open_and_names_it(make_keyed: Any, with_keys: Any):
    """Whether none is given, another, or another one of the same name."""
    async with with_keys(Keyring("k1", OLD)) as book:
        await fill(book)
    for keys in (None, Keyring("k2", {"k2": BOTH["k2"]}), Keyring("k1", {"k1": b"9" * 32})):
        store = make_keyed(keys)
        with pytest.raises(KeyMissing) as missing:
            await store.open()
        assert missing.value.key_id == "k1"
        assert "'k1'" in str(missing.value)
        await store.close()


async def test_a_new_key_seals_what_is_new_and_the_old_one_opens_the_rest(with_keys: Any):
    """Until everything is sealed anew: then the old one is needed no more."""
    async with with_keys(None) as book:
        await fill(book)
        assert SECRET in await tables(book)
    async with with_keys(Keyring("k1", OLD)) as book:
        await book.start("second", context=quoted(SECRET))
    keys = Keyring("k2", BOTH)
    async with with_keys(keys) as book:
        await book.start("third", context=quoted(SECRET))
        before = {id_: await book.store.load(id_) for id_ in ("e1", "second", "third")}
        told = await resealed(book, keys, limit=4)
        assert max(each.rows for each in told) == 4
        assert [each.rows for each in told[-2:]] == [told[-2].rows, 0]
        places = [each.place for each in told]
        assert places[:-2] == sorted(set(places[:-2]), key=lambda place: (place.column, place.after))
        found = await tables(book)
        assert SECRET not in found
        assert f"{MARK}k1:" not in found
        assert {id_: await book.store.load(id_) for id_ in before} == before
        assert await book.store.verify() == []
    async with with_keys(Keyring("k2", {"k2": BOTH["k2"]})) as book:
        assert (await book.execution("second")).context == {"said": SECRET}


async def test_what_is_told_outside_can_be_read_without_the_old_key_too(with_keys: Any):
    """A webhook's call may be made again long after the key was changed."""
    async with with_keys(Keyring("k1", OLD)) as book:
        await fill(book)
    keys = Keyring("k2", BOTH)
    async with with_keys(keys) as book:
        await resealed(book, keys, limit=100)
    async with with_keys(Keyring("k2", {"k2": BOTH["k2"]})) as book:
        assert [delivery.payload for delivery in await book.store.deliveries()] == [quoted(SECRET)]


async def test_keys_whose_names_differ_only_in_their_capitals_are_two_keys(with_keys: Any):
    """What the one has sealed is sealed anew with the other before that is said to be done."""
    async with with_keys(Keyring("k1", OLD)) as book:
        await book.start("first", context=quoted(SECRET))
    keys = Keyring("K1", {**OLD, "K1": BOTH["k2"]})
    async with with_keys(keys) as book:
        await resealed(book, keys, limit=100)
    async with with_keys(Keyring("K1", {"K1": BOTH["k2"]})) as book:
        assert (await book.execution("first")).context == {"said": SECRET}


async def resealed(book: Any, keys: Keyring, *, limit: int) -> list[Resealed]:
    """What each commit answered until nothing was left."""
    told = [await book.write(Reseal(keys=keys, limit=limit))]
    while not told[-1].is_done:
        told.append(await book.write(Reseal(keys=keys, limit=limit, place=told[-1].place)))
    return told


async def test_an_event_never_changes_but_for_how_its_data_is_sealed(with_keys: Any):
    """Not its type, and not to something that is not sealed."""
    async with with_keys(None) as book:
        await fill(book)
        for change in ("type = 'other'", "data = '{}'", "data = NULL"):
            with pytest.raises(Exception, match="append-only"):
                await book.raw(f"UPDATE workflow_events SET {change} WHERE data IS NOT NULL")


async def test_the_limit_is_that_of_what_is_inside(with_keys: Any):
    """Being text costs a third, which nobody has to count."""
    async with with_keys(Keyring("k1", OLD)) as book:
        most = b'"' + b"x" * (PAYLOAD_BYTES_MAX - 2) + b'"'
        await book.start("most", context=b'{"a":' + most[:-7] + b'"}')
        with pytest.raises(PayloadTooLarge):
            await book.start("more", context=b'{"a":' + most + most[:-7] + b'"}')


async def test_a_payload_that_speaks_of_sealing_is_none(with_keys: Any):
    """Whatever people write comes out as they wrote it."""
    tricky = msgspec.json.encode({"said": f'"{MARK}k9:AAAA"'})
    async with with_keys(None) as book:
        await book.start("before", context=tricky)
    async with with_keys(Keyring("k1", OLD)) as book:
        await book.start("after", context=tricky)
        for id_ in ("before", "after"):
            assert (await book.execution(id_)).context == msgspec.json.decode(tricky)


async def test_an_execution_goes_its_way_over_an_encrypted_store(with_keys: Any):
    """Moves that go together are no different."""
    async with with_keys(Keyring("k1", OLD)) as book:
        execution = await book.start(context=quoted(SECRET))
        execution = await book.move(execution, State.COMPLETED, attempts=(book.outcome(0, quoted(SECRET)),))
        assert [bytes(attempt.output) for attempt in await book.store.fold("e1", 2)] == [quoted(SECRET)]


def test_every_payload_of_every_write_is_either_sealed_or_meant_to_be_read():
    """Whoever adds a write with bytes in it decides which."""
    found: set[str] = set()
    seen: set[type] = set()

    def walk(kind: Any) -> None:
        for part in typing.get_args(kind):
            walk(part)
        if not inspect.isclass(kind) or not issubclass(kind, msgspec.Struct) or kind in seen:
            return
        seen.add(kind)
        for name, hint in typing.get_type_hints(kind).items():
            if bytes in (hint, *typing.get_args(hint)):
                found.add(name)
            walk(hint)

    for write in APPLY:
        walk(write)
    assert found == PAYLOADS | READABLE | {"error"}


async def test_what_is_sealed_cannot_be_searched_for(with_keys):
    """Nor, once it is sealed, what was not when it was indexed."""
    async with with_keys(None) as book:
        execution = await book.start("plain", context=quoted(SECRET))
        await book.move(execution, State.CANCELLED, fields={"finished_at": book.tick()})
        await book.write(Index(events=100))
        assert len((await book.store.search(SECRET)).executions) == 1
    keys = Keyring("k1", OLD)
    async with with_keys(keys) as book:
        book.workflow_no = 1
        error = msgspec.json.encode(Error(type="ValueError", message=SECRET))
        sealed = await book.start("sealed", context=quoted(SECRET))
        await book.move(sealed, State.FAILED, fields={"finished_at": book.tick(), "error": error})
        await book.write(Index(events=100))
        assert [one.id for one in (await book.store.search(SECRET)).executions] == ["plain"]
        await resealed(book, keys, limit=100)
        await book.write(Index(events=100))
        assert (await book.store.search(SECRET)).executions == ()
        assert [one.id for one in (await book.store.search("sealed")).executions] == ["sealed"]
        assert not [row for row in await book.raw("SELECT text FROM workflow_search") if SECRET in row[0]]
