"""A batch on PostgreSQL: the same facts however it is cut, and what comes of it when the session is lost."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import asyncpg
import pytest

from perdure.store.errors import Conflict, OutcomeUnknown, PerdureError, StoreUnavailable
from perdure.store.postgres import PostgresStore, batch
from perdure.store.postgres.sets import gathered
from perdure.store.states import State, StepState
from perdure.store.writes import (
    Changed,
    CheckpointWrite,
    EventWrite,
    MessageWrite,
    Started,
    Statement,
    TimerWrite,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
async def book(postgres_url: str, book_of: Any) -> Any:
    """A book about a store in PostgreSQL."""
    store = PostgresStore(postgres_url)
    await store.open()
    yield book_of(store)
    await store.close()


async def moves(book: Any) -> list[Any]:
    """A batch with rows of every kind."""
    first, second, third = [await book.start(f"e{number}") for number in range(3)]
    message_no = await book.write(book.post("e0"))
    first = await book.move(first, attempts=(book.attempt(0),), timers=(TimerWrite("retry", 0, 5),))
    mark = CheckpointWrite("here", "anna", automatic=False, steps_completed=1, steps_total=3, size_bytes=9)
    return [
        book.starting("new-1", state=State.IDLE),
        book.change(
            first,
            State.AWAITING_COMPLETION,
            attempts=(book.outcome(0, before=StepState.RUNNING), book.attempt(1)),
            timers=(TimerWrite("retry", 0, None), TimerWrite("wait", 1, 7)),
            messages=(MessageWrite(message_no, b'"done"'),),
            checkpoint=mark,
            fields={"context": b'{"a":1}', "started_at": 5, "paused_by": "anna"},
        ),
        book.change(
            second,
            State.COMPLETED,
            timers=(TimerWrite("retry", 0, None),),
            events=(EventWrite("x"), EventWrite("y", command_id="c1")),
        ),
        book.change(third, fields={"started_at": None, "error": b"null"}, events=()),
    ]


async def test_one_statement_writes_what_single_scripts_would(book: Any, monkeypatch):
    """Apart from when, by whom and under which number."""
    together = await moves(book)
    assert gathered(together, "s") is not None
    before = await book.facts()
    answers = await book.store.commit(together)
    assert [type(answer) for answer in answers] == [Started, Changed, Changed, Changed]
    set_based = in_order(await book.facts())
    await undo(book, before)
    monkeypatch.setattr(batch, "gathered", lambda run, schema: None)
    assert await book.store.commit(together) == answers
    assert in_order(await book.facts()) == set_based


def in_order(facts: dict[str, list[tuple[Any, ...]]]) -> dict[str, list[tuple[Any, ...]]]:
    """A table has no order of its own."""
    return {table: sorted(rows, key=repr) for table, rows in facts.items()}


COLUMNS = """
SELECT attname AS name, attgenerated <> '' AS is_generated FROM pg_attribute
WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""


async def undo(book: Any, facts: dict[str, list[tuple[Any, ...]]]) -> None:
    """Put the tables back as they were, past every trigger."""
    link = book.store._writer
    schema = link.address.schema
    await link.simply("SET session_replication_role TO replica")
    for table in reversed(facts):
        await link.simply(f"DELETE FROM {schema}.{table}")
    for table, rows in facts.items():
        connection = await link.open()
        columns = await connection.fetch(COLUMNS, f"{schema}.{table}")
        written = [at for at, column in enumerate(columns) if not column["is_generated"]]
        names = ", ".join(columns[at]["name"] for at in written)
        places = ", ".join(f"${number}" for number in range(1, len(written) + 1))
        statement = await link.prepare(f"INSERT INTO {schema}.{table} ({names}) VALUES ({places})")
        for row in rows:
            await statement.fetch(*(row[at] for at in written))
    last = max((row[0] for row in facts["workflow_events"]), default=0)
    await link.simply(f"UPDATE {schema}.workflow_log SET last = {last}")
    numbers = max((row[0] for row in facts["workflow_executions"]), default=0)
    await link.simply(f"SELECT setval('{schema}.workflow_executions_no_seq', {numbers})")
    await link.simply("SET session_replication_role TO DEFAULT")


