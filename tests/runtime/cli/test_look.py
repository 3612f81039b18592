"""Commands that only look: they need no lock, write nothing and leave no trace."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from perdure.runtime import Runtime, Workflow
from perdure.runtime.cli import run_command
from perdure.store.sqlite import files

COMMANDS = [
    ["list"],
    ["history"],
    ["status", "lamp-1"],
    ["status", "@last"],
    ["events", "lamp-1"],
    ["events", "lamp-1", "--format", "json"],
    ["checkpoints", "lamp-1"],
    ["approvals"],
]


def order() -> Workflow:
    """One step that is done at once."""
    workflow = Workflow("order")

    @workflow.step
    async def ship() -> str:
        return "shipped"

    return workflow


async def ship() -> None:
    """Run one execution to its end."""
    async with Runtime("perdure.db") as runtime:
        await (await runtime.start(order(), id="lamp-1")).result()


@pytest.fixture
def database() -> Iterator[sqlite3.Connection]:
    """A connection to a database with one completed execution and a runner that has died."""
    asyncio.run(ship())
    with closing(sqlite3.connect("perdure.db", isolation_level=None)) as connection:
        connection.execute(
            "INSERT INTO runners (id, pid, host, kind, lock_path, started_at, heartbeat_at, lease_ms) "
            "VALUES ('dead', 1, 'h', 'worker', '/nowhere/dead.lock', 0, 0, 5000)"
        )
        yield connection


@pytest.mark.parametrize("tokens", COMMANDS, ids=" ".join)
def test_a_look_needs_no_lock_and_changes_nothing(
    tokens: list[str], database: sqlite3.Connection, capsys: pytest.CaptureFixture[str]
):
    """Somebody holds the write lock; nobody is registered and no dead runner is buried."""
    changes = database.execute("PRAGMA data_version").fetchone()
    database.execute("BEGIN IMMEDIATE")
    assert run_command([*tokens, "--db", "perdure.db"]) == 0
    assert capsys.readouterr().out
    database.execute("ROLLBACK")
    assert database.execute("PRAGMA data_version").fetchone() == changes
    assert database.execute("SELECT id FROM runners").fetchall() == [("dead",)]
    assert not Path("perdure.db.runners").exists()


async def ship_two() -> None:
    """Run two executions to their ends."""
    async with Runtime("perdure.db") as runtime:
        for id_ in ("lamp-1", "lamp-2"):
            await (await runtime.start(order(), id=id_)).result()


@pytest.mark.parametrize("command", ["list", "history"])
def test_where_there_are_more_than_are_shown_it_is_said(command: str, capsys: pytest.CaptureFixture[str]):
    """To people; programs get as many as they asked for."""
    asyncio.run(ship_two())
    assert run_command([command, "-n", "1"]) == 0
    told = capsys.readouterr()
    assert "lamp-2" in told.out
    assert "lamp-1" not in told.out
    assert "the newest 1; there are more" in told.err
    assert run_command([command, "-n", "2"]) == 0
    assert "more" not in capsys.readouterr().err
    assert run_command([command, "-n", "1", "-q"]) == 0
    assert capsys.readouterr() == ("lamp-2\n", "")


def test_what_is_looked_for_and_not_there_is_said(
    database: sqlite3.Connection, capsys: pytest.CaptureFixture[str]
):
    """With the code of things not found."""
    assert database.in_transaction is False
    assert run_command(["status", "nobody"]) == 3
    assert "nobody" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("wanted", "meant"),
    [
        ("lamp-2", "did you mean 'lamp-1'?"),
        ("ordr@last", "did you mean 'order@last'?"),
        ("order@lst", "did you mean 'order@last'?"),
        ("@lats", "did you mean '@last'?"),
        ("zebra@last", "there is none yet"),
        ("zebra", "see `perdure list`"),
    ],
)
def test_what_was_mistyped_is_answered_with_the_nearest(
    wanted: str, meant: str, database: sqlite3.Connection, capsys: pytest.CaptureFixture[str]
):
    """An id, a workflow's name or a word; where nothing is near, how to find it."""
    assert database.in_transaction is False
    assert run_command(["status", wanted]) == 3
    assert capsys.readouterr().err == f"perdure: no execution '{wanted}': {meant}\n"


def test_an_empty_list_says_so(database: sqlite3.Connection, capsys: pytest.CaptureFixture[str]):
    """To people; programs get nothing."""
    assert database.in_transaction is False
    assert run_command(["list", "--workflow", "nope"]) == 0
    assert capsys.readouterr().err == "there is no such execution\n"
    assert run_command(["list", "--workflow", "nope", "--format", "jsonl"]) == 0
    assert capsys.readouterr() == ("", "")


def test_a_schema_of_another_release_is_told_and_left(
    database: sqlite3.Connection, capsys: pytest.CaptureFixture[str]
):
    """Looking brings nothing up to date."""
    newest = database.execute("SELECT max(version) FROM perdure_migrations").fetchone()[0]
    database.execute("DELETE FROM perdure_migrations WHERE version = ?", (newest,))
    assert run_command(["list"]) == 6
    assert "looking changes nothing" in capsys.readouterr().err
    assert database.execute("SELECT max(version) FROM perdure_migrations").fetchone()[0] != newest


@pytest.mark.parametrize("tokens", COMMANDS, ids=" ".join)
def test_a_file_on_a_read_only_disk_can_be_looked_at(
    tokens: list[str], database: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
):
    """SQLite would make files beside it, and fail where it cannot."""
    database.close()
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["perdure.db"]
    monkeypatch.setattr(files, "_is_writable", lambda _: False)
    before = Path.cwd().stat().st_mtime_ns
    assert run_command([*tokens, "--db", "perdure.db"]) == 0
    assert Path.cwd().stat().st_mtime_ns == before, "something was made in the folder"
