"""When a worker that may leave does so."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from perdure.runtime import Workflow
from perdure.runtime.cli.options import Performing
from perdure.runtime.cli.session import open_session
from perdure.runtime.cli.worker import SOON_S, _stop_when_idle, start_worker
from perdure.runtime.testing import VirtualRuntime, run_virtual

LONG_S = 100_000.0


def nap(seconds: float) -> Workflow:
    """Sleep, then say so."""
    workflow = Workflow("nap")
    workflow.sleep_step("nap", seconds)

    @workflow.step(after="nap")
    async def wake() -> str:
        return "awake"

    return workflow


async def stay(runtime: VirtualRuntime) -> float:
    """How long a worker on it stays that may leave after ten seconds."""
    begun = anyio.current_time()
    with anyio.move_on_after(LONG_S) as scope:
        await _stop_when_idle(scope, runtime, 10)
    return anyio.current_time() - begun


def test_a_worker_that_is_left_with_what_it_cannot_perform_leaves(tmp_path: Path):
    """What waits for code keeps nobody: neither what could go on, nor what falls due soon."""
    database = tmp_path / "work.db"
    for_others = Workflow("for-others")

    @for_others.step
    async def ship() -> None:
        await anyio.sleep(50)

    async def main() -> None:
        async with VirtualRuntime(database) as runtime:
            await runtime.start(for_others)
            await runtime.start(nap(5))
        async with VirtualRuntime(database, seed=1) as runtime:
            assert await stay(runtime) <= 20

    run_virtual(main)


def test_a_worker_stays_for_what_runs_and_for_what_wakes_soon():
    """Nobody else may be there to wake it."""

    async def main() -> None:
        async with VirtualRuntime() as runtime:
            execution = await runtime.start(nap(SOON_S / 2))
            assert await stay(runtime) > SOON_S / 2
            assert (await execution.result()).outputs["wake"] == "awake"

    run_virtual(main)


def test_a_worker_leaves_what_only_waits_for_long():
    """Days, or a signal that may never come."""
    workflow = Workflow("approval")
    workflow.signal_step("approved", signal="approved")

    async def main() -> None:
        async with VirtualRuntime() as runtime:
            await runtime.start(workflow)
            await runtime.start(nap(24 * SOON_S))
            assert await stay(runtime) <= 20

    run_virtual(main)


@pytest.mark.parametrize("db", ["postgresql://ada:sesame@there/orders", "orders.db"])
def test_a_worker_in_the_background_is_told_its_database_where_nobody_else_looks(
    db: str, monkeypatch: pytest.MonkeyPatch
):
    """Everybody on the machine may read the arguments of a process, and an address has a password in it."""
    started: list[dict[str, Any]] = []

    def popen(command: list[str], **how: Any) -> SimpleNamespace:
        started.append({"command": command, **how})
        return SimpleNamespace(pid=7)

    monkeypatch.setattr(subprocess, "Popen", popen)
    monkeypatch.setenv("PERDURE_DB", db)
    assert start_worker(open_session(Performing())) == 7
    [worker] = started
    assert not any(db in word for word in worker["command"])
    assert worker["env"]["PERDURE_DB"] == (db if "://" in db else str(Path(db).resolve()))
