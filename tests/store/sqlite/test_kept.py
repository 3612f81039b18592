"""What a release has left behind is taken up by this one, also when its migration is killed on the way."""

from __future__ import annotations

import gzip
import os
import re
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from perdure.store import SQLiteStore
from perdure.store.errors import MigrationError
from perdure.store.migration import Migration
from perdure.store.sqlite import migrate
from perdure.store.sqlite.backup import keep_before
from perdure.store.sqlite.migrate import migrations
from perdure.store.sqlite.restore import restore

pytestmark = pytest.mark.anyio

KEPT = sorted((Path(__file__).parents[2] / "data").glob("sqlite-*.db.gz"))
Facts = dict[str, tuple[tuple[str, ...], list[tuple[Any, ...]]]]
LIVES = {
    "done-1": "completed",
    "failed-1": "failed",
    "cancelled-1": "cancelled",
    "paused-1": "paused",
    "waiting-1": "awaiting_completion",
}


@pytest.fixture(params=KEPT, ids=lambda path: path.name.split(".")[0])
def kept(request: pytest.FixtureRequest, path: str) -> str:
    """A file that a release has written, in a folder of its own."""
    Path(path).write_bytes(gzip.decompress(request.param.read_bytes()))
    return path


@pytest.fixture
def old(kept: str) -> Iterator[sqlite3.Connection]:
    """The same as the release that made it saw it."""
    with closing(sqlite3.connect(kept, isolation_level=None)) as connection:
        yield connection


def version_of(path: str) -> int:
    """The schema's version."""
    with closing(sqlite3.connect(path)) as connection:
        return migrate.version_of(connection)


def facts(connection: sqlite3.Connection, like: Facts | None = None) -> Facts:
    """Every row that an execution has left; of the tables and columns of `like`, which is older."""
    found: Facts = {}
    tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    for (table,) in tables:
        if not table.startswith("workflow") or (like is not None and table not in like):
            continue
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        if like is not None:
            columns = [name for name in columns if name in like[table][0]]
        rows = connection.execute(f"SELECT {', '.join(columns)} FROM {table}").fetchall()
        found[table] = (tuple(columns), sorted(rows, key=repr))
    return found


async def test_every_row_survives_the_migration_as_it_was(kept: str, old: sqlite3.Connection):
    """What is new stands beside it; the file as it was is kept."""
    before = facts(old)
    version = migrate.version_of(old)
    old.close()
    store = SQLiteStore(kept, inline=True)
    await store.open()
    assert {one.id: str(one.state) for one in await store.executions()} == LIVES
    assert await store.verify() == []
    assert (await store.summary("done-1")).duration_ms is not None
    await store.close()
    with closing(sqlite3.connect(kept)) as connection:
        assert facts(connection, before) == before
    if version < len(migrations()):
        assert version_of(f"{kept}.before-{version + 1}") == version


async def test_the_kept_copy_is_the_way_back(kept: str, old: sqlite3.Connection):
    """Put in its place it is the file of the older release again."""
    before, version = facts(old), migrate.version_of(old)
    old.close()
    migrated = upgraded(kept)
    if migrated.kept is None:
        pytest.skip("it is of this release")
    restore(migrated.kept, kept)
    with closing(sqlite3.connect(kept)) as connection:
        assert (facts(connection), migrate.version_of(connection)) == (before, version)


def upgraded(path: str, *, watch: Callable[[str], None] | None = None) -> migrate.Migrated:
    """Migrate the file; `watch` sees every statement before it is run."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.set_trace_callback(watch)
        return migrate.migrate(connection, path, keep=keep_before)


def killed_at(path: str, number: int) -> bool:
    """Migrate in a child that is killed before its statement of that number; whether it got so far."""
    child = os.fork()
    if child == 0:
        count = 0

        def watch(_sql: str) -> None:
            nonlocal count
            count += 1
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            upgraded(path, watch=watch)
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


@pytest.mark.integration
def test_a_migration_that_is_killed_at_any_statement_is_as_if_it_had_not_begun(
    kept: str, old: sqlite3.Connection
):
    """Or as if it had ended; whoever opens the file next finishes it, and no row is lost."""
    before, version = facts(old), migrate.version_of(old)
    old.close()
    content = Path(kept).read_bytes()
    number = 1
    while killed_at(kept, number):
        assert version_of(kept) == version
        upgraded(kept)
        with closing(sqlite3.connect(kept)) as connection:
            assert facts(connection, before) == before
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        for each in Path(kept).parent.iterdir():
            each.unlink()
        Path(kept).write_bytes(content)
        number += 1
    statements = sum(len(migrate._statements(each.sql)) for each in migrations() if each.version > version)
    assert number > statements
    assert version_of(kept) == len(migrations())


def test_a_migration_stops_where_it_is_told_to(path: str):
    """And goes on from there; back it does not go, and says how to."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        migrate.migrate(connection, path, to=2)
        assert migrate.version_of(connection) == 2
        assert migrate.migrate(connection, path, to=2).applied == ()
        with pytest.raises(MigrationError, match=r"restore-db .*perdure\.db\.before-2"):
            migrate.migrate(connection, path, to=1)
        with pytest.raises(MigrationError, match=r"by this release, not to 99"):
            migrate.migrate(connection, path, to=99)
        done = migrate.migrate(connection, path, keep=keep_before)
        assert [each.version for each in done.applied] == list(range(3, len(migrations()) + 1))
        assert done.kept == f"{path}.before-3"


def test_a_rehearsal_leaves_nothing_behind(path: str, monkeypatch: pytest.MonkeyPatch):
    """It says what would be applied, and what does not fit."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        migrate.migrate(connection, path, to=2)
        schema = connection.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()
        done = migrate.migrate(connection, path, keep=keep_before, rehearse=True)
        assert [each.version for each in done.applied] == list(range(3, len(migrations()) + 1))
        assert done.kept is None
        known = [*migrations(), Migration(99, "0099_broken", "CREATE TABLE workflows (x);")]
        monkeypatch.setattr(migrate, "migrations", lambda: known)
        with pytest.raises(MigrationError, match="0099_broken"):
            migrate.migrate(connection, path, keep=keep_before, rehearse=True)
        assert connection.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall() == schema
    assert [each.name for each in Path(path).parent.iterdir() if re.search("before", each.name)] == []
