"""What was, what has become of it, and which checkpoints may go: from the command line."""

from __future__ import annotations

import asyncio
import json

import pytest

from perdure.runtime import Runtime, Workflow
from perdure.runtime.cli import run_command

pytestmark = pytest.mark.integration


def bake() -> Workflow:
    """Two steps, one after the other."""
    workflow = Workflow("bake")

    @workflow.step
    async def dough(grams: int) -> int:
        return grams

    @workflow.step
    async def oven(dough: int) -> str:
        return f"{dough} g of bread"

    return workflow


async def run() -> None:
    """One execution with two checkpoints."""
    async with Runtime("perdure.db") as runtime:
        await (await runtime.start(bake(), {"grams": 500}, id="loaf")).result()


@pytest.fixture(autouse=True)
def database() -> None:
    """A database with one completed execution, in the current folder."""
    asyncio.run(run())


def test_show_prints_the_state_at_a_checkpoint(capsys: pytest.CaptureFixture[str]):
    """Steps with their outputs, then the context."""
    assert run_command(["checkpoint", "show", "loaf", "2"]) == 0
    _, steps, context = capsys.readouterr().out.split("\n\n")
    assert [line.split() for line in steps.splitlines()] == [
        ["STEP", "STATE", "ATTEMPT", "OUTPUT"],
        ["dough", "✔", "completed", "1", "500"],
        ["oven", "●", "running", "1"],
    ]
    assert [line.split() for line in context.splitlines()] == [["CONTEXT", "VALUE"], ["grams", "500"]]
    assert run_command(["checkpoint", "show", "loaf", "2", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["steps"]["dough"]["output"] == 500


def test_diff_prints_what_has_become_of_it(capsys: pytest.CaptureFixture[str]):
    """One line for each thing."""
    assert run_command(["checkpoint", "diff", "loaf", "2", "latest"]) == 0
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["WHAT", "(2)", "(3)"],
        ["steps.oven.state", "running", "completed"],
        ["steps.oven.output", "–", "500", "g", "of", "bread"],
    ]


def test_prune_says_what_would_go_and_then_does_it(capsys: pytest.CaptureFixture[str]):
    """The newest stays."""
    assert run_command(["checkpoint", "prune", "loaf", "--keep", "1", "--dry-run"]) == 0
    assert capsys.readouterr().err == "1 would go\n"
    assert run_command(["checkpoint", "prune", "loaf", "--keep", "1"]) == 0
    assert capsys.readouterr().err == "1 gone\n"
    assert run_command(["checkpoints", "loaf"]) == 0
    told = capsys.readouterr()
    assert told.err == "1 checkpoint (0 labelled, 1 automatic), the largest of 19 B\n"
    assert len(told.out.splitlines()) == 2


def test_the_word_alone_still_makes_a_checkpoint(capsys: pytest.CaptureFixture[str]):
    """Of an execution that has not ended; the commands of the group have names of their own."""
    assert run_command(["checkpoint", "loaf", "--label", "late"]) == 5
    assert "has ended" in capsys.readouterr().err
    assert run_command(["checkpoint", "--help"]) == 0
    assert "prune" in capsys.readouterr().out


def test_a_checkpoint_that_is_not_there_is_not_found(capsys: pytest.CaptureFixture[str]):
    """The refusal names those that are."""
    assert run_command(["checkpoint", "show", "loaf", "first"]) == 3
    assert "there are: 3, 2" in capsys.readouterr().err
