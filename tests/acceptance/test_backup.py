"""Backups from outside: taken under a writer in another process, opened, verified, gone on with."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from perdure.store import SQLiteStore
from perdure.store.sqlite.files import size_of

pytestmark = pytest.mark.e2e

WRITER = """
import asyncio
import os
from perdure.runtime import Runtime, Workflow

flow = Workflow("flow")

@flow.step
async def first(number: int) -> int:
    return number

@flow.step
async def second(first: int) -> str:
    return "x" * 2_000 + str(first)

async def main():
    async with Runtime("perdure.db", durability="process") as runtime:
        number = 0
        while True:
            execution = await runtime.start(flow, {"number": number}, id=f"flow-{number}")
            await execution.result()
            with open("acknowledged.new", "w") as file:
                file.write(str(number))
            os.replace("acknowledged.new", "acknowledged")
            number += 1

asyncio.run(main())
"""


def acknowledged(folder: Path) -> int:
    """The last execution the writer was told of; -1 before the first."""
    path = folder / "acknowledged"
    return int(path.read_text()) if path.exists() else -1


def stopped_in_the_middle(terminal, *tokens: str) -> subprocess.Popen[str]:
    """A backup that stands still half way; one that was through before it could be stopped is begun anew."""
    while True:
        process = terminal.start(*tokens)
        terminal.wait_until(lambda: process.poll() is not None or size_of_partial(terminal.folder))  # noqa: B023  called at once
        process.send_signal(signal.SIGSTOP)
        if process.returncode is None:
            os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        if process.poll() is None and not (terminal.folder / "copy.db").exists():
            return process
        process.send_signal(signal.SIGCONT)
        assert process.wait(terminal.patience_s) == 0
        (terminal.folder / "copy.db").unlink()


def size_of_partial(folder: Path) -> int:
    """How much there is of a copy that is not complete; it may be put in its place while one looks."""
    return sum(size_of(str(path)) for path in folder.glob("*.partial"))


async def statuses_of(path: Path) -> dict[str, str]:
    """Every execution of a copy with its status; the copy must be sound."""
    store = SQLiteStore(str(path))
    await store.open()
    try:
        assert await store.verify() == []
        assert await store.runners() == []
        found: dict[str, str] = {}
        after = None
        while page := await store.executions(limit=1_000, after=after):
            found |= {summary.id: str(summary.status) for summary in page}
            after = page[-1].id
        return found
    finally:
        await store.close()


def test_a_backup_under_a_writer_in_another_process_holds_all_that_was_acknowledged(terminal):
    """Several in a row; each is sound, of one moment, and has whatever was acknowledged before it began."""
    (terminal.folder / "writer.py").write_text(WRITER)
    writer = terminal.start_program("writer.py")
    for number in range(4):
        before = acknowledged(terminal.folder)
        terminal.wait_until(lambda: acknowledged(terminal.folder) >= before + 20)  # noqa: B023  called at once
        known = acknowledged(terminal.folder)
        taken = json.loads(terminal.run("backup", f"copy-{number}.db", "--format", "json"))
        later = acknowledged(terminal.folder)
        assert later > known, "the writer stood still"
        copied = asyncio.run(statuses_of(terminal.folder / f"copy-{number}.db"))
        assert len(copied) == taken["executions"]
        assert [copied.get(f"flow-{each}") for each in range(known + 1)] == ["completed"] * (known + 1)
        assert set(copied) == {f"flow-{each}" for each in range(len(copied))}
    assert writer.poll() is None


def test_work_goes_on_from_a_backup_taken_in_the_middle_of_a_step(terminal):
    """The disk is lost; the copy is put in its place; recorded steps never run again."""
    terminal.be_slow(60)
    process = terminal.start(*terminal.relay())
    terminal.wait_until(lambda: "begin second" in terminal.ledger)
    terminal.run("backup", "copy.db")
    assert process.poll() is None
    process.kill()
    process.wait()
    for lost in terminal.folder.glob("perdure.db*"):
        if lost.is_file():
            lost.unlink()
    terminal.be_slow(0.01)
    terminal.run("restore-db", "copy.db")
    assert "no process is there" in terminal.run("doctor", expect=1)
    result = json.loads(terminal.run("resume", "@last", "--format", "json"))
    assert result["outputs"]["third"] == "third second"
    assert terminal.ledger == ["first go", "begin second", "begin second", "end second", "third second"]


def test_a_database_is_not_replaced_under_a_process_that_runs_on_it(terminal):
    """Exit code 6, with its number; when it has ended the same command is carried out."""
    terminal.run(*terminal.relay())
    terminal.run("backup", "copy.db")
    terminal.be_slow(60)
    process = terminal.start(*terminal.relay(word="again"))
    terminal.wait_until(lambda: terminal.ledger.count("begin second") == 2)
    refused = terminal.start("restore-db", "copy.db", "--yes")
    _, err = refused.communicate(timeout=terminal.patience_s)
    assert refused.returncode == 6
    assert str(process.pid) in err
    process.send_signal(signal.SIGKILL)
    process.wait()
    terminal.run("restore-db", "copy.db", "--yes")
    assert len(json.loads(terminal.run("list", "--format", "json"))) == 1
    kept = json.loads(terminal.run("list", "--format", "json", "--db", "perdure.db.before-restore-1"))
    assert len(kept) == 2


def test_doctor_finds_what_a_killed_process_left_and_nothing_after_it_was_resumed(terminal):
    """Exit code 1 with the execution's id; 0 once it is through."""
    terminal.be_slow(60)
    process = terminal.start(*terminal.relay("--id", "left-behind"))
    terminal.wait_until(lambda: "begin second" in terminal.ledger)
    terminal.run("doctor")
    process.kill()
    process.wait()
    report = json.loads(terminal.run("doctor", "--format", "json", expect=1))
    [found] = [finding for finding in report["findings"] if finding["severity"] == "attention"]
    assert (found["topic"], found["executions"]) == ("owner", ["left-behind"])
    assert str(process.pid) in found["text"]
    terminal.be_slow(0.01)
    terminal.run("resume", "left-behind")
    terminal.run("doctor")


def test_a_backup_that_is_interrupted_leaves_nothing_half_made(terminal):
    """Ctrl-C ends it with 130; a kill leaves at most a file called .partial, never one of the wanted name."""
    (terminal.folder / "grow.py").write_text(
        "import sqlite3\nfrom perdure.store import SQLiteStore\nimport asyncio\n"
        "async def main():\n    store = SQLiteStore('perdure.db')\n    await store.open()\n"
        "    await store.close()\nasyncio.run(main())\n"
        "link = sqlite3.connect('perdure.db')\nlink.execute('CREATE TABLE ballast (x)')\n"
        "link.executemany('INSERT INTO ballast VALUES (zeroblob(1000000))', [()] * 150)\nlink.commit()\n"
    )
    assert terminal.start_program("grow.py").wait(terminal.patience_s) == 0
    for sign in (signal.SIGINT, signal.SIGKILL):
        process = stopped_in_the_middle(terminal, "backup", "copy.db")
        process.send_signal(sign)
        process.send_signal(signal.SIGCONT)
        process.communicate(timeout=terminal.patience_s)
        assert process.returncode == (130 if sign is signal.SIGINT else -signal.SIGKILL)
        assert not (terminal.folder / "copy.db").exists()
        assert bool(list(terminal.folder.glob("*.partial"))) == (sign is signal.SIGKILL)
    terminal.run("backup", "copy.db")
    assert sys.platform == "win32" or (terminal.folder / "copy.db").stat().st_mode & 0o077 == 0
