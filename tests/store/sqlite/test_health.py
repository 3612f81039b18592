"""An examination sees what rests and what is damaged, and changes nothing."""

from __future__ import annotations

import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from perdure.store import SQLiteStore
from perdure.store.errors import MigrationError, StoreError, StoreUnavailable
from perdure.store.migration import Migration
from perdure.store.schedule_writes import FiringWrite
from perdure.store.scripts.resting import Bounds
from perdure.store.sqlite import health, migrate
from perdure.store.sqlite.backup import copy
from perdure.store.sqlite.files import has_unfinished
from perdure.store.sqlite.health import examine
from perdure.store.sqlite.verify import verify
from perdure.store.states import State
from perdure.store.writes import EventWrite, TimerWrite

pytestmark = pytest.mark.anyio

NEVER = Bounds(unclaimed=0, overdue=0, unanswered=0, paused=0)
ALWAYS = Bounds(unclaimed=2**60, overdue=2**60, unanswered=2**60, paused=2**60)


@pytest.fixture
async def book(path: str, book_of):
    """A book about a store on a file."""
    store = SQLiteStore(path)
    await store.open()
    yield book_of(store)
    await store.close()


def ids(found: tuple[health.Resting, ...]) -> list[str]:
    """The executions of one kind."""
    return [each.execution_id for each in found]


async def test_a_store_in_order_has_nothing_to_say(book, path: str):
    """Its sizes and its schema are told all the same."""
    await book.start("done", state=State.COMPLETED)
    found = examine(path, ALWAYS)
    assert (found.damage, found.journal_mode, found.names, found.is_private) == ((), "wal", 1, True)
    assert found.schema_version == found.schema_known == len(migrate.migrations())
    assert found.wal_bytes > 0
    assert found.work is not None
    assert (found.work.executions, found.work.unfinished) == (1, 0)
    kinds = ("owned", "unclaimed", "overdue", "unanswered", "quarantined", "paused")
    assert [getattr(found.work, kind) for kind in kinds] == [()] * len(kinds)


@pytest.fixture
def link(path: str) -> str:
    """Another name of that file."""
    name = Path(f"{path}.link")
    name.symlink_to(path)
    return str(name)


async def test_a_store_is_the_same_by_the_name_of_a_link(book, path: str, link: str):
    """Its log lies beside the file, and not beside the link."""
    await book.start("done", state=State.COMPLETED)
    assert examine(link, ALWAYS).wal_bytes == examine(path, ALWAYS).wal_bytes > 0
    assert has_unfinished(link)


async def test_each_kind_of_rest_is_told_with_the_time_since_when(book, path: str):
    """Owned, unclaimed, overdue, unanswered, quarantined, paused; and only from its bound on."""
    runner = await book.register()
    owned = await book.start("owned")
    await book.write(book.claim(owned, runner))
    await book.start("unclaimed", agents="agents.py:agents")
    waiting = await book.start("overdue", state=State.AWAITING_COMPLETION)
    await book.move(waiting, timers=(TimerWrite("sleep", 0, book.now + 5),))
    due_at = book.now + 4
    asked = await book.start("unanswered", state=State.AWAITING_COMPLETION)
    await book.write(book.post(asked.id))
    crashed = await book.start("quarantined", state=State.AWAITING_COMPLETION)
    await book.move(crashed, events=(EventWrite("execution_quarantined"),))
    paused = await book.start("paused")
    await book.move(paused, State.PAUSED, fields={"paused_at": book.now})

    work = examine(path, ALWAYS).work
    assert work is not None
    assert (work.executions, work.unfinished) == (6, 6)
    assert (ids(work.owned), work.owned[0].runner) == (["owned"], "runner-1")
    assert (ids(work.unclaimed), work.unclaimed[0].agents) == (["unclaimed"], "agents.py:agents")
    assert ids(work.overdue) == ["overdue"]
    assert abs(work.overdue[0].since.timestamp() * 1000 - due_at) <= 1_001
    assert ids(work.unanswered) == ["unanswered"]
    assert ids(work.quarantined) == ["quarantined"]
    assert ids(work.paused) == ["paused"]

    young = examine(path, NEVER).work
    assert young is not None
    assert (young.unclaimed, young.overdue, young.unanswered, young.paused) == ((), (), (), ())


async def test_a_quarantine_is_over_when_something_happens_again(book, path: str):
    """The last line of the log counts."""
    crashed = await book.start("e1")
    crashed = await book.move(crashed, events=(EventWrite("execution_quarantined"),))
    await book.move(crashed, events=(EventWrite("workflow_resumed"),))
    work = examine(path, ALWAYS).work
    assert work is not None
    assert work.quarantined == ()


async def test_damage_in_the_tables_is_found_and_nothing_else_is_asked(book, path: str):
    """In the sentences of verify."""
    await book.start("e1")
    await book.damage("DELETE FROM workflow_contexts")
    found = examine(path, ALWAYS)
    assert found.damage == ("execution e1 has no context: nobody can take it up",)
    assert found.work is None


