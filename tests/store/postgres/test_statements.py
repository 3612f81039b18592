"""How far statements of the user's own may reach on PostgreSQL."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.store.errors import StatementFailed
from perdure.store.postgres import PostgresStore
from perdure.store.postgres.statements import why_not
from perdure.store.writes import Started, Statement

pytestmark = pytest.mark.anyio


@pytest.fixture
async def book(postgres_url: str, book_of: Any) -> Any:
    """A book about a store beside which the user has a table."""
    store = PostgresStore(postgres_url)
    await store.open()
    book = book_of(store)
    await book.raw("CREATE TABLE ledger (entry TEXT UNIQUE)")
    await book.publish()
    yield book
    await store.close()


@pytest.mark.parametrize(
    "sql",
    [
        "COMMIT",
        "/* hush */ -- well\n ROLLBACK",
        "SAVEPOINT mine",
        "RELEASE write",
        "SET search_path TO perdure",
        "DO $$ BEGIN COMMIT; END $$",
        "CREATE TEMP TABLE workflows (no INTEGER)",
        "DELETE FROM perdure.workflow_events",
        'DELETE FROM "perdure".workflow_events',
        "",
    ],
)
def test_what_reaches_too_far_is_refused_before_it_is_sent(sql: str):
    """By its first word, or by the schema it names."""
    assert why_not(sql, "perdure")


@pytest.mark.parametrize(
    "sql", ["INSERT INTO ledger VALUES ('perdure.x is a text')", "SELECT my_perdure.x FROM my_perdure"]
)
def test_what_only_looks_like_the_schema_may_pass_unless_it_names_it(sql: str):
    """A name that ends like ours is another name; a text is taken for ours, to be on the safe side."""
    assert bool(why_not(sql, "perdure")) is ("'" in sql)


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM workflow_events",
        "UPDATE runners SET pid = 0",
        "INSERT INTO ledger VALUES ('x'); COMMIT",
        "no SQL at all",
        "SELECT pg_sleep(60)",
    ],
)
async def test_a_statement_that_fails_takes_only_its_own_write(book: Any, sql: str, monkeypatch):
    """Unqualified, the store's tables are out of reach; one that takes too long is cut."""
    monkeypatch.setattr("perdure.store.postgres.statements.STATEMENT_MS", 100)
    before = await book.facts()
    assert isinstance(await book.answer_to(book.starting_with("e1", Statement(sql))), StatementFailed)
    assert await book.facts() == before
    answers = await book.store.commit(
        [book.starting_with("e1"), book.starting_with("e2", Statement(sql)), book.starting_with("e3")]
    )
    assert [type(answer) for answer in answers] == [Started, StatementFailed, Started]


async def test_what_is_checked_only_at_the_commit_and_takes_too_long_is_cut_as_well(book: Any, monkeypatch):
    """It takes its own write, and not those of its batch."""
    monkeypatch.setattr("perdure.store.postgres.statements.STATEMENT_MS", 100)
    sleep = "RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(60); RETURN NEW; END $$"
    await book.raw(f"CREATE FUNCTION ponder() {sleep}")
    await book.raw(
        "CREATE CONSTRAINT TRIGGER pondering AFTER INSERT ON ledger DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION ponder()"
    )
    slow = Statement("INSERT INTO ledger VALUES ('x')")
    answers = await book.store.commit([book.starting_with("e1", slow), book.starting_with("e2")])
    assert [type(answer) for answer in answers] == [StatementFailed, Started]


async def test_a_statement_may_say_how_many_rows_it_must_change(book: Any):
    """So that an update that finds nothing to update can be the step's failure."""
    nothing = Statement("UPDATE ledger SET entry = $1", ("x",), rows=1)
    failed = await book.answer_to(book.starting_with("e1", nothing))
    assert (failed.position, failed.why) == (1, "it changed 0 rows, not 1")
    one = Statement("INSERT INTO ledger VALUES ($1)", ("x",), rows=1)
    assert isinstance(await book.answer_to(book.starting_with("e1", one)), Started)
    assert await book.raw("SELECT entry FROM ledger") == [("x",)]
