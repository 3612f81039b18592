"""`perdure pick` at a real terminal: what is typed, what is shown, what becomes of it."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from perdure.runtime import Runtime, Workflow
from perdure.runtime.cli.exit_codes import Exit

pty = pytest.importorskip("pty", reason="a terminal of our own needs a Unix")

pytestmark = pytest.mark.e2e

AGENTS = """
from perdure.runtime import Agents

agents = Agents()


@agents.agent("greet")
def greet(name: str, times: int = 1) -> str:
    if name == "nobody":
        raise ValueError("nobody is there")
    return "hello " * times + name
"""

GREETING = """
name: greeting
inputs:
  required: [name]
  properties:
    name: {type: string, description: whom to greet}
    times: {type: integer, default: 2}
steps:
  - key: say
    agent: greet
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Agents, a workflow, and a database in which it has failed once."""
    (tmp_path / "agents.py").write_text(AGENTS)
    (tmp_path / "greeting.yaml").write_text(GREETING)
    run = [sys.executable, "-m", "perdure.runtime.cli", "run", "greeting.yaml", "-i", "name=nobody"]
    run += ["--agents", "agents.py:agents"]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "nobody is there" in done.stderr
    return tmp_path


def at_terminal(folder: Path, *lines: str, options: tuple[str, ...] = ()) -> tuple[int, str]:
    """The exit code of `perdure pick` and all that is seen, once those lines have been typed."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "perdure.runtime.cli", "pick", "--color", "never", *options],
        cwd=folder,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=os.environ | {"COLUMNS": "140"},
    )
    os.close(theirs)
    os.write(ours, "".join(f"{line}\n" for line in lines).encode())
    seen = b""
    while True:
        try:
            part = os.read(ours, 65_536)
        except OSError:  # Linux says so when the other end is gone
            break
        if not part:
            break
        seen += part
    os.close(ours)
    return process.wait(timeout=30), seen.decode()


def test_a_workflow_is_started_with_inputs_that_are_asked_for(folder: Path):
    """By a part of its name; a default needs nothing to be typed; the agents are those of the last time."""
    code, seen = at_terminal(folder, "greet", "n", "Anna", "")
    assert code == 0, seen
    assert "name, string, required (whom to greet)" in seen
    assert "times, integer, default 2" in seen
    assert "hello hello Anna" in seen


def test_agents_that_are_named_are_found_again_from_any_folder(folder: Path):
    """As those of `perdure run` are."""
    code, seen = at_terminal(folder, "greet", "n", "Anna", "", options=("--agents", "agents.py:agents"))
    assert code == 0, seen
    with closing(sqlite3.connect(folder / "perdure.db")) as database:
        found = {agents for (agents,) in database.execute("SELECT agents FROM workflow_executions")}
    assert found == {f"{folder.resolve()}/agents.py:agents"}


def test_a_failed_execution_is_retried_without_its_id(folder: Path):
    """By its number; what is shown is the command that does it; it fails once more, and says so."""
    code, seen = at_terminal(folder, "1", "1", "r")
    assert "perdure retry" in seen
    assert "ValueError" in seen
    assert code == Exit.FAILED


def test_what_means_nothing_is_asked_for_again_and_q_leaves(folder: Path):
    """Nothing is done by a slip of the keyboard."""
    code, seen = at_terminal(folder, "9", "zzz", "1", "7", "1", "x", "b", "b", "q")
    assert code == 0, seen
    assert "9 is none of them: give a number from 1 to 1" in seen
    assert "zzz is none of them" in seen
    assert "x is none of them: give one of the letters" in seen


def test_a_paused_execution_can_be_looked_at_and_resumed(tmp_path: Path):
    """Its status first, then on; steps written in Python are found where they are."""
    (tmp_path / "steps.py").write_text(
        "from perdure.runtime import Workflow\n\nresting = Workflow('resting')\n\n\n"
        "@resting.step\ndef first() -> int:\n    return 41\n\n\n"
        "@resting.step\ndef last(first: int) -> int:\n    return first + 1\n"
    )
    sys.path.insert(0, str(tmp_path))
    try:
        from steps import resting  # type: ignore[import-not-found]
    finally:
        sys.path.remove(str(tmp_path))

    async def paused(workflow: Workflow) -> None:
        async with Runtime(tmp_path / "perdure.db", workflows=[workflow], recover=False) as runtime:
            execution = await runtime.start(workflow, detach=True)
            await execution.pause()

    asyncio.run(paused(resting))
    code, seen = at_terminal(tmp_path, "resting", "1", "s", "r")
    assert code == 0, seen
    assert "42" in seen


def test_a_step_that_waits_for_approval_is_approved(tmp_path: Path):
    """What it asks is shown; its form is filled in, each value as what is declared."""
    form = {"required": ["limit"], "properties": {"limit": {"type": "integer"}}}
    release = Workflow("release").approval_step("ship", message="Ship it?", form=form)

    async def ask() -> None:
        async with Runtime(tmp_path / "perdure.db", workflows=[release]) as runtime:
            await runtime.start(release, id="lamp-1")

    asyncio.run(ask())
    code, seen = at_terminal(tmp_path, "release", "1", "a", "3", "looks good")
    assert code == 0, seen
    assert "a approve, x reject" in seen
    assert "ship: Ship it?" in seen
    assert "limit, integer, required" in seen
    assert "ship: completed" in seen


def test_without_a_terminal_it_says_what_to_use_instead(folder: Path):
    """One sentence, the code of a wrong call, nothing read from a pipe."""
    done = subprocess.run(
        [sys.executable, "-m", "perdure.runtime.cli", "pick"],
        cwd=folder,
        input="1\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "asks at a terminal" in done.stderr