@pytest.mark.parametrize("content", [b"hello\n" * 2000, b"SQLite format 3\x00" + b"\xff" * 9000])
def test_a_file_that_cannot_be_read_is_a_finding(path: str, content: bytes):
    """Nothing is raised, and the file is as it was."""
    Path(path).write_bytes(content)
    found = examine(path, ALWAYS)
    assert found.size_bytes == len(content)
    assert "damaged" in found.damage[0]
    assert (found.work, found.schema_version) == (None, None)
    assert health.runners_of(path) == []
    assert Path(path).read_bytes() == content


def test_what_is_no_perdure_database_is_an_error(path: str):
    """A wrong name is no damage; a missing file is not made."""
    with pytest.raises(StoreError, match="no such file"):
        examine(path, ALWAYS)
    assert not Path(path).exists()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE other (x)")
    connection.close()
    with pytest.raises(StoreError, match="no perdure database"):
        examine(path, ALWAYS)


async def test_an_older_schema_is_left_as_it_is(book, path: str, monkeypatch):
    """The file is examined, the rest waits for the migration, which is not made here."""
    await book.start("e1")
    known = migrate.migrations()
    monkeypatch.setattr(
        migrate, "migrations", lambda: [*known, Migration(99, "0099_x", "CREATE TABLE x (x);")]
    )
    found = examine(path, ALWAYS)
    assert (found.schema_version, found.schema_known, found.work) == (len(known), 99, None)
    assert await book.raw("SELECT name FROM sqlite_master WHERE name = 'x'") == []


async def test_a_newer_schema_is_refused(book, path: str):
    """Whatever would be said about it would be a guess."""
    await book.raw("INSERT INTO perdure_migrations (version, name, checksum) VALUES (99, 'x', 'x')")
    with pytest.raises(MigrationError, match="99"):
        examine(path, ALWAYS)


async def test_an_examination_writes_nothing_and_keeps_nobody_waiting(book, path: str):
    """The connection refuses to write, and a writer in a transaction is not in its way."""
    await book.start("e1")
    before = await book.facts()
    await book.raw("BEGIN IMMEDIATE")
    assert examine(path, ALWAYS).damage == ()
    await book.raw("ROLLBACK")
    assert await book.facts() == before


async def test_schedules_that_start_nothing_are_told_with_the_reason(book, path: str):
    """Without a workflow, refused the last time, or overdue; not one that is paused or in order."""
    await book.publish("order")

    async def put(id_: str, *firings: FiringWrite, workflow: str = "order", is_paused: bool = False) -> None:
        await book.write(book.put_schedule(id_, workflow=workflow, next_at=900, at=1))
        await book.write(book.move_schedule(*firings, id=id_, next_at=900, is_paused=is_paused, at=3))

    refused = FiringWrite(10, "refused", reason="an input is missing")
    await put("orphan", workflow="gone")
    await put("refused", FiringWrite(5, "started", "x"), refused)
    await put("resting", refused, workflow="gone", is_paused=True)
    await put("recovered", refused, FiringWrite(20, "started", "y"))

    def told(bounds: Bounds) -> list[tuple[str, bool, str | None, bool]]:
        work = examine(path, bounds).work
        assert work is not None
        return [(s.schedule, s.is_orphaned, s.refusal, s.due_at is not None) for s in work.stalled]

    reason = "an input is missing"
    assert told(NEVER) == [("orphan", True, None, False), ("refused", False, reason, False)]
    assert told(ALWAYS) == [
        ("orphan", True, None, True),
        ("recovered", False, None, True),
        ("refused", False, reason, True),
    ]


async def test_a_write_lock_that_is_held_is_seen_and_who_holds_it(book, path: str):
    """What there is to read is told all the same."""
    await book.start("waiting", state=State.AWAITING_COMPLETION)
    assert not examine(path, ALWAYS).is_locked
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        found = examine(path, ALWAYS, lock_wait_s=0.01)
    assert found.is_locked
    assert found.locked_by == (os.getpid() if sys.platform == "linux" else None)
    assert found.work is not None
    assert found.work.unattended == 1
    assert not examine(path, ALWAYS).is_locked


class FailingDisk(sqlite3.Connection):
    """One whose first question finds that the disk fails, by which SQLite ends a transaction."""

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        """Any other statement is as ever."""
        if not sql.startswith(("PRAGMA integrity_check", "SELECT count(*) FROM sqlite_master")):
            return super().execute(sql, *parameters)
        super().execute("ROLLBACK")
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR
        raise error


def test_a_disk_that_fails_is_told_as_that(tmp_path: Path):
    """And not as a transaction that is no longer there."""
    with closing(sqlite3.connect(":memory:", isolation_level=None, factory=FailingDisk)) as connection:
        with pytest.raises(sqlite3.OperationalError, match="disk I/O error"):
            verify(connection, None)
        with pytest.raises(StoreUnavailable, match="disk I/O error"):
            copy(connection, str(tmp_path / "copy.db"))
