"""Backup, restore-db and doctor on real files, in this process."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from pathlib import Path

import pytest

from perdure.runtime import Runtime, Workflow
from perdure.runtime.cli import backup as backup_commands
from perdure.runtime.cli import run_command
from perdure.store.sqlite import restore

pytestmark = pytest.mark.anyio


def order() -> Workflow:
    """One step that is done at once."""
    workflow = Workflow("order")

    @workflow.step
    async def ship(item: str) -> str:
        return f"shipped {item}"

    return workflow


async def ship(id: str) -> None:
    """Run one execution to its end."""
    async with Runtime("perdure.db") as runtime:
        execution = await runtime.start(order(), {"item": "lamp"}, id=id)
        await execution.result()


@pytest.fixture
def done() -> str:
    """A database with one completed execution; its id."""
    asyncio.run(ship("lamp-1"))
    return "lamp-1"


def listed(db: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The ids in a database."""
    capsys.readouterr()
    assert run_command(["list", "-q", "--db", db]) == 0
    return capsys.readouterr().out.split()


def stale(statement: str) -> None:
    """Change the database behind perdure's back."""
    connection = sqlite3.connect("perdure.db", isolation_level=None)
    connection.execute(statement)
    connection.close()


def test_a_backup_says_what_is_in_it(done: str, capsys: pytest.CaptureFixture[str]):
    """A line for people, a record for programs."""
    assert run_command(["backup", "one.db"]) == 0
    assert "✔ done  one.db  " in capsys.readouterr().out
    assert run_command(["backup", "two.db", "--format", "json"]) == 0
    taken = json.loads(capsys.readouterr().out)
    assert (taken["path"], taken["executions"]) == ("two.db", 1)
    assert listed("two.db", capsys) == [done]


def test_a_file_that_is_there_is_only_replaced_on_demand(done: str, capsys: pytest.CaptureFixture[str]):
    """Exit code 2, and what to do."""
    assert run_command(["backup", "one.db"]) == 0
    assert run_command(["backup", "one.db"]) == 2
    assert "overwrite" in capsys.readouterr().err
    assert run_command(["backup", "one.db", "--overwrite"]) == 0


@pytest.mark.parametrize("tokens", [["backup", "x.db"], ["doctor"]])
def test_without_a_database_nothing_is_made(tokens: list[str]):
    """Exit code 6, as everywhere."""
    assert run_command(tokens) == 6
    assert os.listdir() == []  # noqa: PTH208  plain


@pytest.mark.parametrize("tokens", [["backup", "x.db"], ["restore-db", "x.db", "--yes"]])
def test_a_server_has_tools_of_its_own(tokens: list[str], capsys: pytest.CaptureFixture[str]):
    """Exit code 2."""
    assert run_command([*tokens, "--db", "postgresql://somewhere/db"]) == 2
    assert "SQLite files" in capsys.readouterr().err


def test_restore_needs_a_yes_and_keeps_what_was_there(done: str, capsys: pytest.CaptureFixture[str]):
    """Without a terminal nobody can be asked."""
    run_command(["backup", "one.db"])
    asyncio.run(ship("chair-1"))
    assert run_command(["restore-db", "one.db"]) == 2
    assert "--yes" in capsys.readouterr().err
    assert listed("perdure.db", capsys) == ["chair-1", done]
    assert run_command(["restore-db", "one.db", "--yes"]) == 0
    assert "perdure.db.before-restore-1" in capsys.readouterr().err
    assert listed("perdure.db", capsys) == [done]
    assert listed("perdure.db.before-restore-1", capsys) == ["chair-1", done]


@pytest.mark.parametrize(("answer", "code"), [("n\n", 5), ("", 5), ("y\n", 0), ("YES\n", 0)])
def test_on_a_terminal_restore_asks(
    done: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], answer: str, code: int
):
    """Anything but a yes is a no."""

    class Terminal:
        def isatty(self) -> bool:
            return True

        def readline(self) -> str:
            return answer

    run_command(["backup", "one.db"])
    monkeypatch.setattr("sys.stdin", Terminal())
    assert run_command(["restore-db", "one.db"]) == code
    assert "Replace perdure.db by one.db?" in capsys.readouterr().err
    assert Path("perdure.db.before-restore-1").exists() == (code == 0)


def test_where_there_is_no_database_nobody_is_asked(done: str, capsys: pytest.CaptureFixture[str]):
    """Nothing can be lost."""
    run_command(["backup", "one.db"])
    assert run_command(["restore-db", "one.db", "--db", "new.db"]) == 0
    assert listed("new.db", capsys) == [done]


async def test_a_database_in_use_is_not_replaced_and_its_process_is_named(
    capsys: pytest.CaptureFixture[str],
):
    """Exit code 6; a runner is known by its lock even where the list cannot be read."""
    async with Runtime("perdure.db"):
        run_command(["backup", "one.db"])
        assert run_command(["restore-db", "one.db", "--yes"]) == 6
        assert f"pid {os.getpid()}" in capsys.readouterr().err
        backup_commands.runners_of, was = lambda path: [], backup_commands.runners_of
        try:
            assert run_command(["restore-db", "one.db", "--yes"]) == 6
        finally:
            backup_commands.runners_of = was
        assert "locked by another process" in capsys.readouterr().err


