"""The calls of webhooks, from the command line."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from perdure.runtime import Runtime, Workflow
from perdure.runtime.cli import run_command
from perdure.runtime.seams import system_seams

pytestmark = pytest.mark.integration


def work() -> Workflow:
    """One step, and somebody who wants to know that it is done."""
    workflow = Workflow("work", webhooks=[{"url": "http://there/hook", "events": ["completed"]}])

    @workflow.step
    async def only() -> str:
        return "done"

    return workflow


async def run() -> None:
    """An execution of whose end nobody wants to hear."""

    async def refuse(url: str, headers: Mapping[str, str], body: bytes) -> int:
        return 410

    seams = msgspec.structs.replace(system_seams(), post=refuse)
    async with Runtime("perdure.db", seams=seams) as runtime:
        await (await runtime.start(work(), {}, id="w1")).result()


def test_a_dead_call_is_listed_with_the_reason_and_repeated(capsys: pytest.CaptureFixture[str]):
    """It waits for a process that makes it."""
    asyncio.run(run())
    assert run_command(["webhooks"]) == 0
    head, line = capsys.readouterr().out.splitlines()
    assert head.split() == ["ID", "EVENT", "STATE", "TRIES", "NEXT", "URL", "WHY"]
    assert line.split()[:7] == [line.split()[0], "completed", "dead", "1", "–", "http://there/hook", "it"]
    id_ = line.split()[0]
    assert run_command(["webhooks", "repeat", id_]) == 0
    assert "waits for a process" in capsys.readouterr().err
    assert run_command(["webhooks", "--state", "pending", "--format", "json"]) == 0
    [pending] = json.loads(capsys.readouterr().out)
    assert (pending["id"], pending["attempts"]) == (id_, 0)
    assert run_command(["webhooks", "repeat", "nobody"]) == 3


def test_a_run_says_which_calls_it_leaves_behind(capsys: pytest.CaptureFixture[str]):
    """And the doctor names them when they should have been made."""
    Path("work.yaml").write_text(
        "name: work\nconfig: {webhooks: [{url: 'http://127.0.0.1:9/hook', events: [completed]}]}\n"
        "steps: [{key: rest, sleep: 1}]\n"
    )
    assert run_command(["run", "work.yaml"]) == 0
    told = capsys.readouterr().err
    assert "1 call of a webhook is not delivered yet (ConnectionRefusedError" in told
    assert "`perdure worker` goes on trying; perdure webhooks --state pending lists them" in told
    assert run_command(["doctor", "--format", "json"]) == 0
    with closing(sqlite3.connect("perdure.db")) as connection, connection:
        connection.execute("UPDATE workflow_deliveries SET due_at = due_at - 3600000")
    capsys.readouterr()
    assert run_command(["doctor", "--format", "json"]) == 1
    found = json.loads(capsys.readouterr().out)["findings"]
    assert [each["topic"] for each in found if each["severity"] == "attention"] == ["webhook"]
