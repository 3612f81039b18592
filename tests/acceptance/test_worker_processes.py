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


def test_a_body_in_a_worker_process_does_not_outlive_the_program_that_was_killed(tmp_path: Path) -> None:
    """Else it would run on beside the one that the next start begins."""
    (tmp_path / "bodies.py").write_text(
        "import os, time\n"
        "def slow() -> None:\n"
        "    with open('pids.txt', 'a') as out:\n"
        "        out.write(f'{os.getpid()}\\n')\n"
        "    time.sleep(60)\n"
    )
    (tmp_path / "main.py").write_text(
        "import asyncio\n"
        "import bodies\n"
        "from perdure.runtime import Runtime, Workflow\n"
        "flow = Workflow('flow')\n"
        "flow.step(process=True)(bodies.slow)\n"
        "async def main():\n"
        "    async with Runtime('app.db') as runtime:\n"
        "        await (await runtime.start(flow)).result()\n"
        "if __name__ == '__main__':\n"
        "    asyncio.run(main())\n"
    )
    program = subprocess.Popen([sys.executable, "main.py"], cwd=tmp_path)
    pids = tmp_path / "pids.txt"
    end = time.monotonic() + PATIENCE_S
    while not (pids.exists() and pids.read_text().strip()):
        assert time.monotonic() < end
        time.sleep(0.01)
    body = int(pids.read_text())
    program.kill()
    program.wait()
    while _is_running(body):
        assert time.monotonic() < end, "the body outlived its program"
        time.sleep(0.05)


def test_a_worker_process_that_dies_fails_its_step_and_says_so(tmp_path: Path) -> None:
    """The program goes on; the error names the step and where to look."""
    (tmp_path / "bodies.py").write_text("import os\ndef die() -> None:\n    os._exit(3)\n")
    (tmp_path / "main.py").write_text(
        "import asyncio\n"
        "import bodies\n"
        "from perdure.runtime import Runtime, Workflow\n"
        "flow = Workflow('flow')\n"
        "flow.step(process=True)(bodies.die)\n"
        "async def main():\n"
        "    async with Runtime(':memory:') as runtime:\n"
        "        result = await (await runtime.start(flow)).result(check=False)\n"
        "        print(result.error.message)\n"
        "if __name__ == '__main__':\n"
        "    asyncio.run(main())\n"
    )
    command = [sys.executable, "main.py"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert "WorkerProcessDied: the worker process of step 'die' died" in ran.stdout, ran.stderr
    assert "os._exit" in ran.stdout


def test_bodies_keep_their_hands_off_the_pipes_and_raise_what_they_like(tmp_path: Path) -> None:
    """What a program prints that a body starts is no answer; an error that cannot travel says what it was."""
    (tmp_path / "bodies.py").write_text(
        "import os, subprocess\n"
        "class Picky(Exception):\n"
        "    def __init__(self, *, code):\n"
        "        super().__init__(f'code {code}')\n"
        "def prints():\n"
        "    return subprocess.run(['sh', '-c', 'echo noise; cat'], timeout=20).returncode\n"
        "def closes():\n"
        "    os.close(0)\n"
        "    os.close(1)\n"
        "def raises():\n"
        "    raise Picky(code=7)\n"
        "def exits():\n"
        "    raise SystemExit(3)\n"
    )
    (tmp_path / "main.py").write_text(
        "import asyncio\n"
        "import bodies\n"
        "from perdure.runtime import Runtime, Workflow\n"
        "flow = Workflow('flow')\n"
        "flow.step(process=True)(bodies.prints)\n"
        "flow.step(process=True)(bodies.closes)\n"
        "flow.step(process=True)(bodies.raises)\n"
        "leaves = Workflow('leaves')\n"
        "leaves.step(process=True)(bodies.exits)\n"
        "async def main():\n"
        "    async with Runtime(':memory:') as runtime:\n"
        "        for _ in range(3):\n"
        "            left = await (await runtime.start(leaves)).result(check=False)\n"
        "            assert left.error.message.endswith('RuntimeError: SystemExit: 3'), left.error\n"
        "        result = await (await runtime.start(flow)).result(check=False)\n"
        "        print(result.steps, result.error.message)\n"
        "if __name__ == '__main__':\n"
        "    asyncio.run(main())\n"
    )
    command = [sys.executable, "main.py"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    steps, _, message = ran.stdout.partition("} ")
    assert steps == "{'prints': 0, 'closes': None", ran.stdout + ran.stderr
    assert message == "step 'raises' failed after 1 attempt: RuntimeError: Picky: code 7\n"


def test_a_program_that_its_worker_processes_would_run_again_is_told_where_to_begin(tmp_path: Path) -> None:
    """It is loaded by each of them; nothing of it is started there."""
    (tmp_path / "bodies.py").write_text("def double(n: int) -> int:\n    return 2 * n\n")
    (tmp_path / "main.py").write_text(
        "import asyncio\n"
        "import bodies\n"
        "from perdure.runtime import Runtime, Workflow\n"
        "flow = Workflow('flow')\n"
        "flow.step(process=True)(bodies.double)\n"
        "async def main():\n"
        "    async with Runtime('app.db') as runtime:\n"
        "        result = await (await runtime.start(flow, {'n': 2})).result(check=False)\n"
        "        print(len(await runtime.list()), result.error.message)\n"
        "asyncio.run(main())\n"
    )
    command = [sys.executable, "main.py"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert ran.stdout.startswith("1 step 'double' failed"), ran.stderr
    assert 'below `if __name__ == "__main__":`' in ran.stdout


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
