"""A store that is down for a while: who waits, who is told, and that nothing is lost or done twice."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import anyio
import pytest

from perdure.actors.effects.inbox import payload_of
from perdure.actors.execution.actor import ExecutionActor
from perdure.actors.kernel import faults
from perdure.actors.messages import Pause
from perdure.actors.outage import STORE_OUTAGE_S
from perdure.actors.writer import RETRY
from perdure.runtime import Runtime, State, Status, StepContext, Workflow
from perdure.runtime.testing import VirtualRuntime, check_store, run_virtual, virtual_seams
from perdure.store import SQLiteStore
from perdure.store.errors import OutcomeUnknown, StoreUnavailable
from perdure.store.protocol import Answer
from perdure.store.records import Loaded
from perdure.store.writes import Post, Write

WHY = "database or disk is full; make room, the work goes on by itself"
FULL, GONE = "full", "gone"
EXECUTIONS = 20


class Disk(SQLiteStore):
    """A real store that takes nothing while it is `FULL`, and gives nothing either while it is `GONE`."""

    def __init__(self, path: Path) -> None:
        """Inline, on that file."""
        super().__init__(str(path), inline=True)
        self.fault: str | None = None
        self.tries = 0

    async def commit(self, writes: Sequence[Write]) -> list[Answer]:
        """As the store, or not at all."""
        self.tries += 1
        if self.fault is not None:
            raise StoreUnavailable(WHY)
        return await super().commit(writes)

    async def load(self, execution_id: str) -> Loaded | None:
        """As the store, or not at all."""
        if self.fault == GONE:
            raise StoreUnavailable(WHY)
        return await super().load(execution_id)

    async def load_parked(self, execution_id: str) -> Any:
        """As the store, or not at all."""
        if self.fault == GONE:
            raise StoreUnavailable(WHY)
        return await super().load_parked(execution_id)

    async def message(self, no: int) -> Any:
        """As the store, or not at all."""
        if self.fault == GONE:
            raise StoreUnavailable(WHY)
        return await super().message(no)


class Stage:
    """A runtime on such a disk, a workflow of two slow steps, and what its bodies have done."""

    def __init__(self, runtime: Runtime, disk: Disk, workflow: Workflow, effects: list[str]) -> None:
        """Set by `played`."""
        self.runtime = runtime
        self.disk = disk
        self.workflow = workflow
        self.effects = effects


def two_steps(effects: list[str]) -> Workflow:
    """Ten seconds each."""
    workflow = Workflow("two")

    @workflow.step
    async def first(context: StepContext) -> str:
        await anyio.sleep(10)
        effects.append(f"{context.execution_id} first")
        return "1"

    @workflow.step
    async def second(context: StepContext, first: str) -> str:
        await anyio.sleep(10)
        effects.append(f"{context.execution_id} second")
        return first + "2"

    return workflow


def played(folder: Path, play: Callable[[Stage], Awaitable[None]]) -> None:
    """Play with a runtime in virtual time; in the end the store has to be in order."""

    async def main() -> None:
        disk = Disk(folder / "store.db")
        effects: list[str] = []
        workflow = two_steps(effects)
        async with Runtime(store=disk, seams=virtual_seams(1), workflows=[workflow]) as runtime:
            await play(Stage(runtime, disk, workflow, effects))
            disk.fault = None
            with anyio.fail_after(3_600):
                for summary in await runtime.list():
                    await (await runtime.execution(summary.id)).result(check=False)
            assert await check_store(disk) == []

    run_virtual(main)


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The events that were logged at warning or above."""
    return [record.getMessage().split()[0] for record in caplog.records]


