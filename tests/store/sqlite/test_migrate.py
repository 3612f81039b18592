"""The schema: made once, known by its checksum, never guessed at."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from contextlib import closing

import anyio
import pytest

from perdure.store import SQLiteStore
from perdure.store.errors import MigrationError, StoreCorrupt
from perdure.store.migration import Migration
from perdure.store.sqlite import migrate

pytestmark = pytest.mark.anyio


async def opened(path: str) -> None:
    """Open a store on that file and close it again."""
    store = SQLiteStore(path, inline=True)
    await store.open()
    await store.close()


def schema(path: str) -> list[tuple[str, str]]:
    """Every object in the file."""
    connection = sqlite3.connect(path)
    found = connection.execute("SELECT name, coalesce(sql, '') FROM sqlite_master ORDER BY name").fetchall()
    connection.close()
    return found


def run(path: str, *statements: str) -> None:
    """Do something to the file behind perdure's back."""
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


async def test_a_fresh_file_gets_the_schema_and_its_history(path: str):
    """Each migration with its name and checksum."""
    await opened(path)
    connection = sqlite3.connect(path)
    history = connection.execute("SELECT version, name, checksum FROM perdure_migrations").fetchall()
    connection.close()
    assert history == [(m.version, m.name, m.checksum) for m in migrate.migrations()]
    assert {"workflow_executions", "workflow_events", "workflow_statistics"} <= {
        name for name, _ in schema(path)
    }


async def test_opening_again_changes_nothing(path: str):
    """Not a byte of the schema."""
    await opened(path)
    before = schema(path)
    await opened(path)
    assert schema(path) == before


def test_migrations_are_numbered_from_one_without_gaps():
    """And none of them ends a transaction or is empty."""
    known = migrate.migrations()
    assert [migration.version for migration in known] == list(range(1, len(known) + 1))
    for migration in known:
        statements = migrate._statements(migration.sql)
        assert statements
        assert not [text for text in statements if text.strip().upper().startswith(("COMMIT", "BEGIN"))]


def test_a_script_is_cut_into_statements_at_their_ends():
    """A trigger has semicolons of its own; so have texts and comments."""
    trigger = "CREATE TRIGGER g AFTER INSERT ON t\nBEGIN\n  SELECT 1;\n  SELECT 2;\nEND;\n"
    script = f"CREATE TABLE t (x);\n-- not; here\nINSERT INTO t VALUES ('a;b');\n{trigger}SELECT 3"
    assert [statement.split()[-1] for statement in migrate._statements(script)] == [
        "(x);",
        "('a;b');",
        "END;",
        "3",
    ]


async def test_a_migration_that_was_changed_afterwards_is_refused(path: str):
    """Before anything is touched."""
    await opened(path)
    run(path, "UPDATE perdure_migrations SET checksum = 'other'")
    before = schema(path)
    with pytest.raises(MigrationError, match="another text of migration 0001_initial"):
        await opened(path)
    assert schema(path) == before


async def test_a_schema_newer_than_this_release_is_refused(path: str):
    """The message says which, and what to do."""
    await opened(path)
    run(path, "INSERT INTO perdure_migrations (version, name, checksum) VALUES (99, '0099_future', 'x')")
    newest = len(migrate.migrations())
    with pytest.raises(MigrationError, match=f"version 99, this release knows {newest}: upgrade perdure"):
        await opened(path)


async def test_a_later_migration_is_applied_to_an_older_file(path: str, monkeypatch):
    """And its history is kept; what fails half-way leaves the file as it was."""
    await opened(path)
    known = migrate.migrations()
    broken = Migration(99, "0099_broken", "CREATE TABLE extra (x);\nCREATE TABLE extra (x);")
    monkeypatch.setattr(migrate, "migrations", lambda: [*known, broken])
    before = schema(path)
    with pytest.raises(MigrationError, match=f"0099_broken.*the schema is at version {len(known)}"):
        await opened(path)
    assert schema(path) == before
    monkeypatch.setattr(
        migrate, "migrations", lambda: [*known, Migration(98, "0098_extra", "CREATE TABLE extra (x);")]
    )
    await opened(path)
    assert "extra" in dict(schema(path))


@pytest.mark.parametrize("table", ["workflow_executions", "workflows", "runners"])
async def test_a_file_with_foreign_tables_of_our_names_is_refused(path: str, table: str):
    """It stays as it was."""
    run(path, f"CREATE TABLE {table} (x)")
    before = schema(path)
    with pytest.raises(MigrationError, match=f"table {table} already exists.*use another file"):
        await opened(path)
    assert schema(path) == before


async def test_a_file_of_a_program_s_own_may_hold_the_store_too(path: str):
    """Its tables stay: a step may write them in the transaction of its outcome."""
    run(path, "CREATE TABLE customers (name)", "INSERT INTO customers VALUES ('anna')")
    await opened(path)
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT name FROM customers").fetchall() == [("anna",)]
    connection.close()


@pytest.mark.parametrize(
    "content", [b"hello, I am a text file\n" * 100, b"SQLite format 3\x00" + b"\xff" * 5000]
)
async def test_a_file_that_is_no_database_is_refused_and_left_alone(path: str, content: bytes):
    """Whatever it is, it is somebody's."""
    file = anyio.Path(path)
    await file.write_bytes(content)
    with pytest.raises(StoreCorrupt, match="choose another file"):
        await opened(path)
    assert await file.read_bytes() == content


async def test_stores_of_one_process_may_open_a_fresh_file_at_once(open_store):
    """One of them makes the schema, the others find it."""
    stores = await asyncio.gather(*(open_store() for _ in range(4)))
    assert [await store.verify() for store in stores] == [[]] * 4


OPEN = """
import asyncio, sys
from perdure.store import SQLiteStore

async def main():
    store = SQLiteStore(sys.argv[1])
    sys.stdin.readline()
    await store.open()
    await store.close()

asyncio.run(main())
"""


@pytest.mark.integration
def test_processes_may_migrate_a_fresh_file_at_once(path: str):
    """All start on one word; each finds a whole schema."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", OPEN, path], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    said = [process.communicate("go\n", timeout=60)[1] for process in processes]
    assert said == [""] * 3
    assert len([name for name, _ in schema(path) if name == "workflow_executions"]) == 1


def test_a_library_without_full_text_search_is_told_of(path: str, monkeypatch):
    """It is not the file's fault."""
    known = [*migrate.migrations(), Migration(99, "0099_odd", "CREATE VIRTUAL TABLE odd USING fts99(x);")]
    monkeypatch.setattr(migrate, "migrations", lambda: known)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        with pytest.raises(MigrationError, match=r"no such module: fts99.*another Python"):
            migrate.migrate(connection, path)
        assert migrate.version_of(connection) == 0
