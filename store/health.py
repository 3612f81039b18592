"""Examines a database without changing it: the file, its schema, and what rests in it for long.

It decides nothing: what counts as long, who is alive and what to do about it is for others to say.
A file that is damaged is a finding here, not an error.
"""

from __future__ import annotations

import sqlite3
import stat
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from perdure.store import migrate, retention, rows
from perdure.store.codec import decode
from perdure.store.connection import run
from perdure.store.errors import StoreCorrupt, StoreError
from perdure.store.files import LOCK_WAIT_S, reading, size_of
from perdure.store.identity import Identity, identity_of
from perdure.store.locks import writer_of
from perdure.store.records import PAGE_MAX, Record, Runner
from perdure.store.rows import CLAIMABLE, maybe_moment, moment
from perdure.store.states import TERMINAL
from perdure.store.verify import FAULTS_MAX, verify


class Bounds(Record, frozen=True, kw_only=True):
    """Times in milliseconds; what has rested since before them has rested for long."""

    unclaimed: int
    overdue: int
    unanswered: int
    paused: int


class Resting(Record, frozen=True, kw_only=True):
    """An execution on which nothing happens, and since when."""

    execution_id: str
    workflow: str
    workflow_no: int
    state: str
    runner: str | None
    agents: str | None
    since: datetime


class Stalled(Record, frozen=True, kw_only=True):
    """A schedule that starts nothing: its workflow is gone, its last start was refused, or it is overdue."""

    schedule: str
    workflow: str
    is_orphaned: bool
    refusal: str | None
    due_at: datetime | None


class Work(Record, frozen=True, kw_only=True):
    """What is not at its end, up to PAGE_MAX of each kind, oldest first."""

    executions: int
    oldest: datetime | None = None
    unfinished: int
    unattended: int  # of those: neither owned nor paused
    owned: tuple[Resting, ...]
    unclaimed: tuple[Resting, ...]
    overdue: tuple[Resting, ...]
    unanswered: tuple[Resting, ...]
    quarantined: tuple[Resting, ...]
    paused: tuple[Resting, ...]
    stalled: tuple[Stalled, ...] = ()


class Health(Record, frozen=True, kw_only=True):
    """What an examination found. Without `work` the schema is not this release's, or the file is damaged."""

    path: str
    size_bytes: int
    wal_bytes: int
    free_bytes: int
    sqlite_version: str
    journal_mode: str | None
    schema_version: int | None
    schema_known: int
    names: int
    is_private: bool
    damage: tuple[str, ...]
    runners: tuple[Runner, ...]
    work: Work | None
    is_locked: bool = False  # for as long as a write would wait
    locked_by: int | None = None  # the process, where it can be seen
    identity: Identity | None = None
    keys: tuple[str, ...] = ()  # ids of those that payloads are encrypted with


def examine(path: str, bounds: Bounds, *, lock_wait_s: float = LOCK_WAIT_S) -> Health:
    """Look at everything there is to see, the write lock too. Raises MigrationError, StoreError."""
    found = Path(path).stat() if Path(path).is_file() else None
    health = Health(
        path=path,
        size_bytes=size_of(path),
        wal_bytes=size_of(f"{path}-wal"),
        free_bytes=0,
        sqlite_version=sqlite3.sqlite_version,
        journal_mode=None,
        schema_version=None,
        schema_known=migrate.migrations()[-1].version,
        names=1 if found is None else found.st_nlink,
        is_private=found is None or not stat.S_IMODE(found.st_mode) & (stat.S_IRWXG | stat.S_IRWXO),
        damage=(),
        runners=(),
        work=None,
    )
    try:
        with reading(path, lock_wait_s=lock_wait_s) as connection:
            return _examined(connection, health, bounds)
    except StoreCorrupt as error:
        return msgspec.structs.replace(health, damage=(str(error),))


def runners_of(path: str) -> list[Runner]:
    """The processes on the list; none where the file is damaged. Raises StoreError."""
    try:
        with reading(path) as connection:
            return list(map(rows.runner, connection.execute(rows.RUNNER)))
    except StoreCorrupt:
        return []


def definitions(path: str, workflow_nos: set[int]) -> dict[int, Any]:
    """The definitions of those revisions, by their keys. Raises StoreError."""
    with reading(path) as connection:
        found = connection.execute("SELECT no, definition FROM workflows").fetchall()
    return {no: decode(text, what=f"workflow {no}") for no, text in found if no in workflow_nos}


def _examined(connection: sqlite3.Connection, health: Health, bounds: Bounds) -> Health:
    """What only SQLite can tell."""
    version = migrate.version_of(connection)
    if not version:
        raise StoreError(f"{health.path} is no perdure database: name another with --db or PERDURE_DB")
    is_current = not migrate.missing(connection, health.path)
    [mode] = connection.execute("PRAGMA journal_mode").fetchone()
    [page_bytes] = connection.execute("PRAGMA page_size").fetchone()
    [pages_free] = connection.execute("PRAGMA freelist_count").fetchone()
    health = msgspec.structs.replace(
        health,
        schema_version=version,
        journal_mode=mode,
        free_bytes=page_bytes * pages_free,
        identity=identity_of(connection),
    )
    damage = verify(connection, None) if is_current else _broken(connection)
    health = msgspec.structs.replace(health, damage=tuple(damage))
    health = _tried_lock(connection, health)
    if damage or not is_current:
        return health
    connection.execute("BEGIN")  # one moment for all questions
    runners = tuple(map(rows.runner, connection.execute(rows.RUNNER)))
    keys = tuple(row[0] for row in connection.execute("SELECT id FROM workflow_keys ORDER BY id"))
    return msgspec.structs.replace(health, runners=runners, work=_work(connection, bounds), keys=keys)