async def test_refused_writes_are_found_among_hundreds(book: Any):
    """And every neighbour is written, in the order and with the answer it would have had alone."""
    executions = [await book.start(f"e{number}") for number in range(200)]
    stale = {3, 77, 78, 199}
    writes = [book.change(one, version=9 if at in stale else 1) for at, one in enumerate(executions)]
    answers = await book.store.commit(writes)
    assert {at for at, answer in enumerate(answers) if isinstance(answer, PerdureError)} == stale
    assert all(isinstance(answers[at], Conflict) for at in stale)
    log = {event.id: event.execution_id for event in await book.store.events(limit=1_000)}
    fine = [at for at in range(200) if at not in stale]
    assert [log[answers[at].first_event_id] for at in fine] == [f"e{at}" for at in fine]


@pytest.mark.parametrize("among", [True, False])
async def test_starts_of_what_is_there_join_it_all_at_once(book: Any, monkeypatch, *, among: bool):
    """Whoever retries has hundreds of them; none is looked at alone, also among writes of other kinds."""
    moved = await book.start("moved")
    numbers = {f"e{number}": (await book.start(f"e{number}")).no for number in range(0, 100, 2)}
    alone: list[Any] = []
    apply_alone = batch._apply_alone
    monkeypatch.setattr(
        batch, "_apply_alone", lambda link, write: alone.append(write) or apply_alone(link, write)
    )
    starts = [book.starting(f"e{number}") for number in range(100)]
    others = [book.post("moved")] if among else []
    answers = await book.store.commit([*starts, book.change(moved), *others])
    assert [answer.joined for answer in answers[:100]] == [number % 2 == 0 for number in range(100)]
    assert [answer.execution_no for answer in answers[:100:2]] == list(numbers.values())
    assert answers[100].version == 2
    assert alone == others


async def test_two_moves_of_one_execution_follow_each_other(book: Any):
    """Though they came in one batch."""
    execution = await book.start()
    batch_of_two = [book.change(execution), book.change(execution, version=2)]
    assert [answer.version for answer in await book.store.commit(batch_of_two)] == [2, 3]


async def test_a_reader_never_sees_a_higher_event_before_a_lower_one(postgres_url: str, book_of: Any):
    """Two runners write; who reads on from the last id it saw misses nothing."""
    stores = [PostgresStore(postgres_url), PostgresStore(postgres_url)]
    for store in stores:
        await store.open()
    books = [book_of(store) for store in stores]
    workflow_no = await books[0].publish()
    books[1].workflow_no = workflow_no
    seen: list[int] = []

    async def write(book: Any, name: str) -> None:
        for number in range(60):
            await book.write(book.starting(f"{name}-{number}"))

    async def read() -> None:
        while len(seen) < 120:
            seen.extend(event.id for event in await stores[0].events(after=seen[-1] if seen else 0))

    async with asyncio.timeout(30):
        await asyncio.gather(write(books[0], "a"), write(books[1], "b"), read())
    assert seen == sorted(set(seen))
    for store in stores:
        await store.close()


async def test_a_session_that_is_ended_in_the_middle_leaves_the_outcome_unknown(book: Any):
    """The statement waits for a lock when its process on the server is ended; nothing of it comes later."""
    execution = await book.start()
    other = PostgresStore(f"{book.store._address.dsn}&schema={book.store._address.schema}")
    await other.open()
    await other._writer.simply("BEGIN")
    await other._writer.execute("SELECT 1 FROM workflow_executions WHERE no = ? FOR UPDATE", (execution.no,))
    pid = book.store._writer.pid
    commit = asyncio.create_task(book.store.commit([book.change(execution)]))
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE pid = ? AND wait_event_type = 'Lock'"
    async with asyncio.timeout(10):
        while not (await other._writer.execute(waiting, (pid,))).fetchone()[0]:
            pass
    await other._writer.execute("SELECT pg_terminate_backend(?)", (pid,))
    with pytest.raises(OutcomeUnknown, match="read the state back"):
        await commit
    await other._writer.simply("ROLLBACK")
    await other.close()
    assert (await book.execution()).version == 1
    assert (await book.move(execution)).version == 2


