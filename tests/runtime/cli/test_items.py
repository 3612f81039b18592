"""What has become of the items of a step, and how far they are: from the command line."""

from __future__ import annotations

import asyncio
import json

import pytest

from perdure.runtime import ForEach, Runtime, Workflow
from perdure.runtime.cli import run_command

pytestmark = pytest.mark.integration


def shop() -> Workflow:
    """Five items, of which one fails; then three, of which one does, and with it the step."""
    workflow = Workflow("shop")

    @workflow.step(for_each=ForEach(items=["ant", "bee", "cat", "dog", "eel"], continue_on_error=True))
    async def weigh(item: str, index: int) -> int:
        if item == "bee":
            raise ValueError("it flew away")
        return index

    @workflow.step(for_each=ForEach(items=3, max_concurrency=1))
    async def pack(item: int, weigh: list[int | None]) -> str:
        if item == 1:
            raise ValueError("no box")
        return "packed"

    return workflow


async def run() -> None:
    """One execution that has failed."""
    async with Runtime("perdure.db") as runtime:
        await (await runtime.start(shop(), id="shop-1")).result(check=False)


@pytest.fixture(autouse=True)
def database() -> None:
    """A database with that execution, in the current folder."""
    asyncio.run(run())


def test_items_are_listed_with_what_they_gave(capsys: pytest.CaptureFixture[str]):
    """In order, with a count of them all."""
    assert run_command(["items", "shop-1", "weigh"]) == 0
    told = capsys.readouterr()
    lines = [line.split() for line in told.out.splitlines()]
    assert lines[0] == ["ITEM", "STATE", "ATTEMPT", "STARTED", "TOOK", "RESULT"]
    assert [[line[0], line[2], line[3]] for line in lines[1:3]] == [
        ["0", "completed", "1"],
        ["1", "failed", "1"],
    ]
    assert lines[2][-4:] == ["ValueError:", "it", "flew", "away"]
    assert told.err == "4 of 5 items completed, 1 failed\n"


def test_an_item_that_has_failed_its_step_is_counted(capsys: pytest.CaptureFixture[str]):
    """Although a retry of the step would perform it again."""
    assert run_command(["items", "shop-1", "pack"]) == 0
    assert capsys.readouterr().err == "1 of 3 items completed, 1 failed\n"


def test_a_page_and_those_that_failed_can_be_asked_for(capsys: pytest.CaptureFixture[str]):
    """As JSON, too."""
    assert run_command(["items", "shop-1", "weigh", "--after", "2", "-n", "1", "--format", "json"]) == 0
    [item] = json.loads(capsys.readouterr().out)
    assert (item["item"], item["output"]) == (3, 3)
    assert run_command(["items", "shop-1", "weigh", "--failed", "--format", "json"]) == 0
    assert [each["item"] for each in json.loads(capsys.readouterr().out)] == [1]


def test_the_status_says_how_many_are_done(capsys: pytest.CaptureFixture[str]):
    """Of a step that has not completed."""
    assert run_command(["status", "shop-1"]) == 0
    [line] = [line for line in capsys.readouterr().out.splitlines() if " pack " in line]
    assert "1 of 3 items done; ItemFailed: item 1 of step 'pack' failed after 1 attempt" in line


def test_a_step_without_items_is_not_found(capsys: pytest.CaptureFixture[str]):
    """With the nearest one that has some."""
    assert run_command(["items", "shop-1", "wiegh"]) == 3
    assert "did you mean 'weigh'?" in capsys.readouterr().err
