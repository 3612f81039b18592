"""Versions of a workflow, and executions that move between them: from the command line."""

from __future__ import annotations

import asyncio

import pytest

from perdure.runtime import Agents, Runtime, Workflow
from perdure.runtime.cli import run_command, worker
from perdure.runtime.cli.session import Session

pytestmark = pytest.mark.integration

ONE = "name: w\nversion: '1'\nsteps:\n- {key: a, agent: do}\n- {key: b, agent: fail, dependencies: [a]}\n"
TWO = ONE.replace("'1'", "'2'").replace("agent: fail", "agent: do")
THREE = TWO.replace("'2'", "'3'").replace("key: a, agent: do", "key: a, agent: other")


async def run() -> None:
    """An execution of version 1 that has failed in its second step, and two more versions."""
    agents = Agents()

    async def do() -> str:
        return "done"

    async def fail() -> str:
        raise ValueError("no")

    agents.add("do", do)
    agents.add("fail", fail)
    async with Runtime("perdure.db", agents=agents) as runtime:
        await (await runtime.start(Workflow.parse(ONE), {}, id="e1")).result(check=False)
        for text in (TWO, THREE):
            await runtime.publish(Workflow.parse(text))


@pytest.fixture(autouse=True)
def database() -> None:
    """That database, in the current folder, with agents for `resume` and `retry`."""
    asyncio.run(run())


def table(text: str) -> list[list[str]]:
    """The words of each line."""
    return [line.split() for line in text.splitlines()]


def test_what_a_failed_execution_does_not_take_tells_what_it_does(capsys: pytest.CaptureFixture[str]):
    """The next command to say, and the names that it takes."""
    assert run_command(["resume", "e1"]) == 5
    assert "it is failed; it has ended; `retry` opens it again" in capsys.readouterr().err
    assert run_command(["fork", "e1", "--from", "zzz"]) == 3
    assert "no step or checkpoint 'zzz': the steps are a, b; `perdure checkpoints`" in capsys.readouterr().err
    assert run_command(["fork", "e1", "-e", "branch"]) == 2
    assert "-e branch: must be NAME=VALUE" in capsys.readouterr().err
    assert run_command(["fork", "e1", "--from", "²"]) == 3


def test_a_fork_that_is_left_to_a_worker_has_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    """One is started where none runs, as for a run that is left to one."""
    started: list[str | None] = []

    def start(_: Session, *, agents: str | None = None) -> int:
        started.append(agents)
        return 4711

    monkeypatch.setattr(worker, "start_worker", start)
    assert run_command(["fork", "e1", "--id", "f1", "--detach"]) == 0
    told = capsys.readouterr()
    assert "f1" in told.out
    assert "handed to a new worker, process 4711" in told.err
    assert started == [None]


def test_versions_lists_them_and_activate_changes_which_is_meant(capsys: pytest.CaptureFixture[str]):
    """With the executions of each."""
    assert run_command(["activate", "w", "2"]) == 0
    capsys.readouterr()
    assert run_command(["versions", "w"]) == 0
    rows = table(capsys.readouterr().out)
    assert rows[0] == ["VERSION", "REVISION", "ACTIVE", "EXECUTIONS", "UNFINISHED", "PUBLISHED", "BY"]
    assert [(row[0], row[2], row[3]) for row in rows[1:]] == [
        ("3", "–", "0"),
        ("2", "active", "0"),
        ("1", "–", "1"),
    ]
    assert run_command(["deactivate", "w"]) == 0
    assert "active" not in capsys.readouterr().out
    assert run_command(["activate", "w", "9"]) == 3
    assert ": there are: 3, 2, 1" in capsys.readouterr().err


def test_diff_tells_what_differs(capsys: pytest.CaptureFixture[str]):
    """Path by path."""
    assert run_command(["diff", "w", "1", "2"]) == 0
    assert table(capsys.readouterr().out) == [
        ["WHAT", "1", "2"],
        ["version", "1", "2"],
        ["steps.b.agent", "fail", "do"],
    ]


def test_migrate_says_what_would_differ_and_then_does_it(capsys: pytest.CaptureFixture[str]):
    """Nothing is done by the first."""
    assert run_command(["migrate", "e1", "--to", "2", "--dry-run"]) == 0
    assert table(capsys.readouterr().out)[0] == ["may", "move", "to", "2", "e1"]
    assert run_command(["migrate", "e1", "--to", "2"]) == 0
    assert table(capsys.readouterr().out)[0] == ["moved", "to", "2", "e1"]
    assert run_command(["events", "e1"]) == 0
    assert "workflow_migrated" in capsys.readouterr().out


def test_an_execution_that_cannot_move_says_why(capsys: pytest.CaptureFixture[str]):
    """The same reasons, asked beforehand or told by the refusal."""
    reason = "step 'a' is completed and differs in agent"
    assert run_command(["migrate", "e1", "--to", "3", "--dry-run"]) == 5
    assert f"no: {reason}" in capsys.readouterr().out
    assert run_command(["migrate", "e1", "--to", "3"]) == 5
    assert reason in capsys.readouterr().err


def test_migrate_tells_an_execution_from_the_schema(capsys: pytest.CaptureFixture[str]):
    """By the ID; what belongs to the other is refused."""
    assert run_command(["migrate", "e1"]) == 2
    assert "--to" in capsys.readouterr().err
    assert run_command(["migrate", "--to", "two"]) == 2
    assert "give its ID" in capsys.readouterr().err
    assert run_command(["migrate"]) == 0


def test_many_are_moved_at_once_and_those_that_cannot_say_why(capsys: pytest.CaptureFixture[str]):
    """A line for each; the rehearsal does nothing, and one that is refused stops nobody."""
    asyncio.run(start_another())
    for_both = ["migrate", "--where", "workflow=w", "--to", "2"]
    assert run_command([*for_both, "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["ID", "WORKFLOW", "STATE", "OUTCOME", "WHY"]
    assert "would be refused  it is completed: it has ended; step 'a' is completed and differs" in lines[1]
    assert lines[2].startswith("e1 ")
    assert lines[2].endswith("would be done")
    assert run_command(for_both) == 5
    told = capsys.readouterr()
    assert ["refused" in told.out.splitlines()[1], "done" in told.out.splitlines()[2]] == [True, True]
    assert "1 refused, 1 done" in told.err
    assert run_command([*for_both, "--dry-run", "--format", "json"]) == 0
    assert '"outcome": "would be done"' in capsys.readouterr().out
    assert run_command(["events", "e1"]) == 0
    assert capsys.readouterr().out.count("workflow_migrated") == 1
    assert run_command(["migrate", "e1", *for_both[1:]]) == 2
    assert run_command(["migrate", "--where", "workflow=w"]) == 2


async def start_another() -> None:
    """An execution that has completed as one of another version."""
    agents = Agents()

    async def do() -> str:
        return "done"

    agents.add("other", do)
    agents.add("do", do)
    async with Runtime("perdure.db", agents=agents) as runtime:
        await (await runtime.start(Workflow.parse(THREE), {}, id="e2")).result()