@pytest.mark.parametrize("timeout", ["statement_timeout", "lock_timeout"])
async def test_a_commit_that_the_server_cuts_short_has_not_happened_and_may_come_again(
    book: Any, *, timeout: str
):
    """By a time that the role is given, while it waits for somebody's lock."""
    execution = await book.start()
    other = PostgresStore(f"{book.store._address.dsn}&schema={book.store._address.schema}")
    await other.open()
    await other._writer.simply("BEGIN")
    await other._writer.execute("SELECT 1 FROM workflow_executions WHERE no = ? FOR UPDATE", (execution.no,))
    await book.store._writer.simply(f"SET {timeout} TO 50")
    with pytest.raises(StoreUnavailable, match=timeout.replace("_", " ")):
        await book.store.commit([book.change(execution)])
    await other._writer.simply("ROLLBACK")
    await other.close()
    assert (await book.move(execution)).version == 2


async def test_a_session_that_was_ended_at_rest_is_replaced_without_a_word(book: Any):
    """Nothing had been sent, so nothing is unknown; readers come back too."""
    execution = await book.start()
    sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = ? AND pid <> ?"
    other = PostgresStore(f"{book.store._address.dsn}&schema={book.store._address.schema}")
    await other.open()
    await other._writer.execute(sql, ("perdure", other._writer.pid))
    await other.close()
    async with asyncio.timeout(10):
        while book.store._writer.is_open:  # noqa: ASYNC110  the loop has to see that the socket was closed
            await asyncio.sleep(0)
    assert (await book.answer_to(book.change(execution))).version == 2
    assert (await book.execution()).version == 2


@pytest.mark.parametrize("rounds", range(6))
async def test_a_write_between_the_servers_good_bye_and_the_end_of_the_socket_finds_the_session_lost(
    book: Any, rounds: int
):
    """However many rounds of the loop later it comes; it is answered in our words, and the next goes well."""
    execution = await book.move(await book.start())  # the statement of a change is prepared from now on
    other = PostgresStore(f"{book.store._address.dsn}&schema={book.store._address.schema}")
    await other.open()
    transport = book.store._writer._connection._transport
    transport.pause_reading()
    await other._writer.execute("SELECT pg_terminate_backend(?, 10000)", (book.store._writer.pid,))
    transport.resume_reading()
    for _ in range(rounds):
        await asyncio.sleep(0)
    with contextlib.suppress(OutcomeUnknown, StoreUnavailable):
        await batch.commit(book.store._writer, [book.change(execution)])
    await other.close()
    assert (await book.move(await book.execution())).version > execution.version


async def test_a_caller_that_is_cancelled_leaves_only_the_wait(book: Any):
    """The write is done all the same, before whatever is asked for later."""
    execution = await book.start()
    commit = asyncio.create_task(book.store.commit([book.change(execution)]))
    await asyncio.sleep(0)
    commit.cancel()
    await book.store.commit([])
    assert (await book.execution()).version == 2


async def test_a_statement_of_the_users_goes_alone_among_others(book: Any):
    """The set around it is cut, and all of it is one transaction."""
    first, second = await book.start("e1"), await book.start("e2")
    await book.raw("CREATE TABLE ledger (entry TEXT UNIQUE)")
    paid = (Statement("INSERT INTO ledger VALUES ($1)", ("paid",)),)
    answers = await book.store.commit([book.change(first, statements=paid), book.change(second)])
    assert [answer.version for answer in answers] == [2, 2]
    assert await book.raw("SELECT entry FROM ledger") == [("paid",)]


class Fading:
    """A session whose server undoes the first transaction for another one's sake, and then is gone."""

    is_pooled = True

    def __init__(self) -> None:
        """It is there yet."""
        self.begun = 0
        self.dropped = 0

    async def open(self) -> None:
        """The next one, where the last is gone."""

    async def begin(self) -> None:
        """The second time it goes well."""
        self.begun += 1
        if self.begun == 1:
            raise asyncpg.DeadlockDetectedError("somebody else goes first")

    async def simply(self, words: str) -> None:
        """Only a rollback comes when it is gone."""
        if words == "ROLLBACK":
            raise asyncpg.ConnectionDoesNotExistError("gone")

    def drop(self) -> None:
        """Let go."""
        self.dropped += 1


async def test_a_session_that_ends_right_after_a_deadlock_is_replaced():
    """What the driver says of it would else end the writer, and with it the runtime."""
    link: Any = Fading()
    assert await batch.commit(link, []) == []
    assert (link.begun, link.dropped) == (2, 1)
