"""The page about the kernel: its example runs and prints what the page says."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from perdure.actors import kernel
from perdure.actors.kernel import Backoff, Crash, Restart, decide
from perdure.actors.kernel.testing import run_virtual

PAGE = Path(__file__).parents[3] / "docs" / "kernel.md"


def blocks(language: str) -> list[str]:
    """The fenced blocks of that language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)


def test_the_example_prints_what_the_page_says(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Executed as it stands, but that the waits before its restarts are virtual."""
    monkeypatch.setattr(asyncio, "run", lambda main: run_virtual(lambda: main))
    exec(compile(blocks("python")[0], str(PAGE), "exec", dont_inherit=True), {"__name__": "__main__"})
    assert capsys.readouterr().out == blocks("text")[0]


def test_every_block_of_the_page_is_python() -> None:
    """Also those that are excerpts."""
    for block in blocks("python"):
        compile(block, str(PAGE), "exec")


def test_the_table_of_decisions_is_the_one_in_force() -> None:
    """Row by row."""
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    kinds = [None, Crash.TRANSIENT, Crash.OUTAGE, Crash.DETERMINISTIC, Crash.LOST]
    assert [Restart[name] for name, _ in rows] == list(Restart)
    for name, cells in rows:
        actions = [
            decide(Restart[name], kind, crashes=1, intensity=1, backoff=Backoff(), random01=0).action
            for kind in kinds
        ]
        assert cells.split(" | ") == actions


def test_everything_the_kernel_promises_can_be_imported() -> None:
    """And its list of names is in order."""
    assert all(hasattr(kernel, name) for name in kernel.__all__)
    assert len(set(kernel.__all__)) == len(kernel.__all__)
