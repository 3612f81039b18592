"""`perdure search` on a real file, in this process."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from perdure.runtime import Runtime, Workflow
from perdure.runtime.cli import run_command


def order() -> Workflow:
    """One step that fails for bricks."""
    workflow = Workflow("order", description="what a customer has bought")

    @workflow.step
    async def ship(item: str) -> str:
        if item == "brick":
            raise ValueError("far too heavy")
        return item

    return workflow


async def live() -> None:
    """Two that have ended."""
    async with Runtime("perdure.db") as runtime:
        for item in ("lamp", "brick"):
            execution = await runtime.start(order(), {"item": item}, id=f"{item}-1")
            await execution.result(check=False)


@pytest.fixture(autouse=True)
def _in_a_folder_with_a_history() -> None:
    asyncio.run(live())


def test_what_has_just_ended_is_found(capsys: pytest.CaptureFixture[str]):
    """By its input, and by what went wrong; nobody has indexed it before."""
    assert run_command(["search", "heavy"]) == 0
    said = capsys.readouterr().out
    assert "brick-1" in said
    assert "ValueError: far too heavy" in said
    assert "lamp-1" not in said
    assert run_command(["search", "LAM*", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["id"] for one in found["executions"]] == ["lamp-1"]
    assert found["is_behind"] is False


def test_workflows_are_found_by_what_they_say_of_themselves(capsys: pytest.CaptureFixture[str]):
    """Their description, here."""
    assert run_command(["search", "customer", "bought"]) == 0
    assert "what a customer has bought" in capsys.readouterr().out


def test_finding_nothing_is_no_error(capsys: pytest.CaptureFixture[str]):
    """A word has to be there, though."""
    assert run_command(["search", "sofa"]) == 0
    assert "nothing was found" in capsys.readouterr().err
    assert run_command(["search"]) == 2
    assert run_command(["search", "--", "-"]) == 3


@pytest.mark.parametrize("is_indexed", [True, False])
def test_a_store_that_cannot_be_written_to_is_searched_as_it_is(
    capsys: pytest.CaptureFixture[str],
    is_indexed: bool,  # noqa: FBT001
):
    """Somebody holds the write lock: where that matters it is said that something may be missing."""
    if is_indexed:
        assert run_command(["search", "lamp"]) == 0
    capsys.readouterr()
    with closing(sqlite3.connect("perdure.db", isolation_level=None)) as somebody:
        somebody.execute("BEGIN IMMEDIATE")
        assert run_command(["search", "lamp", "--format", "json"]) == 0
    said = capsys.readouterr()
    assert [one["id"] for one in json.loads(said.out)["executions"]] == ["lamp-1"] * is_indexed
    assert ("may be missing" in said.err) is not is_indexed


def test_there_must_be_a_database(capsys: pytest.CaptureFixture[str]):
    """Searching makes none."""
    assert run_command(["search", "lamp", "--db", "none.db"]) == 6
    assert not Path("none.db").exists()
