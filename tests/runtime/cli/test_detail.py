"""What `status` says of one execution: why steps were skipped, and who called it off."""

from __future__ import annotations

import asyncio
import json
import os

import pytest

from perdure.runtime import Agents, Runtime, Workflow
from perdure.runtime.cli import run_command

pytestmark = pytest.mark.integration

SKIPS = """
name: skips
config: {continueOnError: true}
steps:
  - {key: size, agent: measure}
  - {key: far, agent: measure, dependencies: [size], when: "steps.size.output > 3"}
  - {key: lost, agent: lose, dependencies: [size]}
  - {key: report, agent: measure, dependencies: [lost, far, size]}
  - {key: go, waitFor: {signal: go, timeout: 1, onTimeout: skip}}
  - {key: asked, approval: {timeout: 1, onTimeout: reject}}
"""
NOTES = {
    "far": "its condition was false: steps.size.output > 3",
    "report": "not completed: lost, far",
    "go": "what it waited for did not come in time",
    "asked": "what it waited for did not come in time",
}
STOPPED = "name: stopped\nsteps: [{key: wait, waitFor: {signal: go}}]"


def _agents() -> Agents:
    agents = Agents()

    @agents.agent("measure")
    async def measure() -> int:
        return 3

    @agents.agent("lose")
    async def lose() -> None:
        raise ValueError("lost")

    return agents


async def _run() -> None:
    """One execution with every kind of skip, and one that somebody has cancelled."""
    async with Runtime("perdure.db", agents=_agents()) as runtime:
        await (await runtime.start(Workflow.parse(SKIPS), id="skips-1")).result(check=False)
        stopped = await runtime.start(Workflow.parse(STOPPED), id="stopped-1")
        await stopped.cancel(by="ada", reason="wrong branch")
        await stopped.result(check=False)


@pytest.fixture(autouse=True)
def database() -> None:
    """A database with both, in the current folder."""
    asyncio.run(_run())


def test_status_tells_of_a_run_that_may_wait_for_it(capsys: pytest.CaptureFixture[str]):
    """Of what only waits nobody is the owner; with no such process it says how to go on."""

    async def look_while_a_run_waits() -> None:
        async with Runtime("perdure.db", agents=_agents(), kind="run") as runtime:
            execution = await runtime.start(Workflow.parse(STOPPED), id="waiting-1")
            async for event in execution.events(follow=True):
                if event.type == "step_waiting":
                    break
            assert await asyncio.to_thread(run_command, ["status", "waiting-1"]) == 0

    asyncio.run(look_while_a_run_waits())
    assert f"nobody yet; run {os.getpid()} on " in capsys.readouterr().out
    assert run_command(["status", "waiting-1"]) == 0
    assert "nobody; go on with: perdure resume waiting-1" in capsys.readouterr().out


def test_each_skipped_step_says_why(capsys: pytest.CaptureFixture[str]):
    """Which condition was false, which dependencies have not completed, what has not come."""
    assert run_command(["status", "skips-1"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if " skipped " in line]
    told = {line.split()[1]: line.split("  ")[-1].strip() for line in lines}
    assert told == NOTES


def test_programs_read_why_a_step_was_skipped(capsys: pytest.CaptureFixture[str]):
    """The reason as the log has it, and the condition; null of a step that was not."""
    assert run_command(["status", "skips-1", "--format", "json"]) == 0
    steps = json.loads(capsys.readouterr().out)["query"]["steps"]
    assert steps["size"]["skipped"] is None
    assert steps["far"]["skipped"] == {"reason": "when", "when": "steps.size.output > 3"}
    assert steps["report"]["skipped"] == {"reason": "dependencies", "of": ["lost", "far"]}
    assert steps["go"]["skipped"] == {"reason": "timeout"}


def test_a_cancelled_execution_says_by_whom_and_why(capsys: pytest.CaptureFixture[str]):
    """One that nobody has cancelled says nothing of it."""
    assert run_command(["status", "stopped-1"]) == 0
    [line] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("cancelled")]
    assert line.endswith("by ada: wrong branch")
    assert run_command(["status", "stopped-1", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["query"]["cancel"]["by"] == "ada"
    assert run_command(["status", "skips-1", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["query"]["cancel"] is None
