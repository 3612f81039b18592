"""The executions below an execution, as people see them: a tree, a list."""

from __future__ import annotations

import asyncio
import json
import re

import pytest

from perdure.runtime import Runtime, Workflow
from perdure.runtime.cli import family, run_command

LEAF = Workflow("leaf").sleep_step("nap", 3600)


def tree() -> tuple[Workflow, Workflow]:
    """A top with two children, of which one has a child."""
    middle = Workflow("middle").workflow_step("inner", workflow=LEAF)
    top = Workflow("top").workflow_step("left", workflow=middle).workflow_step("right", workflow=LEAF)
    return top, middle


async def grow() -> None:
    """Start them, until all are there."""
    top, middle = tree()
    async with Runtime("perdure.db", workflows=[LEAF, middle, top]) as runtime:
        execution = await runtime.start(top, id="top-1")
        async for event in execution.events(follow=True):
            if event.type == "child_started" and event.step == "right":
                break
        left = (await runtime.list(parent="top-1"))[-1]
        async for event in (await runtime.execution(left.id)).events(follow=True):
            if event.type == "child_started":
                break


@pytest.fixture(autouse=True)
def _grown() -> None:
    asyncio.run(grow())


def test_the_status_of_an_execution_shows_the_tree_below_it(capsys: pytest.CaptureFixture[str]):
    """Each child after its parent, with the step that started it."""
    assert run_command(["status", "top-1"]) == 0
    text = capsys.readouterr().out
    rows = [re.sub(r"[0-9a-f]{32}", "ID", line) for line in text.splitlines() if "─ " in line]
    assert [row.split("awaiting")[0].rstrip(" ◌◐●⏳…") for row in rows] == [
        "├─ ID     middle    left",
        "│  └─ ID  leaf      inner",
        "└─ ID     leaf      right",
    ]
    assert re.search(r"waits for child [0-9a-f]{32} \(leaf\)", text)


def test_the_newest_execution_is_never_a_child(capsys: pytest.CaptureFixture[str]):
    """A command for the newest one means what somebody has started, unless it names the child's workflow."""
    assert run_command(["status", "@last", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["execution"]["id"] == "top-1"
    assert run_command(["status", "middle@last", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["execution"]["parent_id"] == "top-1"


def test_a_child_names_its_parent(capsys: pytest.CaptureFixture[str]):
    """In its status, and for programs."""
    assert run_command(["list", "--parent", "top-1", "--quiet"]) == 0
    children = capsys.readouterr().out.split()
    assert len(children) == 2
    assert run_command(["status", children[0]]) == 0
    assert re.search(r"^parent +top-1$", capsys.readouterr().out, re.MULTILINE)
    assert run_command(["status", "top-1", "--format", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [child["parent_id"] for child in told["children"]] == ["top-1", children[1], "top-1"]


def test_a_large_family_is_cut_and_said_to_be(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    """The rest is a list."""
    monkeypatch.setattr(family, "SHOWN_MAX", 1)
    assert run_command(["status", "top-1"]) == 0
    captured = capsys.readouterr()
    assert captured.out.partition("CHILD")[2].count("─ ") == 1
    assert "perdure list --parent ID" in captured.err