@pytest.mark.parametrize("fault", [FULL, GONE])
def test_executions_in_flight_wait_and_no_body_runs_twice(tmp_path: Path, caplog, fault: str):
    """One line when it begins and one when it ends, however many of them there are."""

    async def play(stage: Stage) -> None:
        started = [await stage.runtime.start(stage.workflow, {}, id=f"e{no}") for no in range(EXECUTIONS)]
        await anyio.sleep(5)
        stage.disk.fault = fault
        await anyio.sleep(3_600)
        assert len(stage.effects) == EXECUTIONS
        stage.disk.fault = None
        for execution in started:
            assert (await execution.result()).status is Status.COMPLETED
        assert len(stage.effects) == len(set(stage.effects)) == 2 * EXECUTIONS
        assert stage.disk.tries < 3_600 / RETRY.max_s + 100

    played(tmp_path, play)
    assert told(caplog) == ["store_unavailable", "store_available"]


def test_a_start_is_refused_at_once_and_does_not_happen_later(tmp_path: Path):
    """Who was told that nothing was started may start it elsewhere."""

    async def play(stage: Stage) -> None:
        stage.disk.fault = FULL
        for _ in range(2):
            with anyio.fail_after(0.001), pytest.raises(StoreUnavailable, match="make room"):
                await stage.runtime.start(stage.workflow, {}, id="e")
        stage.disk.fault = None
        await anyio.sleep(60)
        assert await stage.runtime.list() == []
        await stage.runtime.start(stage.workflow, {}, id="e")
        assert stage.effects == []

    played(tmp_path, play)


def test_commands_are_refused_at_once_in_an_outage_and_are_not_applied_later(tmp_path: Path):
    """Each is told what is wrong now; a moment after there is room again they are taken."""

    async def play(stage: Stage) -> None:
        execution = await stage.runtime.start(stage.workflow, {}, id="e")
        stage.disk.fault = FULL
        await anyio.sleep(15)
        commands = [execution.pause, execution.cancel, execution.resume, execution.checkpoint]
        for command in [*commands, lambda: execution.signal("x"), lambda: execution.update_context({"a": 1})]:
            with anyio.fail_after(0.001), pytest.raises(StoreUnavailable, match="make room"):
                await command()
        stage.disk.fault = None
        assert await execution.pause(mode="interrupt") is State.PAUSED
        events = [event.type async for event in execution.events()]
        assert not {"signal_received", "workflow_cancelled", "context_updated"} & set(events)
        await execution.resume()

    played(tmp_path, play)


def test_a_command_that_an_outage_overtakes_is_told_so_and_applied_when_it_is_over(tmp_path: Path):
    """Its sender hears of it in bounded time, and learns what became of it by giving it again."""

    async def play(stage: Stage) -> None:
        execution = await stage.runtime.start(stage.workflow, {}, id="e")
        await anyio.sleep(1)
        stage.disk.fault = FULL
        began_at = anyio.current_time()
        with pytest.raises(OutcomeUnknown, match="give it again under its id mine"):
            await execution.signal("x", command_id="mine")
        assert anyio.current_time() - began_at == pytest.approx(STORE_OUTAGE_S)
        stage.disk.fault = None
        version = await execution.signal("x", command_id="mine")
        events = [event async for event in execution.events() if event.type == "signal_received"]
        assert len(events) == 1
        assert events[0].version <= version

    played(tmp_path, play)


def test_a_result_waits_through_a_short_outage(tmp_path: Path):
    """Nobody needs to know."""

    async def play(stage: Stage) -> None:
        execution = await stage.runtime.start(stage.workflow, {}, id="e")
        await anyio.sleep(9)
        stage.disk.fault = FULL

        async def mend() -> None:
            await anyio.sleep(1 + STORE_OUTAGE_S * 0.7)
            stage.disk.fault = None

        async with anyio.create_task_group() as group:
            group.start_soon(mend)
            assert (await execution.result()).outputs["second"] == "12"

    played(tmp_path, play)


