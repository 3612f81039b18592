"""A store whose commits take a while: what happens in that while is heard, and is no crash."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest

from perdure.runtime import Runtime, State, Status, StepContext, Workflow
from perdure.runtime.testing import RuntimeProcess, VirtualRuntime, check_store, run_virtual
from perdure.store import SQLiteStore
from perdure.store.errors import StoreUnavailable
from perdure.store.protocol import Answer
from perdure.store.records import Runner
from perdure.store.writes import Write

AT_ONCE_S = 8.0  # a few commits of a second each; the sweep that is the safety net comes after fifteen

pytestmark = pytest.mark.integration


class SlowDisk(SQLiteStore):
    """A real store that answers `lag_s` after it has committed."""

    lag_s = 0.0

    async def commit(self, writes: Sequence[Write]) -> list[Answer]:
        """Durable at once, said later."""
        answers = await super().commit(writes)
        await anyio.sleep(self.lag_s)
        return answers


def play(path: Path, use: Callable[[Runtime, SlowDisk, list[str]], Awaitable[None]]) -> None:
    """Open a runtime on a slow disk, use it, and look for errors that nobody was told of."""
    errors: list[Any] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
        disk = SlowDisk(str(path), inline=True)
        done: list[str] = []
        async with VirtualRuntime(path, store=disk, workflows=[waits(done)]) as runtime:
            await use(runtime, disk, done)
            disk.lag_s = 0.0
            assert await check_store(disk) == []

    run_virtual(main)
    assert errors == []


def waits(done: list[str]) -> Workflow:
    """One step that takes a minute."""
    workflow = Workflow("waits")

    @workflow.step
    async def wait(context: StepContext) -> str:
        await anyio.sleep(60)
        done.append(context.step)
        return "done"

    return workflow


def test_an_execution_asked_for_before_its_start_is_answered_runs_once(tmp_path: Path) -> None:
    """Who knows the id may be faster than the answer to the start: the execution is taken up for them."""

    async def use(runtime: Runtime, disk: SlowDisk, done: list[str]) -> None:
        disk.lag_s = 1.0
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: runtime.start("waits", id="x"))
            await anyio.sleep(0.5)
            execution = await runtime.execution("x")
            await execution.signal("early")
        result = await execution.result()
        assert result.status is Status.COMPLETED
        assert done == ["wait"]

    play(tmp_path / "db", use)


def test_an_execution_that_a_start_joins_after_a_crash_goes_on_at_once(tmp_path: Path) -> None:
    """The first sweep finds it while the start is on its way, which may set it going: it does not."""

    async def main() -> None:
        path, done = tmp_path / "db", []
        first = RuntimeProcess(path, seed=1, workflows=[waits(done)])
        await first.open()
        await first.run(lambda runtime: runtime.start("waits", id="x"))
        first.kill()
        disk = SlowDisk(str(path), inline=True)
        disk.lag_s = 1.0
        async with VirtualRuntime(path, store=disk, seed=2, workflows=[waits(done)]) as runtime:
            begun = asyncio.get_running_loop().time()
            execution = await runtime.start("waits", id="x")
            assert (await execution.result()).status is Status.COMPLETED
            assert asyncio.get_running_loop().time() - begun < 60 + AT_ONCE_S
        assert done == ["wait"]

    run_virtual(main)


def test_an_execution_at_rest_moves_to_another_version_though_somebody_looks_at_it(tmp_path: Path) -> None:
    """Who takes it up finds nothing to do and gives it up again, a commit each: the move waits for that."""

    async def broken() -> int:
        raise OSError("no")

    async def mended() -> int:
        return 2

    one, two = Workflow("moves", version="1"), Workflow("moves", version="2")
    one.step(key="first")(broken)
    two.step(key="first")(mended)

    async def main() -> None:
        disk = SlowDisk(str(tmp_path / "db"), inline=True)
        async with VirtualRuntime(tmp_path / "db", store=disk, workflows=[one]) as runtime:
            await runtime.publish(two)
            execution = await runtime.start(one, {}, id="x")
            assert (await execution.result(check=False)).status is Status.FAILED
            disk.lag_s = 1.0
            runtime.machine.executions.take_up("x")
            await anyio.sleep(0.5)  # it is being claimed
            await execution.migrate("2")
            await execution.retry()
            assert (await execution.result()).outputs == {"first": 2}

    run_virtual(main)


def test_what_is_asked_while_an_execution_is_given_up_is_no_crash(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An actor that finds nothing to do gives the execution up; what comes meanwhile starts it again."""
    caplog.set_level(logging.ERROR, logger="perdure")

    async def use(runtime: Runtime, disk: SlowDisk, done: list[str]) -> None:
        execution = await runtime.start("waits", id="x")
        assert await execution.pause(mode="interrupt") is State.PAUSED
        await anyio.sleep(1)
        disk.lag_s = 1.0
        runtime.machine.executions.take_up("x")
        await anyio.sleep(1.5)  # it was claimed, and is being given up
        await execution.signal("late")
        assert await execution.resume() is not State.PAUSED
        assert (await execution.result()).status is Status.COMPLETED

    play(tmp_path / "db", use)
    assert caplog.messages == []


class UnlistedDisk(SlowDisk):
    """A real store from which, for a while, the list of runners cannot be read."""

    is_unlisted = False

    async def runners(self) -> list[Runner]:
        """As the store, or not at all."""
        if self.is_unlisted:
            raise StoreUnavailable("the list cannot be read")
        return await super().runners()


def test_work_that_is_left_to_others_who_cannot_be_rung_ends_no_runtime(tmp_path: Path) -> None:
    """They find it when they next look; whoever left it goes on."""
    path = tmp_path / "db"

    async def main() -> None:
        async with VirtualRuntime(path, seed=1, workflows=[waits([])]) as worker:
            execution = await worker.start("waits", id="x")
            await execution.pause(mode="interrupt")
            disk = UnlistedDisk(str(path), inline=True)
            async with VirtualRuntime(path, seed=2, kind="client", store=disk) as client:
                elsewhere = await client.execution("x")
                disk.is_unlisted = True
                await elsewhere.resume()
                await anyio.sleep(1)
                disk.is_unlisted = False
                assert (await elsewhere.result()).status is Status.COMPLETED

    run_virtual(main)
