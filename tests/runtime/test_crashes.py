"""What the next process makes of a store that was left in the middle of something."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from perdure.actors.kernel import faults
from perdure.actors.kernel.processes import CURRENT
from perdure.runtime import Agents, Conflict, Execution, IllegalTransition, Runtime, State, Status, Workflow
from perdure.runtime.testing import RuntimeProcess, VirtualRuntime, check_store, run_virtual

Deed = Callable[[Execution], Awaitable[None]]


def hour(*, takes_s: float = 3_600, grace_s: float = 0) -> Workflow:
    """One step that takes an hour or so, and after a cancellation as long as that."""
    workflow = Workflow("hour")

    @workflow.step
    async def wait() -> str:
        try:
            await anyio.sleep(takes_s)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(grace_s)
        return "done"

    return workflow


def crashed(begin: Deed, folder: Path, scenario: Callable[[Runtime, Execution], Awaitable[None]]) -> None:
    """Kill a process a second after somebody in it began to do something to an execution in flight.

    The scenario plays in the next process, which leaves everything to the first command.
    """

    async def main() -> None:
        first = RuntimeProcess(folder / "life.db", seed=1)
        await first.open()
        execution = await first.run(lambda runtime: runtime.start(hour(grace_s=2), {}, id="e"))
        first.process.spawn(lambda: begin(execution))
        await anyio.sleep(1)
        first.kill()
        async with VirtualRuntime(folder / "life.db", seed=2, recover=False, workflows=[hour()]) as runtime:
            await scenario(runtime, await runtime.execution("e"))
            assert await check_store(runtime.store) == []

    run_virtual(main)


async def nothing(execution: Execution) -> None:
    """Leave it in flight."""


async def pause(execution: Execution) -> None:
    """Let it drain, which takes an hour."""
    await execution.pause(command_id="pause")


async def cancel(execution: Execution) -> None:
    """Stop it, which takes two seconds."""
    await execution.cancel()


def test_a_resume_calls_a_pause_off_that_a_crash_cut(tmp_path: Path) -> None:
    """The wish to rest is older than the wish to go on, although nobody lived to fulfil it."""

    async def scenario(_: Runtime, execution: Execution) -> None:
        assert await execution.resume() is State.EXECUTING
        assert (await execution.result()).status is Status.COMPLETED

    crashed(pause, tmp_path, scenario)


def test_a_pause_given_again_after_a_crash_is_answered_at_rest(tmp_path: Path) -> None:
    """Not with `pausing`: the caller may rely on nothing being in flight."""

    async def scenario(_: Runtime, execution: Execution) -> None:
        assert await execution.pause(command_id="pause") is State.PAUSED
        assert (await execution.status()).state is State.PAUSED

    crashed(pause, tmp_path, scenario)


def test_a_resume_adopts_what_a_crash_left_in_flight(tmp_path: Path) -> None:
    """Somebody has to take it up, and that is what was asked for."""

    async def scenario(_: Runtime, execution: Execution) -> None:
        assert await execution.resume() is State.EXECUTING
        assert (await execution.result()).status is Status.COMPLETED

    crashed(nothing, tmp_path, scenario)


def test_a_resume_after_a_crash_heeds_the_expected_version(tmp_path: Path) -> None:
    """Adopting is a command like any other."""

    async def scenario(_: Runtime, execution: Execution) -> None:
        with pytest.raises(Conflict):
            await execution.resume(expected_version=17)

    crashed(nothing, tmp_path, scenario)


def test_a_pause_and_a_resume_right_after_a_crash_leave_it_going_on(tmp_path: Path) -> None:
    """Both arrive before it is taken up; the resume calls off the pause and nothing else."""

    async def scenario(_: Runtime, execution: Execution) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(pause, execution)
            await anyio.lowlevel.checkpoint()
            group.start_soon(execution.resume)
        assert (await execution.result()).status is Status.COMPLETED

    crashed(nothing, tmp_path, scenario)


def test_what_was_being_cancelled_cannot_be_resumed_after_a_crash(tmp_path: Path) -> None:
    """The intent was durable: it ends cancelled."""

    async def scenario(_: Runtime, execution: Execution) -> None:
        with pytest.raises(IllegalTransition):
            await execution.resume()
        assert (await execution.result(check=False)).status is Status.CANCELLED

    crashed(cancel, tmp_path, scenario)


DEATHS_TRIED = 12  # fault points after the signal was sent; it is applied within the first half of them


@pytest.mark.parametrize("nth", range(DEATHS_TRIED))
def test_a_signal_from_elsewhere_is_in_the_log_once_wherever_its_owner_dies(tmp_path: Path, nth: int) -> None:
    """Applied and not there would be lost for good: nobody sends it again, and nothing shows that it was."""
    path = tmp_path / "shared.db"

    async def main() -> None:
        owner = RuntimeProcess(path, seed=1, workflows=[hour(takes_s=60)])
        await owner.open()
        await owner.run(lambda runtime: runtime.start("hour", {}, id="e"))
        passed = itertools.count()

        def hit(_: str) -> None:
            if CURRENT.get() is owner.process and next(passed) == nth:
                owner.kill()

        async with VirtualRuntime(path, seed=2, kind="client", workflows=[hour(takes_s=60)]) as client:
            execution = await client.execution("e")
            with faults.installed(hit):
                async with anyio.create_task_group() as group:
                    group.start_soon(partial(execution.signal, "go", command_id="s"))
                    await anyio.sleep(30)
                    heir = RuntimeProcess(path, seed=3, workflows=[hour(takes_s=60)])
                    await heir.open()
            assert (await execution.result()).status is Status.COMPLETED
            events = [event async for event in execution.events()]
            assert [event.type for event in events if event.command_id == "s"] == ["signal_received"]
            assert await check_store(client.store) == []
            await heir.close()
            assert not owner.is_alive, "it passed fewer points than that"

    run_virtual(main)


def test_a_body_is_not_taken_for_ended_because_one_before_a_crash_was(tmp_path: Path) -> None:
    """An actor that crashes when its interrupted body has been recorded leaves that report behind."""
    running: list[int] = [0]

    async def main() -> None:
        workflow = Workflow("minute")

        @workflow.step
        async def wait() -> int:
            running[0] += 1
            most = running[0]
            try:
                await anyio.sleep(60)
            finally:
                running[0] -= 1
            return most

        acks = itertools.count(1)

        def crash(point: str) -> None:
            if point == "mailbox.ack:before" and next(acks) == 2:  # the pause itself is the first
                raise RuntimeError(point)

        async with VirtualRuntime(tmp_path / "life.db", seed=1) as runtime:
            execution = await runtime.start(workflow, {}, id="e")
            await anyio.sleep(1)
            with faults.installed(crash):
                assert await execution.pause(mode="interrupt") is State.PAUSED
                assert await execution.resume() is State.EXECUTING
                result = await execution.result()
            assert result.outputs == {"wait": 1}
            assert next(acks) > 3, "the crash did not happen"
            types = [event.type async for event in execution.events()]
            assert types.count("step_interrupted") == 1

    run_virtual(main)


def test_a_step_gives_its_slot_back_when_its_actor_crashes(tmp_path: Path) -> None:
    """Another has waited for it longer by then, and goes first."""
    agents = Agents()

    @agents.agent("service", max_concurrency=1)
    async def call() -> None:
        await anyio.sleep(60)

    workflow = Workflow("calls")
    workflow.agent_step("one", agent="service")
    workflow.agent_step("other", agent="service")
    points: list[str] = []

    def crash(point: str) -> None:
        points.append(point)
        if point == "mailbox.ack:before" and points.count(point) == 1:
            raise RuntimeError(point)

    async def main() -> None:
        async with VirtualRuntime(tmp_path / "life.db", seed=1, agents=agents) as runtime:
            execution = await runtime.start(workflow, {}, id="e")
            await anyio.sleep(10)
            with faults.installed(crash):
                await execution.signal("hello")
                await anyio.sleep(1)
            assert "mailbox.ack:before" in points, "the crash did not happen"
            with anyio.fail_after(600):
                await execution.result()
            assert [guard.slots_taken for guard in await runtime.store.guards()] == [0]
            assert await check_store(runtime.store) == []

    run_virtual(main)