def test_nobody_is_told_of_an_end_before_it_is_written(tmp_path: Path):
    """Neither who waits for the result nor who follows the log, though the last body ended long ago."""

    async def play(stage: Stage) -> None:
        execution = await stage.runtime.start(stage.workflow, {}, id="e")
        told: list[str] = []

        async def wait() -> None:
            told.append((await execution.result()).status)

        async def follow() -> None:
            told.extend([event.type async for event in execution.events(follow=True)][-1:])

        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            group.start_soon(follow)
            await anyio.sleep(15)
            stage.disk.fault = FULL
            await anyio.sleep(5 + STORE_OUTAGE_S * 0.7)
            assert len(stage.effects) == 2
            assert told == []
            stage.disk.fault = None
        assert sorted(told) == [Status.COMPLETED, "workflow_completed"]

    played(tmp_path, play)


@pytest.mark.parametrize("fault", [FULL, GONE])
def test_a_result_is_told_of_a_long_outage_and_may_be_asked_for_again(tmp_path: Path, fault: str):
    """It says that the execution is not lost, each time after the same wait; and it is not."""

    async def play(stage: Stage) -> None:
        execution = await stage.runtime.start(stage.workflow, {}, id="e")
        stage.disk.fault = fault
        for wait_s in (10 + STORE_OUTAGE_S, STORE_OUTAGE_S, STORE_OUTAGE_S):
            began_at = anyio.current_time()
            with pytest.raises(StoreUnavailable, match=r"e is not lost .* disk is full"):
                await execution.result()
            assert anyio.current_time() - began_at == pytest.approx(wait_s, abs=0.2)
        stage.disk.fault = None
        assert (await execution.result()).status is Status.COMPLETED
        assert len(stage.effects) == 2

    played(tmp_path, play)


@pytest.mark.parametrize("point", ["commit:before", "commit:after"])
def test_a_start_of_unknown_outcome_is_taken_up_if_it_has_happened(tmp_path: Path, point: str):
    """Its caller was not told that it is durable; nobody else would ever look for it."""

    async def play(stage: Stage) -> None:
        def fail(at: str) -> None:
            if at == point:
                faults.hit = None
                raise OutcomeUnknown("the sync failed")

        with faults.installed(fail), pytest.raises(OutcomeUnknown):
            await stage.runtime.start(stage.workflow, {}, id="e")
        await anyio.sleep(60)
        has_happened = point == "commit:after"
        assert len(stage.effects) == 2 * has_happened
        execution = await stage.runtime.start(stage.workflow, {}, id="e")
        assert (await execution.result()).status is Status.COMPLETED
        assert len(stage.effects) == 2

    played(tmp_path, play)


def test_a_start_that_is_found_before_its_starter_hears_of_it_has_one_actor(tmp_path: Path):
    """Whoever looks for one of unknown outcome may find the next one under the same id."""

    async def play(stage: Stage) -> None:
        def look(at: str) -> None:
            if at == "commit:after":
                faults.hit = None
                stage.runtime.machine.executions.take_up("e")

        with faults.installed(look):
            execution = await stage.runtime.start(stage.workflow, {}, id="e")
        assert (await execution.result()).status is Status.COMPLETED
        assert len(stage.effects) == 2

    played(tmp_path, play)


@pytest.mark.parametrize("point", ["commit:before", "commit:after"])
def test_an_outcome_that_nobody_knows_is_read_back(tmp_path: Path, point: str, caplog):
    """What has been recorded is not done again, what has not is."""

    async def play(stage: Stage) -> None:
        execution = await stage.runtime.start(stage.workflow, {}, id="e")
        await anyio.sleep(5)

        def fail(at: str) -> None:
            if at == point:
                faults.hit = None
                raise OutcomeUnknown("the sync failed")

        with faults.installed(fail):
            await anyio.sleep(10)
        assert (await execution.result()).outputs["second"] == "12"
        assert stage.effects.count("e first") == 1 + (point == "commit:before")
        assert stage.effects.count("e second") == 1

    played(tmp_path, play)
    assert told(caplog) == ["store_unavailable", "store_available"]