def _tried_lock(connection: sqlite3.Connection, health: Health) -> Health:
    """Whether a write could begin, which is then left; a file that may only be read has no writers."""
    connection.execute("PRAGMA query_only = OFF")  # or SQLite would not even try
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
            return health
        return msgspec.structs.replace(health, is_locked=True, locked_by=writer_of(health.path))
    else:
        connection.execute("ROLLBACK")
        return health
    finally:
        connection.execute("PRAGMA query_only = ON")


def _broken(connection: sqlite3.Connection) -> list[str]:
    """Damage of the file itself; more cannot be said of a schema of another release."""
    found = connection.execute(f"PRAGMA integrity_check({FAULTS_MAX})")
    return [f"the file is damaged: {text}" for (text,) in found if text != "ok"]


RESTING: Final = """
SELECT e.id, w.name, e.workflow_no, e.state, r.id, e.agents, {since}
FROM workflow_executions e
JOIN workflows w ON w.no = e.workflow_no
LEFT JOIN runners r ON r.no = e.runner_no
"""
ENDED: Final = ", ".join(f"'{state}'" for state in sorted(TERMINAL))
OWNED: Final = f"WHERE e.runner_no IS NOT NULL AND e.state NOT IN ({ENDED}) AND e.updated_at <= ?"
UNCLAIMED: Final = f"WHERE {CLAIMABLE} AND e.updated_at <= ?"
PAUSED: Final = "WHERE e.state = 'paused' AND e.paused_at <= ?"
QUARANTINED: Final = (
    f"WHERE e.state NOT IN ({ENDED}) AND e.updated_at <= ? AND 'execution_quarantined' = (SELECT v.type "
    "FROM workflow_events v WHERE v.execution_no = e.no ORDER BY v.id DESC LIMIT 1)"
)
OVERDUE: Final = (
    "JOIN (SELECT execution_no, min(due_at) AS due_at FROM workflow_timers GROUP BY execution_no) t "
    "ON t.execution_no = e.no "
    "WHERE e.runner_no IS NULL AND e.state = 'awaiting_completion' AND t.due_at <= ?"
)
UNANSWERED: Final = (
    "JOIN (SELECT execution_no, min(created_at) AS created_at FROM workflow_messages "
    "WHERE applied_version IS NULL AND answer IS NULL GROUP BY execution_no) m ON m.execution_no = e.no "
    "WHERE m.created_at <= ?"
)
STALLED: Final = """
SELECT * FROM (
    SELECT s.id, s.workflow,
           NOT EXISTS (SELECT 1 FROM workflows w WHERE w.name = s.workflow AND w.is_active) AS is_orphaned,
           (SELECT CASE f.decision WHEN 'refused' THEN f.reason END FROM workflow_schedule_firings f
            WHERE f.schedule_no = s.no ORDER BY f.due_at DESC LIMIT 1) AS refusal,
           CASE WHEN s.next_at <= ? THEN s.next_at END AS due_at
    FROM workflow_schedules s WHERE s.is_paused = 0 ORDER BY s.id
) WHERE is_orphaned OR refusal IS NOT NULL OR due_at IS NOT NULL LIMIT ?
"""
EVER: Final = 2**62  # a bound that nothing is after


def _work(connection: sqlite3.Connection, bounds: Bounds) -> Work:
    def resting(where: str, since: str, before: int = EVER) -> tuple[Resting, ...]:
        query = f"{RESTING.format(since=since)} {where} ORDER BY e.no LIMIT ?"
        return tuple(map(_resting, connection.execute(query, (before, PAGE_MAX))))

    [executions, unfinished, unattended] = connection.execute(
        f"SELECT count(*), coalesce(sum(state NOT IN ({ENDED})), 0), "
        f"coalesce(sum(state NOT IN ({ENDED}) AND state <> 'paused' AND runner_no IS NULL), 0) "
        "FROM workflow_executions"
    ).fetchone()
    return Work(
        executions=executions,
        oldest=maybe_moment(run(connection, retention.oldest())),
        unfinished=unfinished,
        unattended=unattended,
        owned=resting(OWNED, "e.updated_at"),
        unclaimed=resting(UNCLAIMED, "e.updated_at", bounds.unclaimed),
        overdue=resting(OVERDUE, "t.due_at", bounds.overdue),
        unanswered=resting(UNANSWERED, "m.created_at", bounds.unanswered),
        quarantined=resting(QUARANTINED, "e.updated_at"),
        paused=resting(PAUSED, "e.paused_at", bounds.paused),
        stalled=tuple(map(_stalled, connection.execute(STALLED, (bounds.overdue, PAGE_MAX)))),
    )


def _stalled(row: tuple[Any, ...]) -> Stalled:
    return Stalled(
        schedule=row[0],
        workflow=row[1],
        is_orphaned=bool(row[2]),
        refusal=row[3],
        due_at=None if row[4] is None else moment(row[4]),
    )


def _resting(row: tuple[Any, ...]) -> Resting:
    return Resting(
        execution_id=row[0],
        workflow=row[1],
        workflow_no=row[2],
        state=row[3],
        runner=row[4],
        agents=row[5],
        since=moment(row[6]),
    )
