"""What once went wrong in other engines, played through where no other test of ours does so already.

Which scar is proved by which test is in `tests/scars.toml`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest

from perdure.runtime import NotFound, Runtime, Status, StepContext, Workflow
from perdure.runtime.cli import run_command
from perdure.runtime.testing import (
    RuntimeProcess,
    TestRuntime,
    check_store,
    run_virtual,
    stub,
    virtual_seams,
    virtual_time,
)
from perdure.store import SQLiteStore
from perdure.store.errors import InvalidId, StoreUnavailable
from perdure.store.protocol import Answer
from perdure.store.writes import Write

LEFT_BEHIND = 250
SWEEP_S = 15.0
HOLDERS = 300  # at scale 1

HOUR = 3_600
CONTROLS_AND_BLANKS = ["", " ", "\t", "\n", "\x00", "\x07", "\x1b[2J", "\u200b", ".", "..", "../x"]

WILLING = """
from perdure.runtime import Agents

agents = Agents()


@agents.agent("nobody")
async def nobody() -> None:
    return None
"""

RETRIED = """
name: retried
steps:
  - key: call
    agent: bank
    retryPolicy: {maxRetries: 1, retryDelayMs: 7200000, retryMaxDelayMs: 7200000, jitter: false}
"""


def two_steps(seen: list[str], *, name: str = "two") -> Workflow:
    """A short step and one that takes ten seconds; `seen` tells which were at work."""
    workflow = Workflow(name)

    @workflow.step
    async def first(context: StepContext, item: str = "") -> str:
        seen.append(f"{context.execution_id} first")
        await anyio.sleep(1)
        return item

    @workflow.step
    async def second(context: StepContext, first: str) -> str:
        seen.append(f"{context.execution_id} second")
        await anyio.sleep(10)
        return f"{first}!"

    return workflow


class Restarting(SQLiteStore):
    """A store whose database goes away after so many calls, and comes back when it is told to."""

    def __init__(self, path: Path, *, calls: int) -> None:
        """Inline, on that file."""
        super().__init__(str(path), inline=True)
        self.calls_left = calls
        self.is_back = False

    def _call(self) -> None:
        self.calls_left -= 1
        if self.calls_left < 0 and not self.is_back:
            raise StoreUnavailable("the database is restarting")

    async def commit(self, writes: Sequence[Write]) -> list[Answer]:
        """As the store, while it is there."""
        self._call()
        return await super().commit(writes)

    async def _read(self, reader: Any, function: Callable[[Any], Any]) -> Any:
        self._call()
        return await super()._read(reader, function)


@pytest.mark.parametrize("calls", [3, 10, 30, 100, 300])
def test_when_the_database_is_back_all_that_a_dead_runner_left_moves_again(tmp_path: Path, calls: int):
    """The survivor is cut off in the midst of walking through it; none is dropped on the way (scar-00)."""
    path = tmp_path / "store.db"

    async def main() -> None:
        seen: list[str] = []
        dead = RuntimeProcess(path, seed=1, workflows=[two_steps(seen)])
        await dead.open()
        for no in range(LEFT_BEHIND):
            await dead.run(lambda runtime, no=no: runtime.start("two", id=f"e{no}"))
        await anyio.sleep(2)
        dead.kill()
        store = Restarting(path, calls=1_000_000)
        async with Runtime(store=store, seams=virtual_seams(2), workflows=[two_steps(seen)]) as survivor:
            store.calls_left = calls
            await anyio.sleep(5 * 60)
            store.is_back = True
            await anyio.sleep(2 * SWEEP_S)
            ended = [
                each for each in await survivor.list(limit=LEFT_BEHIND) if each.status is Status.COMPLETED
            ]
            assert len(ended) == LEFT_BEHIND
            assert store.calls_left < 0, "the database never went away"
        await store.open()
        assert await check_store(store) == []
        await store.close()

    run_virtual(main)


@pytest.mark.parametrize(
    "crash", ["after:first:after-commit", "before:second:before-commit", "before:second", "after:second"]
)
@virtual_time
async def test_a_queue_one_wide_drains_after_a_crash_between_two_steps(crash: str):
    """Whoever had the only place and was recovered gives it on (scar-06)."""
    seen: list[str] = []
    async with TestRuntime(two_steps(seen), max_active=1, max_active_steps=1, crash=crash) as test:
        queue = [await test.start("two", {"item": str(no)}) for no in range(5)]
        for no, execution in enumerate(queue):
            with anyio.fail_after(10 * SWEEP_S):
                await test.assert_completed(execution, {"second": f"{no}!"})


@virtual_time
async def test_a_second_start_harms_nothing_of_the_first_across_a_crash():
    """It is answered with the first, whatever it brings (scar-08)."""
    seen: list[str] = []
    async with TestRuntime(two_steps(seen)) as test:
        execution = await test.start("two", {"item": "first"}, id="same")
        await test.advance(2)
        before = await execution.status()
        await test.start("two", {"item": "second"}, id="same", priority=9)
        assert await execution.status() == before
        await test.crash()
        await test.start("two", {"item": "third"}, id="same")
        await test.assert_completed(execution, {"first": "first", "second": "first!"})
        assert len(await test.runtime.list()) == 1
    assert seen == ["same first", "same second", "same second"]


@pytest.mark.parametrize(("downtime", "called_at"), [(60, 2 * HOUR), (5 * HOUR, 5 * HOUR + 600)])
@virtual_time
async def test_what_slept_through_a_crash_wakes_on_time_or_at_once(downtime: float, called_at: float):
    """The process dies ten minutes into a sleep of two hours (scar-10)."""
    times: list[float] = []

    def outcome(_: int) -> Any:
        times.append(anyio.current_time())
        return OSError("down") if len(times) == 1 else "paid"

    bank = stub("bank").coming_to(outcome)
    async with TestRuntime(Workflow.parse(RETRIED), stubs=[bank], downtime=downtime) as test:
        execution = await test.start("retried")
        await test.advance(600)
        await test.crash()
        with anyio.fail_after(24 * HOUR):
            await test.assert_completed(execution, {"call": "paid"})
    assert times == [pytest.approx(0, abs=1), pytest.approx(called_at, abs=2)]


@pytest.mark.integration
@virtual_time
async def test_a_place_is_free_again_after_each_of_hundreds_of_kills(scale: float):
    """Whoever holds the only place is killed; the next one gets it, every time (scar-13)."""
    at_work = anyio.Event()
    workflow = Workflow("holder")

    @workflow.step
    async def hold() -> None:
        at_work.set()
        await anyio.sleep(30)

    async with TestRuntime(workflow, max_active=1, max_active_steps=1) as test:
        for no in range(max(10, int(HOLDERS * scale))):
            execution = await test.start("holder", id=f"e{no}")
            with anyio.fail_after(10 * SWEEP_S):
                await at_work.wait()
            await test.crash()
            with anyio.fail_after(10 * SWEEP_S):
                await test.assert_completed(execution)
            at_work = anyio.Event()
        assert len(test.crashes) == max(10, int(HOLDERS * scale))


@virtual_time
async def test_a_pause_takes_no_timer_away_from_what_sleeps():
    """Paused and resumed while it waits for a retry, it is given up and woken in time all the same."""
    times: list[float] = []

    def outcome(_: int) -> Any:
        times.append(anyio.current_time())
        return OSError("down") if len(times) == 1 else "paid"

    bank = stub("bank").coming_to(outcome)
    async with TestRuntime(Workflow.parse(RETRIED), stubs=[bank]) as test:
        execution = await test.start("retried")
        await test.advance(600)
        assert await execution.pause() == "paused"
        await test.advance(600)
        await execution.resume()
        with anyio.fail_after(24 * HOUR):
            await test.assert_completed(execution, {"call": "paid"})
    assert times == [pytest.approx(0, abs=1), pytest.approx(2 * HOUR, abs=2)]


@pytest.mark.parametrize("id_", CONTROLS_AND_BLANKS)
def test_an_id_that_names_nothing_is_refused_at_every_door(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], id_: str
):
    """By the runtime and by the command line, and nothing is begun (scar-02, scar-38)."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w.yaml").write_text("name: w\nsteps:\n  - {key: a, agent: nobody}\n")
    (tmp_path / "willing.py").write_text(WILLING)

    async def main() -> None:
        store = SQLiteStore(str(tmp_path / "perdure.db"), inline=True)
        async with Runtime(store=store, seams=virtual_seams(1), workflows=[two_steps([])]) as runtime:
            with pytest.raises(InvalidId):
                await runtime.start("two", id=id_)
            with pytest.raises(NotFound):
                await runtime.execution(id_)
            assert await runtime.list() == []

    run_virtual(main)
    run = ["run", "w.yaml", "--agents", "willing.py:agents", "--id"]
    sought = (3, "no execution") if id_.strip() else (2, "ID is empty")
    for command, code, words in ([*run, id_], 2, "cannot be the id"), (["status", id_], *sought):
        assert run_command(command) == code
        assert words in capsys.readouterr().err
    assert run_command([*run, "good"]) == 0
