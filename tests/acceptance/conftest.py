"""What acceptance tests share: a folder with a workflow, and a shell in it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for what these tests share, some of it programs of their own

from fleet import Fleet

PATIENCE_S = 30.0  # a loaded machine may be slow; a hang is still found

WORKFLOW = """\
name: relay
version: "1"
steps:
  - {key: first, agent: note, prompt: "first {{word}}"}
  - {key: second, agent: slow, prompt: "second", dependencies: [first]}
  - {key: third, agent: note, prompt: "third {{second}}", dependencies: [second]}
"""

AGENTS = '''\
"""Agents that write down what they do, so that nothing can be done twice unseen."""
import asyncio
import os
from pathlib import Path

from perdure.runtime import Agents, StepContext

agents = Agents()


def write(line: str) -> None:
    with Path("ledger.txt").open("a") as ledger:
        ledger.write(line + "\\\\n")


@agents.agent("note", capabilities={"writing"})
async def note(prompt: str) -> str:
    write(prompt)
    if Path("broken").exists():
        raise ValueError("it is broken")
    return prompt


@agents.agent("slow")
async def slow(prompt: str, context: StepContext) -> str:
    write("begin " + prompt)
    context.heartbeat("half way")
    await asyncio.sleep(float(Path("seconds").read_text()))
    write("end " + prompt)
    return prompt
'''.replace("\\\\n", "\\n")


class Terminal:
    """A folder with a workflow and its agents, and a shell in it."""

    patience_s = PATIENCE_S

    def __init__(self, folder: Path) -> None:
        """Lay the files out."""
        self.folder = folder
        (folder / "relay.yaml").write_text(WORKFLOW)
        (folder / "agents.py").write_text(AGENTS)
        self.be_slow(0.05)
        self._open: list[subprocess.Popen[str]] = []

    def be_slow(self, seconds: float) -> None:
        """How long the slow step takes from now on."""
        (self.folder / "seconds").write_text(str(seconds))

    @property
    def ledger(self) -> list[str]:
        """What the agents have written so far."""
        path = self.folder / "ledger.txt"
        return path.read_text().splitlines() if path.exists() else []

    def start(self, *tokens: str, **more: object) -> subprocess.Popen[str]:
        """Start `perdure` with those tokens and go on."""
        return self.start_program("-m", "perdure.runtime.cli", *tokens, **more)

    def start_program(self, *tokens: str, **more: object) -> subprocess.Popen[str]:
        """Start Python with those tokens and go on."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PERDURE_")}
        command = [sys.executable, *tokens]
        given = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | more
        process = subprocess.Popen(command, cwd=self.folder, env=environment, text=True, **given)
        self._open.append(process)
        return process

    def run(self, *tokens: str, expect: int = 0) -> str:
        """Run `perdure` to its end, check its exit code, give back its stdout."""
        process = self.start(*tokens)
        out, err = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == expect, f"{tokens}: {process.returncode}\n{out}\n{err}"
        assert "Traceback" not in err
        return out

    def relay(self, *tokens: str, word: str = "go") -> tuple[str, ...]:
        """The tokens that run the workflow."""
        return ("run", "relay.yaml", "-i", f"word={word}", "--agents", "agents.py:agents", *tokens)

    def wait_until(self, claim: Callable[[], object]) -> None:
        """Look again and again until the claim holds."""
        deadline = time.monotonic() + PATIENCE_S
        while not claim():
            assert time.monotonic() < deadline, "it did not happen"
            time.sleep(0.02)

    def close(self) -> None:
        """Leave no process behind."""
        for process in self._open:
            if process.poll() is None:
                process.kill()
            process.communicate()


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_is_heard() -> None:
    """A shell that puts us into the background has Ctrl-C ignored, and whatever we start inherits that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    """A terminal in a folder of its own."""
    opened = Terminal(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """Room for workers over one file."""
    made = Fleet(tmp_path)
    yield made
    made.close()
