"""A program that performs nothing and a worker share a store: what one asks, the other does at once.

Both runtimes live on one virtual loop; their doorbells are real sockets, which time does not wait for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from perdure.actors.dispatch.elsewhere import Elsewhere
from perdure.actors.effects.turn import Turn
from perdure.actors.execution.actor import ExecutionActor
from perdure.actors.kernel import faults
from perdure.runtime import IllegalTransition, Runtime, RuntimeClosed, State, Status, Workflow
from perdure.runtime.testing import RuntimeProcess, VirtualRuntime, check_store, run_virtual
from perdure.store.errors import StoreError

Scenario = Callable[[Runtime, Runtime], Awaitable[None]]
AT_ONCE_S = 3.0  # the client looks once a second; the sweep that is the safety net comes after fifteen


def second() -> Workflow:
    """Two steps of half a second each."""
    workflow = Workflow("second")

    @workflow.step
    async def first() -> int:
        await anyio.sleep(0.5)
        return 1

    @workflow.step
    async def last(first: int) -> int:
        await anyio.sleep(0.5)
        return first + 1

    return workflow


def side_by_side(folder: Path, scenario: Scenario) -> None:
    """Run a scenario with a client and a worker."""

    async def main() -> None:
        path = folder / "shared.db"
        worker = VirtualRuntime(path, seed=1, kind="worker", workflows=[second()])
        async with worker, VirtualRuntime(path, seed=2, kind="client") as client:
            await scenario(client, worker)

    run_virtual(main)


def test_what_a_client_resumes_goes_on_at_once(tmp_path: Path) -> None:
    """At rest it belongs to nobody: the client takes it up, cannot perform it, and says so to the worker."""

    async def scenario(client: Runtime, worker: Runtime) -> None:
        await worker.start("second", {}, id="e")
        execution = await client.execution("e")
        assert await execution.pause() is State.PAUSED
        await execution.resume()
        begun = asyncio.get_running_loop().time()
        assert (await execution.result()).status is Status.COMPLETED
        assert asyncio.get_running_loop().time() - begun < 0.5 + AT_ONCE_S

    side_by_side(tmp_path, scenario)


def test_who_waits_for_another_process_is_told_when_the_own_one_closes(tmp_path: Path) -> None:
    """The pause drains for an hour; it goes on without who asked for it."""
    hour = Workflow("hour")

    @hour.step
    async def wait() -> None:
        await anyio.sleep(3_600)

    @hour.step
    async def then(wait: None) -> None: ...

    async def main() -> None:
        path = tmp_path / "shared.db"
        async with VirtualRuntime(path, seed=1, kind="worker", workflows=[hour]) as worker:
            execution = await worker.start("hour", {}, id="e")
            async with VirtualRuntime(path, seed=2, kind="client") as client:
                seen = await client.execution("e")
                asked = asyncio.create_task(seen.pause(command_id="p"))
                await anyio.sleep(10)
                assert not asked.done()
            with pytest.raises(RuntimeClosed, match="under its id p"):
                await asked
            await anyio.sleep(3_600)
            assert (await execution.status()).state is State.PAUSED

    run_virtual(main)


def test_who_takes_over_what_was_asked_and_keeps_crashing_on_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is left to answer; to begin it anew with each look would be all that goes on."""

    async def crash(actor: ExecutionActor, turn: Turn, **options: Any) -> None:
        raise ValueError("a fault of ours")

    async def main() -> None:
        path = tmp_path / "shared.db"
        worker = RuntimeProcess(path, seed=1, kind="worker", workflows=[second()])
        await worker.open()
        await worker.run(lambda runtime: runtime.start("second", {}, id="e"))
        async with VirtualRuntime(path, seed=2, kind="client") as client:
            asked = asyncio.create_task((await client.execution("e")).pause())
            await anyio.sleep(0.2)
            worker.kill()
            monkeypatch.setattr(ExecutionActor, "_commit", crash)
            with anyio.fail_after(120), pytest.raises(StoreError, match="keeps crashing its actor"):
                await asked

    run_virtual(main)


