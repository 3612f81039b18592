"""Steps in worker processes, of an embedding program in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

PATIENCE_S = 30.0
HEAD = """
import asyncio
import bodies
from perdure.runtime import Runtime, Workflow
flow = Workflow("flow")
"""
TAIL = """
if __name__ == "__main__":
    asyncio.run(main())
"""


def program(folder: Path, *, bodies: str, main: str, tail: str = TAIL) -> list[str]:
    """Write a program and the module of its bodies there; answers the command that runs it."""
    (folder / "bodies.py").write_text(bodies)
    (folder / "main.py").write_text(HEAD + main + tail)
    return [sys.executable, "main.py"]


def said(folder: Path, **parts: str) -> str:
    """What such a program prints."""
    command = program(folder, **parts)
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_a_body_in_a_worker_process_does_not_outlive_the_program_that_was_killed(tmp_path: Path) -> None:
    """Else it would run on beside the one that the next start begins."""
    command = program(
        tmp_path,
        bodies="""
import os, signal
def slow() -> None:
    with open("pids.txt", "a") as out:
        out.write(f"{os.getpid()}\\n")
    signal.pause()
""",
        main="""
flow.step(process=True)(bodies.slow)
async def main():
    async with Runtime("app.db") as runtime:
        await (await runtime.start(flow)).result()
""",
    )
    running = subprocess.Popen(command, cwd=tmp_path)
    pids = tmp_path / "pids.txt"
    end = time.monotonic() + PATIENCE_S
    while not (pids.exists() and pids.read_text().strip()):
        assert time.monotonic() < end
        time.sleep(0.01)
    body = int(pids.read_text())
    running.kill()
    running.wait()
    while _is_running(body):
        assert time.monotonic() < end, "the body outlived its program"
        time.sleep(0.05)


def test_a_worker_process_that_dies_fails_its_step_and_says_so(tmp_path: Path) -> None:
    """The program goes on; the error names the step and where to look."""
    told = said(
        tmp_path,
        bodies="""
import os
def die() -> None:
    os._exit(3)
""",
        main="""
flow.step(process=True)(bodies.die)
async def main():
    async with Runtime(":memory:") as runtime:
        result = await (await runtime.start(flow)).result(check=False)
        print(result.error.message)
""",
    )
    assert "WorkerProcessDied: the worker process of step 'die' died" in told
    assert "os._exit" in told


def test_bodies_keep_their_hands_off_the_pipes_and_raise_what_they_like(tmp_path: Path) -> None:
    """What a program prints that a body starts is no answer; an error that cannot travel says what it was."""
    told = said(
        tmp_path,
        bodies="""
import os, subprocess
class Picky(Exception):
    def __init__(self, *, code):
        super().__init__(f"code {code}")
def prints():
    return subprocess.run(["sh", "-c", "echo noise; cat"], timeout=20).returncode
def closes():
    os.close(0)
    os.close(1)
def raises():
    raise Picky(code=7)
def exits():
    raise SystemExit(3)
""",
        main="""
flow.step(process=True)(bodies.prints)
flow.step(process=True)(bodies.closes)
flow.step(process=True)(bodies.raises)
leaves = Workflow("leaves")
leaves.step(process=True)(bodies.exits)
async def main():
    async with Runtime(":memory:") as runtime:
        for _ in range(3):
            left = await (await runtime.start(leaves)).result(check=False)
            assert left.error.message.endswith("RuntimeError: SystemExit: 3"), left.error
        result = await (await runtime.start(flow)).result(check=False)
        print(result.steps, result.error.message)
""",
    )
    steps, _, message = told.partition("} ")
    assert steps == "{'prints': 0, 'closes': None"
    assert message == "step 'raises' failed after 1 attempt: RuntimeError: Picky: code 7\n"


def test_a_body_may_return_and_raise_what_the_programs_own_file_defines(tmp_path: Path) -> None:
    """A worker process has that file under another name than the program itself."""
    told = said(
        tmp_path,
        bodies="",
        main="""
from dataclasses import dataclass
@dataclass
class Point:
    x: int
class Mine(Exception):
    pass
@flow.step(process=True)
def makes():
    return Point(3)
@flow.step(process=True)
def raises(makes):
    raise Mine("no")
async def main():
    async with Runtime(":memory:") as runtime:
        result = await (await runtime.start(flow)).result(check=False)
        print(result.steps, result.error.message)
""",
    )
    assert told == "{'makes': {'x': 3}} step 'raises' failed after 1 attempt: Mine: no\n"


def test_a_program_that_its_worker_processes_would_run_again_is_told_where_to_begin(tmp_path: Path) -> None:
    """It is loaded by each of them; nothing of it is started there."""
    told = said(
        tmp_path,
        bodies="""
def double(n: int) -> int:
    return 2 * n
""",
        main="""
flow.step(process=True)(bodies.double)
async def main():
    async with Runtime("app.db") as runtime:
        result = await (await runtime.start(flow, {"n": 2})).result(check=False)
        print(len(await runtime.list()), result.error.message)
""",
        tail="asyncio.run(main())\n",
    )
    assert told.startswith("1 step 'double' failed")
    assert 'below `if __name__ == "__main__":`' in told


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
