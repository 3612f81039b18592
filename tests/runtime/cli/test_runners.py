"""The list of processes, as the command line shows it."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from perdure.runtime import Runtime, Workflow
from perdure.runtime.cli import run_command

GONE = (
    "INSERT INTO runners (no, id, pid, host, kind, lock_path, lease_ms, started_at, heartbeat_at) "
    "VALUES (99, 'gone', 4711, 'here', 'worker', '/nowhere/gone.lock', 5000, 0, 0)"
)


def runners(*tokens: str) -> None:
    """Ask while a process has two executions, another is dead, and somebody keeps the file locked."""
    workflow = Workflow("long")

    @workflow.step
    async def work() -> None:
        await anyio.sleep_forever()

    async def main() -> None:
        async with Runtime("perdure.db", kind="worker", recover=False) as runtime:
            for id_ in ("e1", "e2"):
                await runtime.start(workflow, id=id_)
            with closing(sqlite3.connect("perdure.db", isolation_level=None)) as connection:
                connection.execute(GONE)
                connection.execute("BEGIN IMMEDIATE")
                assert await anyio.to_thread.run_sync(run_command, ["runners", *tokens]) == 0

    asyncio.run(main())


def test_each_process_is_listed_with_what_it_has(capsys: pytest.CaptureFixture[str]):
    """Also while the file is locked: looking joins nobody."""
    runners("--format", "json")
    me, gone = json.loads(capsys.readouterr().out)
    assert (me["pid"], me["kind"], me["executions"], me["state"]) == (os.getpid(), "worker", 2, "alive")
    assert (gone["id"], gone["executions"], gone["state"]) == ("gone", 0, "dead")


def test_the_table_says_the_same(capsys: pytest.CaptureFixture[str]):
    """One line for each, under its heads."""
    runners()
    head, me, gone = capsys.readouterr().out.splitlines()
    assert head.split() == ["ID", "KIND", "PID", "HOST", "EXECUTIONS", "HEARTBEAT", "SINCE", "STATE"]
    assert (str(os.getpid()) in me, me.split()[-1]) == (True, "alive")
    assert (gone.split()[0], gone.split()[-1]) == ("gone", "dead")


def test_without_a_database_nothing_is_made(capsys: pytest.CaptureFixture[str]):
    """It says so, with the code for a store."""
    assert run_command(["runners"]) == 6
    assert not Path("perdure.db").exists()