def test_whoever_is_on_no_list_is_found_by_sqlite_s_lock(
    done: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """A shell, for one."""
    monkeypatch.setattr(restore, "IN_USE_WAIT_S", 0.0)
    run_command(["backup", "one.db"])
    shell = sqlite3.connect("perdure.db")
    shell.execute("SELECT count(*) FROM workflows").fetchone()
    assert run_command(["restore-db", "one.db", "--yes"]) == 6
    shell.close()
    assert "nothing was changed" in capsys.readouterr().err
    assert run_command(["restore-db", "one.db", "--yes"]) == 0


@pytest.mark.parametrize("content", [None, b"", b"hello\n" * 1000])
def test_what_is_no_backup_is_refused(done: str, content: bytes | None, capsys: pytest.CaptureFixture[str]):
    """Exit code 6, before anybody is asked; the database stays."""
    if content is not None:
        Path("one.db").write_bytes(content)
    assert run_command(["restore-db", "one.db"]) == 6
    assert "Traceback" not in capsys.readouterr().err
    assert listed("perdure.db", capsys) == [done]


def test_doctor_finds_nothing_in_a_database_in_order(done: str, capsys: pytest.CaptureFixture[str]):
    """Exit code 0; sizes and what is in force are told."""
    assert run_command(["doctor"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[-1] == "✔ well"
    assert "power (synchronous=FULL), from default" in out
    assert "1, 0 unfinished" in out


def test_doctor_has_a_report_for_programs(
    done: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """One document: verdict, findings, settings, facts."""
    monkeypatch.setenv("PERDURE_DURABILITY", "process")
    assert run_command(["doctor", "--format", "json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is True
    assert report["settings"] == {
        "durability": "process",
        "synchronous": "NORMAL",
        "durability_from": "PERDURE_DURABILITY",
    }
    assert report["health"]["journal_mode"] == "wal"


def test_doctor_exits_1_when_something_needs_attention(done: str, capsys: pytest.CaptureFixture[str]):
    """The execution is named, and what to do; nothing is changed by asking."""
    stale("UPDATE workflow_executions SET state = 'paused', paused_at = 1000")
    for _ in range(2):
        assert run_command(["doctor"]) == 1
        out = capsys.readouterr().out
        assert "✘ attention  1 execution is paused for more than a day" in out
        assert "    lamp-1\n    → `perdure resume ID` goes on" in out
        assert "✔ well" not in out


def test_doctor_tells_what_a_dead_process_left(done: str, capsys: pytest.CaptureFixture[str]):
    """By its lock, which nobody holds."""
    stale(
        "INSERT INTO runners (no, id, pid, host, kind, lock_path, lease_ms, started_at, heartbeat_at) "
        "VALUES (99, 'gone', 4711, 'here', 'worker', '/nowhere/gone.lock', 5000, 0, 0)"
    )
    stale("UPDATE workflow_executions SET state = 'executing', runner_no = 99")
    assert run_command(["doctor", "--format", "json"]) == 1
    report = json.loads(capsys.readouterr().out)
    [found] = [finding for finding in report["findings"] if finding["severity"] == "attention"]
    assert (found["topic"], found["executions"]) == ("owner", ["lamp-1"])
    assert "process 4711" in found["text"]


def test_doctor_names_the_code_that_is_waited_for(done: str, capsys: pytest.CaptureFixture[str]):
    """Where it is told which agents there are."""
    stale("UPDATE workflow_executions SET state = 'executing', runner_no = NULL, updated_at = 1000")
    Path("agents.py").write_text("from perdure.runtime import Agents\n\nagents = Agents()\n")
    assert run_command(["doctor"]) == 1
    assert "nobody works on it" in capsys.readouterr().out
    assert run_command(["doctor", "--agents", "agents.py:agents"]) == 1
    assert "1 execution is waiting for code (order): python:" in capsys.readouterr().out


def test_doctor_names_functions_that_have_changed(capsys: pytest.CaptureFixture[str]):
    """What is registered cannot be called by the version that waits: which parameter, and what to do."""
    text = "name: copy\nversion: '7'\nsteps: [{key: read, agent: reader}]\n"
    Path("agents.py").write_text(
        "from perdure.runtime import Agents\n\nagents = Agents()\nagents.add('reader', lambda page: page)\n"
    )

    async def leave() -> None:
        async with Runtime("perdure.db", kind="client") as runtime:
            await runtime.start(Workflow.parse(text), {}, id="one", detach=True)

    asyncio.run(leave())
    stale("UPDATE workflow_executions SET updated_at = 1000")
    assert run_command(["doctor", "--agents", "agents.py:agents"]) == 1
    out = " ".join(capsys.readouterr().out.split())
    assert (
        "1 execution is waiting for code (copy): reader as it was for step 'read' of copy 7 "
        "(the one here needs 'page', which nothing gives it there)"
    ) in out
    assert "`perdure migrate ID --to VERSION`" in out


def test_doctor_tells_damage_as_a_finding(done: str, capsys: pytest.CaptureFixture[str]):
    """A file that cannot be read is what it is there for."""
    Path("perdure.db").write_bytes(b"\xff" * 9_000)
    assert run_command(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "is damaged" in out
    assert "perdure restore-db" in out