def test_who_was_answered_just_before_a_crash_is_not_answered_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The change that ended the execution holds the answer; another one would move what has ended."""
    worked = second()

    async def main() -> None:
        path = tmp_path / "shared.db"
        worker = VirtualRuntime(path, seed=1, kind="worker", workflows=[worked])
        async with worker, VirtualRuntime(path, seed=2, kind="client") as client:
            await worker.start("second", {}, id="e")
            await anyio.sleep(0.75)
            crashes: list[str] = []

            def crash(point: str) -> None:
                state = worker.machine.executions.live_state("e")
                ended = state is not None and state.state is State.ROLLED_BACK
                if point == "publish:before" and ended and not crashes:
                    crashes.append(point)
                    raise RuntimeError(point)

            with faults.installed(crash):
                assert await (await client.execution("e")).rollback() is State.ROLLED_BACK
                await anyio.sleep(60)
            assert crashes
            assert await check_store(worker.store) == []
            assert not worker.machine.executions.is_hot("e")
            record = await worker.store.execution("e")
            assert record is not None
            events = [event async for event in (await worker.execution("e")).events()]
            assert record.version == max(event.version for event in events)

    run_virtual(main)
    assert caplog.text.count("actor_crashed") == 1


def test_what_a_client_starts_begins_at_once(tmp_path: Path) -> None:
    """It leaves the execution to whoever can perform it, and rings."""

    async def scenario(client: Runtime, _: Runtime) -> None:
        begun = asyncio.get_running_loop().time()
        execution = await client.start("second", {}, detach=True)
        assert (await execution.result()).status is Status.COMPLETED
        assert asyncio.get_running_loop().time() - begun < 1 + AT_ONCE_S

    side_by_side(tmp_path, scenario)


def test_what_a_client_retries_runs_again_at_once(tmp_path: Path) -> None:
    """The same for what had ended."""

    async def scenario(client: Runtime, worker: Runtime) -> None:
        await worker.start("second", {}, id="e")
        execution = await client.execution("e")
        assert await execution.cancel() is State.CANCELLED
        await execution.retry()
        begun = asyncio.get_running_loop().time()
        assert (await execution.result()).status is Status.COMPLETED
        assert asyncio.get_running_loop().time() - begun < 1 + AT_ONCE_S

    side_by_side(tmp_path, scenario)


def test_a_refusal_from_elsewhere_is_told_at_once(tmp_path: Path) -> None:
    """No change of the execution rings for it."""

    async def scenario(client: Runtime, worker: Runtime) -> None:
        await worker.start("second", {}, id="e")
        execution = await client.execution("e")
        begun = asyncio.get_running_loop().time()
        with pytest.raises(IllegalTransition):
            await execution.resume()
        assert asyncio.get_running_loop().time() - begun < 0.5  # a poll takes a second

    side_by_side(tmp_path, scenario)


def test_who_has_come_to_own_what_it_asked_another_for_hears_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one has gone, and the execution is performed here, by the time the message is left for it."""
    ask = Elsewhere.ask
    hour = Workflow("hour")

    @hour.step
    async def wait() -> None:
        await anyio.sleep(3_600)

    async def main() -> None:
        path = tmp_path / "shared.db"
        worker = RuntimeProcess(path, seed=1, kind="worker", workflows=[hour])
        await worker.open()
        await worker.run(lambda runtime: runtime.start("hour", {}, id="e"))
        async with VirtualRuntime(path, seed=2, workflows=[hour], recover=False) as here:

            async def late(elsewhere: Elsewhere, *args: Any) -> Any:
                worker.kill()
                assert await here.machine.membership.living() == []
                here.machine.executions.take_up("e")
                await anyio.sleep(1)
                return await ask(elsewhere, *args)

            monkeypatch.setattr(Elsewhere, "ask", late)
            with anyio.fail_after(60):
                assert await (await here.execution("e")).pause(mode="interrupt") is State.PAUSED

    run_virtual(main)
