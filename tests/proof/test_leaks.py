"""What is left of a round is told: files, tasks, runtimes, memory."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from leaks import MEMORY_MB_MAX, Base

from perdure.runtime import Runtime


def test_nothing_is_told_where_nothing_is_left(tmp_path: Path) -> None:
    """What a round has opened and closed, started and ended."""
    base = Base()
    with (tmp_path / "file").open("w"):
        asyncio.run(asyncio.sleep(0))
    assert base.left() == []


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="the system does not tell what is open")
def test_a_file_that_is_left_open_is_told_by_name(tmp_path: Path) -> None:
    """And as long as it is open."""
    base = Base()
    with (tmp_path / "left").open("w"):
        [told] = base.left()
        assert told.endswith("/left) is left open")
    assert base.left() == []


async def test_tasks_and_runtimes_that_are_left_are_told() -> None:
    """However they are held."""
    base = Base()
    held = Runtime(":memory:")
    task = asyncio.ensure_future(asyncio.Event().wait())
    told = base.left()
    assert [each.split(" are left")[0].split(" of ")[1] for each in told] == ["tasks", "runtimes"], told
    task.cancel()
    del held


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the system does not tell the memory")
def test_memory_that_grows_after_a_while_is_told() -> None:
    """Not what the first rounds load."""
    base = Base()
    held = [b"x" * int(MEMORY_MB_MAX * 2**20)]
    assert base.left() == []
    for _ in range(5):
        base.left()
    held.append(b"x" * int((MEMORY_MB_MAX + 20) * 2**20))
    [told] = base.left()
    assert told.startswith("memory has grown")
