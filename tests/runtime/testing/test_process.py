"""A runtime that is killed in a virtual loop leaves behind what a killed process leaves behind."""

from __future__ import annotations

import asyncio
from pathlib import Path

import anyio
import pytest

from perdure.actors.kernel.processes import ProcessDied
from perdure.runtime import NotFound, Runtime, Status, StepContext, Workflow
from perdure.runtime.testing import RuntimeProcess, check_store, run_virtual


def hour(log: list[str]) -> Workflow:
    """One step that takes an hour, and says when it begins, ends and is cleaned up."""
    workflow = Workflow("hour")

    @workflow.step
    async def wait(context: StepContext) -> str:
        log.append(f"begin {context.attempt}")
        try:
            await anyio.sleep(3_600)
        finally:
            log.append("clean up")
        return "done"

    return workflow


def test_the_next_process_goes_on_with_what_a_killed_one_left(tmp_path: Path) -> None:
    """At once, under the same attempt, and the killed one has cleaned nothing up."""
    log: list[str] = []
    location = tmp_path / "life.db"

    async def main() -> None:
        first = RuntimeProcess(location, name="first", seed=1, workflows=[hour(log)])
        await first.open()
        await first.run(lambda runtime: runtime.start("hour", {}, id="e"))
        await anyio.sleep(60)
        first.kill()
        assert log == ["begin 1"]
        second = RuntimeProcess(location, name="second", seed=2, workflows=[hour(log)])
        await second.open()

        async def end(runtime: Runtime) -> Status:
            execution = await runtime.execution("e")
            return (await execution.result()).status

        assert await second.run(end) is Status.COMPLETED
        assert anyio.current_time() == pytest.approx(3_660, abs=5)
        assert log == ["begin 1", "begin 1", "clean up"]
        assert await second.run(lambda runtime: check_store(runtime.store)) == []
        await second.close()

    run_virtual(main)


def test_a_killed_process_lets_its_lock_go_and_its_neighbour_takes_over(tmp_path: Path) -> None:
    """Two processes share a loop and a file; the other one finds out by the line that breaks off."""
    log: list[str] = []
    location = tmp_path / "life.db"

    async def main() -> None:
        first = RuntimeProcess(location, name="first", seed=1, workflows=[hour(log)])
        second = RuntimeProcess(location, name="second", seed=2, workflows=[hour(log)])
        await first.open()
        await second.open()
        await first.run(lambda runtime: runtime.start("hour", {}, id="e"))
        await anyio.sleep(60)
        first.kill()
        await anyio.sleep(1)
        assert log == ["begin 1", "begin 1"]
        await second.close()

    run_virtual(main)


def test_whoever_waits_for_a_killed_process_is_told(tmp_path: Path) -> None:
    """And so is whoever asks it for something afterwards."""

    async def main() -> None:
        process = RuntimeProcess(tmp_path / "life.db", workflows=[hour([])])
        await process.open()
        execution = await process.run(lambda runtime: runtime.start("hour", {}, id="e"))
        waiting = asyncio.ensure_future(process.run(lambda _: execution.result()))
        await anyio.sleep(60)
        process.kill()
        with pytest.raises(ProcessDied):
            await waiting
        with pytest.raises(ProcessDied):
            await process.close()

    run_virtual(main)


def test_a_runtime_that_cannot_be_opened_says_why(tmp_path: Path) -> None:
    """The error of the opening is the answer."""

    async def main() -> None:
        with pytest.raises(Exception, match="there is no folder"):
            await RuntimeProcess(tmp_path / "nowhere" / "life.db").open()
        process = RuntimeProcess(tmp_path / "life.db")
        await process.open()
        with pytest.raises(NotFound):
            await process.run(lambda runtime: runtime.execution("nobody"))
        await process.close()

    run_virtual(main)
