"""A file that is replaced under a runtime: nothing is written to it, and the work waits for the right one."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from perdure.runtime import Workflow
from perdure.runtime.testing import VirtualRuntime, run_virtual
from perdure.store.errors import StoreReplaced


def order() -> Workflow:
    """A step that takes a minute, and one after it."""
    workflow = Workflow("order")

    @workflow.step
    async def pack() -> str:
        await anyio.sleep(60)
        return "packed"

    @workflow.step(after="pack")
    async def ship() -> str:
        return "shipped"

    return workflow


def move(source: Path, target: Path) -> None:
    """Give a file another name, past every process that has it open."""
    source.replace(target)


def test_the_work_waits_until_the_right_file_is_back(tmp_path: Path):
    """People are told at once; a step that ended meanwhile is recorded then, once."""
    mine, other, away = (tmp_path / name for name in ("mine.db", "other.db", "away.db"))

    async def main() -> None:
        async with VirtualRuntime(str(other)):
            pass
        async with VirtualRuntime(str(mine), workflows=[order()]) as runtime:
            execution = await runtime.start("order")
            await anyio.sleep(1)
            move(mine, away)
            move(other, mine)
            with pytest.raises(StoreReplaced, match="is not what this process has opened"):
                await runtime.start("order", id="second")
            await anyio.sleep(120)
            move(mine, other)
            move(away, mine)
            result = await execution.result()
            assert result.outputs == {"pack": "packed", "ship": "shipped"}
            assert [one.id for one in await runtime.list()] == [execution.id]
            assert await runtime.store.verify() == []

    run_virtual(main)
