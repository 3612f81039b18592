"""Commands that are given to many executions at once, from the command line."""

from __future__ import annotations

import asyncio

import pytest

from perdure.runtime import Runtime, Workflow
from perdure.runtime.cli import run_command

pytestmark = pytest.mark.integration


def coin() -> Workflow:
    """One step that fails for odd numbers."""
    workflow = Workflow("coin")

    @workflow.step
    async def flip(number: int) -> int:
        if number % 2:
            raise ValueError("odd")
        return number

    return workflow


async def run() -> None:
    """Four executions, two of them failed."""
    async with Runtime("perdure.db") as runtime:
        for number in range(4):
            await (await runtime.start(coin(), {"number": number}, id=f"c{number}")).result(check=False)


@pytest.fixture(autouse=True)
def database() -> None:
    """That database, in the current folder."""
    asyncio.run(run())


def rows(text: str) -> list[list[str]]:
    """The words of each line after the head."""
    return [line.split() for line in text.splitlines()[1:]]


def test_retry_with_a_filter_says_first_and_then_does(capsys: pytest.CaptureFixture[str]):
    """They wait for a process with their code; what was not meant stays completed."""
    assert run_command(["retry", "--where", "state=failed workflow=coin", "--dry-run"]) == 0
    told = capsys.readouterr()
    assert rows(told.out) == [
        ["c3", "coin", "✘", "failed", "would", "be", "done"],
        ["c1", "coin", "✘", "failed", "would", "be", "done"],
    ]
    assert told.err == "2 would be done\n"
    assert run_command(["retry", "--where", "state=failed workflow=coin"]) == 0
    told = capsys.readouterr()
    assert [(row[0], row[-1]) for row in rows(told.out)] == [("c3", "done"), ("c1", "done")]
    assert run_command(["list", "--status", "failed", "-q"]) == 0
    assert capsys.readouterr().out == ""


def test_a_refusal_shows_in_its_line_and_in_the_exit_code(capsys: pytest.CaptureFixture[str]):
    """Nobody else is kept from it."""
    assert run_command(["cancel", "--where", "id=c0"]) == 5
    assert "it has ended" in capsys.readouterr().out
    assert run_command(["pause", "--where", "id=c0", "--dry-run"]) == 0
    assert "would be refused" in capsys.readouterr().out
    assert run_command(["resume", "--where", "status=paused"]) == 0
    assert capsys.readouterr().err == "none is meant\n"


def test_a_resume_of_what_only_waits_is_rehearsed_as_it_is_done(capsys: pytest.CaptureFixture[str]):
    """It takes data, and waits on."""

    async def wait() -> None:
        async with Runtime("perdure.db") as runtime:
            execution = await runtime.start(Workflow("wait").signal_step("a", signal="s"), id="w0")
            async for event in execution.events(follow=True):
                if event.type == "step_waiting":
                    break

    asyncio.run(wait())
    assert run_command(["resume", "--where", "id=w0", "--dry-run"]) == 0
    assert "would be done" in capsys.readouterr().out
    assert run_command(["resume", "--where", "id=w0", "--data", '{"x": 1}']) == 0
    assert capsys.readouterr().err == "1 done\n"


def test_one_or_many_has_to_be_said(capsys: pytest.CaptureFixture[str]):
    """Not both, not neither; a dry run is of many."""
    for tokens in (["pause"], ["pause", "c0", "--where", "id=c"], ["retry", "c1", "--dry-run"]):
        assert run_command(tokens) == 2
        assert "--where" in capsys.readouterr().err
    assert run_command(["cancel", "--where", "state=paused", "--agents", "a.py:b"]) == 2
    assert "`perdure worker --agents" in capsys.readouterr().err
    assert run_command(["cancel", "--where", "colour=red"]) == 2
    assert "the fields are" in capsys.readouterr().err
