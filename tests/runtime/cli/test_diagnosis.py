"""What is said about what was found: the right words, what to do, and when to worry."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from perdure.runtime.cli.diagnosis import (
    STORE_BYTES_MAX,
    WAL_BYTES_MAX,
    Circumstances,
    Finding,
    bounds,
    diagnose,
)
from perdure.store.records import Runner
from perdure.store.scripts.resting import Resting, Stalled, Work
from perdure.store.sqlite.health import Health

NOW = datetime(2025, 6, 15, 12, tzinfo=UTC)


def runner(id: str = "r1", *, pid: int = 77, kind: str = "worker") -> Runner:
    """A process on the list."""
    return Runner(
        no=1,
        id=id,
        pid=pid,
        host="here",
        kind=kind,
        lock_path=None,
        doorbell=None,
        started_at=NOW,
        heartbeat_at=NOW,
    )


def resting(id: str = "e1", **fields: Any) -> Resting:
    """An execution at rest for three days."""
    usual = {
        "workflow": "order",
        "workflow_no": 1,
        "state": "executing",
        "runner": None,
        "agents": None,
        "since": NOW - timedelta(days=3),
    }
    return Resting(execution_id=id, **(usual | fields))


def findings(
    *,
    runners: tuple[Runner, ...] = (),
    is_alive: Callable[[Runner], bool] = lambda runner: True,
    missing: dict[str, tuple[str, ...]] | None = None,
    library_advice: tuple[str, ...] = (),
    work: dict[str, Any] | None = None,
    **fields: Any,
) -> list[Finding]:
    """What is said about a healthy database that has all this."""
    none: dict[str, Any] = dict.fromkeys(
        ("owned", "unclaimed", "overdue", "unanswered", "quarantined", "paused"), ()
    )
    usual: dict[str, Any] = {
        "path": "perdure.db",
        "size_bytes": 1,
        "wal_bytes": 0,
        "free_bytes": 0,
        "sqlite_version": "3.51.3",
        "journal_mode": "wal",
        "schema_version": 1,
        "schema_known": 1,
        "names": 1,
        "is_private": True,
        "damage": (),
        "work": Work(**({"executions": 9, "unfinished": 9, "unattended": 0} | none | (work or {}))),
    }
    return diagnose(
        Health(runners=runners, **(usual | fields)),
        Circumstances(now=NOW, is_alive=is_alive, missing=missing, library_advice=library_advice),
    )


def test_of_a_database_in_order_nothing_is_said():
    """With a living worker that owns something, too."""
    assert findings(runners=(runner(),), work={"owned": (resting(runner="r1"),)}) == []


@pytest.mark.parametrize(
    ("fields", "topic", "text", "advice"),
    [
        ({"damage": ("the file is damaged: page 7",)}, "integrity", "page 7", "restore-db"),
        ({"damage": ("execution e1 has no context",)}, "integrity", "no context", "report it"),
        ({"names": 2}, "file", "2 names", "before-restore"),
        ({"wal_bytes": WAL_BYTES_MAX + 1}, "size", "268.4 MB", "perdure worker"),
        ({"size_bytes": STORE_BYTES_MAX + 1}, "size", "10.7 GB", "perdure prune"),
        ({"work": {"paused": (resting(),)}}, "paused", "since 3 d ago", "perdure resume ID"),
        ({"work": {"quarantined": (resting(),)}}, "quarantine", "crashes", "perdure events ID"),
        ({"work": {"unanswered": (resting(),)}}, "command", "3 d ago", "it hangs"),
        (
            {"work": {"overdue": (resting(agents="a.py:a"),)}},
            "timer",
            "woken 3 d ago",
            "perdure worker --agents a.py:a",
        ),
    ],
)
def test_what_needs_somebody_says_what_to_do(fields: dict[str, Any], topic: str, text: str, advice: str):
    """One finding each, with the execution it is about."""
    [found] = findings(**fields)
    assert (found.severity, found.topic) == ("attention", topic)
    assert text in found.text
    assert advice in found.advice
    assert found.executions == (("e1",) if "work" in fields else ())


def test_calls_of_webhooks_that_nobody_makes_need_somebody():
    """With since when, and who would make them."""
    [found] = findings(work={"undelivered": 2, "undelivered_since": NOW - timedelta(hours=3)})
    assert (found.severity, found.topic) == ("attention", "webhook")
    assert "2 calls of webhooks are overdue: the first should have been made 3 h ago" in found.text
    assert "`perdure worker` makes them" in found.advice


@pytest.mark.parametrize(
    ("fields", "topic", "advice"),
    [
        ({"schema_version": 1, "schema_known": 2, "work": None}, "schema", "perdure.db.before-2"),
        ({"is_private": False}, "file", "chmod 600 perdure.db"),
        ({"library_advice": ("SQLite 3.40 is old",)}, "sqlite", "newer SQLite"),
    ],
)
def test_what_is_good_to_know_is_a_note(fields: dict[str, Any], topic: str, advice: str):
    """It does not make the command fail."""
    work = fields.pop("work", {})
    [found] = findings(**fields) if work is not None else diagnose_without_work(**fields)
    assert (found.severity, found.topic) == ("note", topic)
    assert advice in found.advice


def diagnose_without_work(**fields: Any) -> list[Finding]:
    """Where the schema forbids to look further."""
    return [finding for finding in findings(**fields) if finding.severity == "note"]


def test_executions_of_a_dead_process_are_told_by_its_number():
    """Each process with its own; those of the living are in good hands."""
    dead, living = runner("dead", pid=7), runner("living", pid=8)
    work = {
        "owned": (resting("a", runner="dead"), resting("b", runner="living"), resting("c", runner="dead"))
    }
    [found] = findings(runners=(dead, living), is_alive=lambda each: each.pid == 8, work=work)
    assert found.executions == ("a", "c")
    assert found.text == "2 executions are owned by process 7 (worker on here): it is dead"


def test_what_nobody_takes_up_is_idle_where_no_worker_lives():
    """The advice has the agents they were started with; a client is no worker."""
    [found] = findings(runners=(runner(kind="client"),), work={"unclaimed": (resting(agents="a.py:a"),)})
    assert (found.topic, found.advice) == ("idle", "`perdure worker --agents a.py:a`, or `perdure resume ID`")


def test_what_is_being_stopped_goes_on_with_the_command_that_stopped_it():
    """`resume` would be refused by it; of several in one finding each has its own."""
    work = {"unclaimed": (resting("a", state="compensating"), resting("b", state="cancelling"))}
    [found] = findings(work=work)
    assert found.advice == "`perdure worker`, or `perdure cancel ID` or `perdure rollback ID`"
    owned = (resting(state="compensating", runner="r1"),)
    [found] = findings(runners=(runner(),), is_alive=lambda each: False, work={"owned": owned})
    assert found.advice.endswith("takes over what it can perform, `perdure rollback ID` one of them")


def test_what_a_living_worker_leaves_probably_waits_for_code():
    """That is as far as one can tell without the agents."""
    [found] = findings(runners=(runner(),), work={"unclaimed": (resting(),)})
    assert found.topic == "code"
    assert "process 77" in found.text
    assert "perdure doctor --agents" in found.advice


def test_with_the_agents_the_missing_ones_are_named():
    """Of each workflow those together that lack the same; what lacks nothing is told as before."""
    work = {"unclaimed": (resting("a"), resting("b", workflow_no=2, workflow="other"), resting("c"))}
    waiting, idle = findings(work=work, missing={"a": ("scan", "style"), "b": (), "c": ("scan", "style")})
    assert waiting.text == "2 executions are waiting for code (order): scan, style"
    assert (idle.topic, idle.executions) == ("idle", ("b",))


def test_what_needs_attention_comes_before_what_is_good_to_know():
    """The first line is the one that counts."""
    found = findings(library_advice=("old",), is_private=False, work={"paused": (resting(),)})
    assert [each.severity for each in found] == ["attention", "note", "note"]


def test_a_full_page_says_that_there_may_be_more():
    """A number that is no longer exact does not look exact."""
    [found] = findings(work={"paused": tuple(resting(str(number)) for number in range(1000))})
    assert found.text.startswith("1,000 or more executions are paused")


def test_what_sleeps_or_was_left_a_moment_ago_is_told_where_nobody_would_wake_it():
    """What another finding tells of is not counted twice."""
    [found, idle] = sorted(
        findings(work={"unattended": 3, "unclaimed": (resting(),)}), key=lambda finding: finding.text
    )
    assert found.text.startswith("1 execution")
    assert (idle.topic, idle.text.split()[0]) == ("idle", "2")
    assert findings(work={"unattended": 3}, runners=(runner(),)) == []


def test_what_a_run_of_its_own_waits_for_is_not_left_alone():
    """It owns nothing while its execution queues or sleeps; one that performs attends to no other."""
    waits, performs = runner("r1", kind="run"), runner("r2", kind="run")
    owned = (resting("e2", runner="r2"),)
    assert findings(work={"unattended": 1, "owned": owned}, runners=(waits, performs)) == []
    [idle] = findings(work={"unattended": 2, "owned": owned}, runners=(waits, performs))
    assert (idle.topic, idle.text.split()[0]) == ("idle", "1")
    [idle] = findings(work={"unattended": 1, "owned": owned}, runners=(performs,))
    assert idle.topic == "idle"


def test_whoever_holds_the_write_lock_is_named():
    """Also where it cannot be seen who it is."""
    [found] = findings(is_locked=True, locked_by=4711)
    assert (found.severity, found.topic) == ("attention", "lock")
    assert "process 4711" in found.text
    [found] = findings(is_locked=True)
    assert "a process" in found.text


def test_what_has_just_begun_to_rest_is_no_matter():
    """A minute for what a worker takes up, a day for a pause."""
    limits = bounds(int(NOW.timestamp() * 1000))
    assert limits.paused == limits.unclaimed + 60_000 - 86_400_000
    assert limits.unclaimed == limits.overdue == limits.unanswered


@pytest.mark.parametrize(
    ("fields", "text", "advice"),
    [
        ({"is_orphaned": True}, "no such workflow", "perdure schedule rm nightly"),
        ({"refusal": "input 'day' is missing"}, "'day' is missing", "perdure schedule history nightly"),
        ({"due_at": NOW - timedelta(days=2)}, "2 d ago", "perdure worker"),
    ],
)
def test_a_schedule_that_starts_nothing_is_told_with_the_reason(
    fields: dict[str, Any], text: str, advice: str
):
    """Each one by itself: its remedy is its own."""
    usual = {"is_orphaned": False, "refusal": None, "due_at": None}
    stalled: Any = Stalled(schedule="nightly", workflow="report", **(usual | fields))
    [found] = findings(work={"stalled": (stalled,)})
    assert (found.severity, found.topic) == ("attention", "schedule")
    assert text in found.text
    assert "nightly (report)" in found.text
    assert advice in found.advice


@pytest.mark.parametrize(
    ("size_bytes", "free_bytes", "is_said"),
    [(10**9, 3 * 10**8, True), (10**9, 10**8, False), (10**7, 9 * 10**6, False)],
)
def test_room_that_is_free_is_told_where_it_is_much(size_bytes: int, free_bytes: int, is_said: bool):  # noqa: FBT001
    """A note: it is used again by what comes."""
    found = findings(size_bytes=size_bytes, free_bytes=free_bytes)
    assert [(one.severity, one.topic) for one in found] == [("note", "size")] * is_said
    assert all("perdure prune --vacuum" in one.advice for one in found)
