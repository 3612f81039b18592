"""`perdure prune` and `perdure stats` on a real file, in this process."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from perdure.runtime import Retry, Runtime, Workflow
from perdure.runtime.cli import run_command


def order() -> Workflow:
    """A step that is good at its second attempt, and one that fails for bricks."""
    workflow = Workflow("order")
    tries: dict[str, int] = {}

    @workflow.step(retry=Retry(max_retries=1, delay=0.001))
    async def reserve(item: str) -> str:
        tries[item] = tries.get(item, 0) + 1
        if tries[item] == 1:
            raise ConnectionError("no answer")
        return item

    @workflow.step(after="reserve")
    async def ship(item: str) -> str:
        if item == "brick":
            raise ValueError("too heavy")
        return "x" * 20_000

    return workflow


def undone() -> Workflow:
    """What is done is undone, since the next step fails."""
    workflow = Workflow("undone", on_failure="compensate")

    @workflow.step(compensate=lambda: None)
    async def reserve() -> None:
        """Nothing comes of it."""

    @workflow.step(after="reserve")
    async def ship() -> None:
        raise OSError("no truck")

    return workflow


async def live() -> None:
    """Three that complete and one that fails."""
    async with Runtime("perdure.db") as runtime:
        workflow = order()
        for item in ("lamp", "table", "chair", "brick"):
            execution = await runtime.start(workflow, {"item": item}, id=f"{item}-1")
            await execution.result(check=False)


@pytest.fixture(autouse=True)
def _in_a_folder_with_a_history() -> None:
    asyncio.run(live())


def age(days: int) -> None:
    """Let everything have happened so long ago."""
    ms = days * 86_400_000
    with closing(sqlite3.connect("perdure.db", isolation_level=None)) as connection:
        columns = ("created_at", "started_at", "finished_at", "updated_at")
        changes = ", ".join(f"{column} = {column} - {ms}" for column in columns)
        connection.execute(f"UPDATE workflow_executions SET {changes}")


def listed(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The ids that are there."""
    capsys.readouterr()
    assert run_command(["list", "-q"]) == 0
    return sorted(capsys.readouterr().out.split())


def told(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, list[dict[str, object]]]:
    """What the statistics say to programs."""
    capsys.readouterr()
    assert run_command(["stats", *words, "--format", "json"]) == 0
    found: dict[str, list[dict[str, object]]] = json.loads(capsys.readouterr().out)
    return found


def test_nothing_goes_before_its_time(capsys: pytest.CaptureFixture[str]):
    """The setting says how long that is."""
    assert run_command(["prune"]) == 0
    assert "0 executions that ended more than 90d ago deleted" in capsys.readouterr().out
    assert len(listed(capsys)) == 4


def test_what_is_old_goes_and_a_dry_run_only_says_so(capsys: pytest.CaptureFixture[str]):
    """The failed stay where that is asked."""
    age(100)
    assert run_command(["prune", "--dry-run"]) == 0
    assert "4 executions that ended more than 90d ago would be deleted" in capsys.readouterr().out
    assert run_command(["prune", "--older-than", "101d"]) == 0
    assert len(listed(capsys)) == 4
    assert run_command(["prune", "--keep-failed", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["executions"] == 3
    assert listed(capsys) == ["brick-1"]


def test_statistics_tell_of_steps_retries_and_errors_also_of_what_was_pruned(
    capsys: pytest.CaptureFixture[str],
):
    """The same before and after."""
    before = told(capsys)
    [workflow] = before["workflows"]
    assert (workflow["completed"], workflow["failed"], workflow["success_ratio"]) == (3, 1, 0.75)
    steps = {one["step"]: one for one in before["steps"]}
    assert (steps["reserve"]["retried"], steps["reserve"]["retry_success_ratio"]) == (4, 1.0)
    assert steps["ship"]["failure_ratio"] == 0.25
    assert {(one["step"], one["error"], one["failures"]) for one in before["errors"]} == {
        ("reserve", "ConnectionError", 4),
        ("ship", "ValueError", 1),
    }
    age(100)
    assert run_command(["prune"]) == 0
    after = told(capsys, "order")
    assert after["steps"] == before["steps"]
    assert after["workflows"][0]["completed"] == 3
    assert run_command(["stats"]) == 0
    text = capsys.readouterr().out
    assert "75.0%" in text
    assert "ConnectionError" in text


def test_statistics_show_what_was_rolled_back(capsys: pytest.CaptureFixture[str]):
    """It has not completed, and what became of the runs adds up to them."""

    async def undo() -> None:
        async with Runtime("perdure.db") as runtime:
            await (await runtime.start(undone(), {})).result(check=False)

    asyncio.run(undo())
    assert run_command(["stats", "undone"]) == 0
    heads, row = [line.split() for line in capsys.readouterr().out.splitlines()[:2]]
    shown = dict(zip(heads, row, strict=False))
    assert [shown[head] for head in ("RUNS", "DONE", "FAILED", "UNDONE", "CANCELLED", "ACTIVE")] == list(
        "100100"
    )


def test_a_workflow_nobody_knows_has_no_statistics(capsys: pytest.CaptureFixture[str]):
    """Exit code 3."""
    assert run_command(["stats", "none"]) == 3
    assert "'none'" in capsys.readouterr().err


def test_a_vacuum_makes_the_file_smaller(capsys: pytest.CaptureFixture[str]):
    """By what went."""
    age(100)
    before = Path("perdure.db").stat().st_size
    assert run_command(["prune", "--vacuum"]) == 0
    assert "smaller" in capsys.readouterr().out
    assert Path("perdure.db").stat().st_size < before - 40_000
    assert run_command(["doctor", "--format", "json"]) in {0, 1}
    assert json.loads(capsys.readouterr().out)["health"]["damage"] == []


def test_without_a_retention_an_age_has_to_be_given(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """Exit code 2; and so for an age that is none."""
    monkeypatch.setenv("PERDURE_RETENTION", "off")
    assert run_command(["prune"]) == 2
    assert "--older-than" in capsys.readouterr().err
    assert run_command(["prune", "--older-than", "soon"]) == 2
    monkeypatch.setenv("PERDURE_RETENTION", "soon")
    assert run_command(["list"]) == 2
    assert "retention" in capsys.readouterr().err


def test_statistics_of_the_last_days_are_of_what_was_started_in_them(capsys: pytest.CaptureFixture[str]):
    """Under a year old, all of it; after a hundred days nothing of the last week."""
    assert told(capsys, "--last", "52w") == told(capsys)
    age(100)
    assert told(capsys, "--last", "7d") == {"workflows": [], "steps": [], "errors": []}
    assert run_command(["stats", "order", "--last", "7d"]) == 3
    assert "within the last 7d" in capsys.readouterr().err
    assert run_command(["stats", "--last", "soon"]) == 2