def test_mail_that_is_rung_for_in_an_outage_arrives_after_it(tmp_path: Path):
    """The actor is hot: nothing else would make it look into its inbox."""

    async def play(stage: Stage) -> None:
        execution = await stage.runtime.start(stage.workflow, {}, id="e")
        await anyio.sleep(1)
        command = Pause(id="mail")
        post = Post(
            execution_id="e", command_id="mail", kind="Pause", payload=payload_of(command), sender=None, at=0
        )
        await stage.disk.commit([post])
        stage.disk.fault = GONE
        async with anyio.create_task_group() as group:
            group.start_soon(stage.runtime.machine.routing.ring, "e")
            await anyio.sleep(5)
            stage.disk.fault = None
        await anyio.sleep(10)
        assert (await execution.status()).state is State.PAUSED
        await execution.resume()

    played(tmp_path, play)


def test_a_runtime_ends_in_an_outage_and_the_next_one_goes_on(tmp_path: Path):
    """What was acknowledged is in the store; the rest was never promised."""
    effects: list[str] = []

    async def first() -> None:
        disk = Disk(tmp_path / "store.db")
        async with Runtime(store=disk, seams=virtual_seams(1), workflows=[two_steps(effects)]) as runtime:
            await runtime.start("two", {}, id="e")
            disk.fault = FULL
            await anyio.sleep(15)
            left_at = anyio.current_time()
        assert anyio.current_time() - left_at < 30

    async def second() -> None:
        disk = Disk(tmp_path / "store.db")
        async with Runtime(store=disk, seams=virtual_seams(2), workflows=[two_steps(effects)]) as runtime:
            assert (await (await runtime.execution("e")).result()).status is Status.COMPLETED
            assert await check_store(disk) == []

    run_virtual(first)
    assert effects == ["e first"]
    run_virtual(second)
    assert effects == ["e first", "e first", "e second"]


def test_a_write_that_the_database_will_never_take_is_no_outage(tmp_path: Path, caplog, monkeypatch):
    """It is a fault of one execution: that one is set aside, the others go on."""
    original = ExecutionActor._commit

    async def spoil(self, turn, **options):
        if self._id == "bad":
            turn.fields["paused_by"] = object()
        await original(self, turn, **options)

    async def play(stage: Stage) -> None:
        monkeypatch.setattr(ExecutionActor, "_commit", spoil)
        await stage.runtime.start(stage.workflow, {}, id="bad")
        good = await stage.runtime.start(stage.workflow, {}, id="good")
        assert (await good.result()).status is Status.COMPLETED
        await anyio.sleep(600)
        assert "execution_quarantined" in told(caplog)
        assert "store_unavailable" not in told(caplog)
        monkeypatch.setattr(ExecutionActor, "_commit", original)
        await (await stage.runtime.execution("bad")).cancel()

    played(tmp_path, play)


@pytest.mark.parametrize(("outage_s", "is_told"), [(3, False), (2 * STORE_OUTAGE_S, True)])
def test_who_waits_for_another_process_waits_through_a_short_outage(
    tmp_path: Path, outage_s: float, *, is_told: bool
):
    """The command is in the other one's inbox: that nothing was written would not be true."""
    path = tmp_path / "shared.db"

    async def main() -> None:
        worker = VirtualRuntime(path, seed=1, kind="worker", workflows=[two_steps([])])
        disk = Disk(path)
        async with worker, VirtualRuntime(store=disk, seed=2, kind="client") as client:
            await worker.start("two", {}, id="e")
            execution = await client.execution("e")

            async def fail() -> None:
                await anyio.sleep(2)
                disk.fault = GONE
                await anyio.sleep(outage_s)
                disk.fault = None

            async with anyio.create_task_group() as group:
                group.start_soon(fail)
                with pytest.raises(OutcomeUnknown, match="under its id p") if is_told else nullcontext():
                    assert await execution.pause(command_id="p") is State.PAUSED
            await anyio.sleep(10)
            assert (await execution.status()).state is State.PAUSED

    run_virtual(main)
