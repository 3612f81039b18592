"""A command does its work whatever has become of the streams it was given."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from perdure.runtime.cli.render import LOOKS, progress
from perdure.runtime.cli.streams import PLAIN

AGENTS = """
from perdure.runtime import Agents
agents = Agents()

@agents.agent("upper")
def upper(prompt: str) -> str:
    return prompt.upper()
"""
SHOUT = """
name: shout
steps:
  - key: shout
    agent: upper
    prompt: "héllo – {{name}}"
"""
RUN = "run shout.yaml -i name=Ada --agents agents.py:agents"


def perdure(command: str, *, redirected: str = "", **env: str) -> subprocess.CompletedProcess[bytes]:
    """Carry out a command line in a process of its own, its streams redirected by a shell."""
    line = f"exec {sys.executable} -m perdure.runtime.cli {command} {redirected}"
    return subprocess.run(
        ["/bin/sh", "-c", line], capture_output=True, check=False, env=os.environ | env, timeout=60
    )


@pytest.mark.parametrize(
    "redirected",
    ["<&-", ">&-", "2>&-", "<&- >&- 2>&-", "2>/dev/full"],
    ids=lambda text: text.replace("/", " "),
)
def test_streams_that_are_closed_or_full_stop_no_execution(redirected: str):
    """What cannot be told is not told; the execution completes, and that is what the exit code says."""
    if "/dev/full" in redirected and not Path("/dev/full").exists():
        pytest.skip("there is no device that is always full")
    Path("agents.py").write_text(AGENTS)
    Path("shout.yaml").write_text(SHOUT)
    done = perdure(RUN, redirected=redirected)
    assert done.returncode == 0, done.stderr.decode()
    assert b"Traceback" not in done.stderr
    assert b"completed" in perdure("list").stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
@pytest.mark.parametrize("command", ["--help", "--version", "run --help", "config"])
def test_what_cannot_be_printed_is_told_in_one_line(command: str):
    """The disk that stdout goes to is full."""
    done = perdure(command, redirected=">/dev/full")
    assert done.returncode == 1
    assert b"No space left on device" in done.stderr
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr


@pytest.mark.parametrize("command", ["--help", RUN, "no-such-command"])
def test_what_an_encoding_has_no_room_for_is_a_plainer_glyph_or_an_escape(command: str):
    """A terminal that knows only ASCII gets ASCII, and no error."""
    Path("agents.py").write_text(AGENTS)
    Path("shout.yaml").write_text(SHOUT)
    done = perdure(command, PYTHONIOENCODING="ascii:strict")
    assert done.returncode == (2 if command == "no-such-command" else 0), done.stderr.decode()
    assert (done.stdout + done.stderr).isascii()
    assert command != RUN or b"H\\xc9LLO - ADA" in done.stdout


def test_every_glyph_has_a_plainer_one_of_the_same_width():
    """Columns line up there too: one character stands for one."""
    drawn = {glyph for glyph, _ in LOOKS.values()} | set(progress(1, 2)[:10]) | set("✔✘→–…│├└─")
    assert drawn <= set(map(chr, PLAIN))
    assert all(len(chr(plain)) == 1 and chr(plain).isascii() for plain in PLAIN.values())


def test_a_mistake_is_a_mistake_where_nobody_can_be_told():
    """The exit code is the same."""
    assert perdure("no-such-command", redirected="2>&-").returncode == 2


@pytest.mark.parametrize(
    ("act", "code"),
    [
        ("sys.stderr.close()", 0),
        ("sys.stderr = None", 0),
        ("[task.cancel() for task in asyncio.all_tasks() if task is not asyncio.current_task()]", 1),
    ],
    ids=["closes stderr", "takes stderr away", "cancels everything"],
)
def test_a_step_that_takes_away_what_is_not_its_own_gets_no_traceback(act: str, code: int):
    """A stream that is gone is not written to; a program that is cancelled from within says so."""
    Path("agents.py").write_text(
        "import asyncio, sys\nfrom perdure.runtime import Agents\nagents = Agents()\n"
        f"@agents.agent('upper')\nasync def upper(prompt: str) -> str:\n    {act}\n    return 'done'\n"
    )
    Path("shout.yaml").write_text(SHOUT)
    done = perdure(RUN)
    assert done.returncode == code, done.stderr.decode()
    assert b"Traceback" not in done.stderr
    assert code == 0 or b"perdure: unexpected CancelledError" in done.stderr
