"""The heartbeat, in virtual time: who beats, who listens, and who is taken over when."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from perdure.actors.execution.claiming import claim
from perdure.runtime import Runtime, Status, Workflow
from perdure.runtime.testing import run_virtual, virtual_seams
from perdure.store import SQLiteStore
from perdure.store.errors import LeaseLost, NotFound, StoreLocked
from perdure.store.states import State
from perdure.store.writes import Change, Delta, Deregister, Register, Renew, Start, Write

LEASE_S = 4.0
Scenario = Callable[[Runtime, SQLiteStore], Awaitable[None]]


class Spy(SQLiteStore):
    """A store that keeps what it was told, and takes no writes while `is_locked`."""

    def __init__(self, path: str) -> None:
        """Inline, as virtual time wants it."""
        super().__init__(path, inline=True)
        self.told: list[Write] = []
        self.is_locked = False

    async def commit(self, writes: Any) -> Any:
        """Write them down, then write them."""
        if self.is_locked:
            raise StoreLocked(self.location, pid=4711)
        self.told += writes
        return await super().commit(writes)

    def count(self, kind: type[Write]) -> int:
        """How many writes of that kind there were."""
        return sum(isinstance(write, kind) for write in self.told)


class Watched(Runtime):
    """A runtime on that store."""

    def __init__(self, spy: Spy, **options: Any) -> None:
        """The rest is as ever."""
        super().__init__(spy.location, store=spy, seams=virtual_seams(), **options)


def nap(seconds: float) -> Workflow:
    """One step that takes that long."""
    workflow = Workflow("nap")

    @workflow.step
    async def sleep() -> str:
        await anyio.sleep(seconds)
        return "awake"

    return workflow


def beside(folder: Path, scenario: Scenario, *, seconds: float = 1.0) -> Spy:
    """Run a scenario with a worker, and a store through which others on another machine can speak."""
    spy = Spy(str(folder / "p.db"))

    async def main() -> None:
        others = SQLiteStore(str(folder / "p.db"), inline=True)
        async with Watched(spy, workflows=[nap(seconds)], lease_s=LEASE_S, kind="worker") as runtime:
            await others.open()
            try:
                await scenario(runtime, others)
            finally:
                await others.close()

    run_virtual(main)
    return spy


async def tell(store: SQLiteStore, write: Write) -> Any:
    """Write one thing; a refusal is raised."""
    [answer] = await store.commit([write])
    if isinstance(answer, Exception):
        raise answer
    return answer


async def join(store: SQLiteStore, **fields: Any) -> int:
    """Enter a runner of another machine, of which nothing can be known but what it writes."""
    usual = {"pid": 1, "host": "elsewhere", "kind": "worker", "lock_path": None, "doorbell": None, "at": 0}
    lease_ms = int(LEASE_S * 1000)
    return int(await tell(store, Register(**(usual | {"id": "ghost", "lease_ms": lease_ms} | fields))))


async def own(store: SQLiteStore, ghost: int) -> None:
    """Start an execution in the ghost's name."""
    workflow = await store.workflow("nap")
    assert workflow is not None
    nothing = dict.fromkeys(("triggered_by", "parent_id", "agents", "deadline_at", "remaining_ms"))
    start = Start(
        id="e",
        workflow_no=workflow.no,
        state=State.SCHEDULING,
        runner_no=ghost,
        priority=0,
        trace_id="t",
        context=b"{}",
        at=0,
        delta=Delta(),
        **nothing,
    )
    await tell(store, start)


async def renew(store: SQLiteStore, ghost: int) -> None:
    """Let the ghost be heard."""
    await tell(store, Renew(runner_no=ghost, at=int(now() * 1000) + 1))


async def owner(store: SQLiteStore) -> str | None:
    """Who has the execution."""
    execution = await store.execution("e")
    assert execution is not None
    return execution.runner


def now() -> float:
    """Virtual time."""
    return asyncio.get_running_loop().time()


def test_alone_nobody_beats(tmp_path: Path):
    """Whatever is owned: nobody is there to hear it, and nobody can come unheard."""

    async def scenario(runtime: Runtime, _: SQLiteStore) -> None:
        execution = await runtime.start("nap", {})
        assert (await execution.result()).status is Status.COMPLETED

    spy = beside(tmp_path, scenario, seconds=10_000)
    assert spy.count(Renew) == 0


def test_in_company_whoever_owns_something_beats_twice_per_lease(tmp_path: Path):
    """And whoever owns nothing is silent, and is not taken for dead because of that."""

    async def scenario(runtime: Runtime, store: SQLiteStore) -> None:
        await join(store)
        await runtime.ring_workers()  # whoever joins in good order is heard
        await anyio.sleep(100)
        assert spy_of(runtime).count(Renew) == 0
        execution = await runtime.start("nap", {})
        await execution.result()
        assert [runner.id for runner in await store.runners()][1:] == ["ghost"]

    spy = beside(tmp_path, scenario, seconds=100)
    assert 48 <= spy.count(Renew) <= 51


def test_a_silent_runner_is_taken_over_within_two_leases(tmp_path: Path):
    """What it had goes on here, under a higher epoch; what it then writes is refused."""

    async def scenario(runtime: Runtime, store: SQLiteStore) -> None:
        ghost = await join(store)
        await own(store, ghost)
        await runtime.ring_workers()
        for _ in range(10):
            await anyio.sleep(1)
            await renew(store, ghost)
        silent_since = now()
        execution = await runtime.execution("e")
        assert await owner(store) == "ghost"
        while await owner(store) == "ghost":  # noqa: ASYNC110 - another process would not tell either
            await anyio.sleep(0.1)
        assert LEASE_S <= now() - silent_since <= 2 * LEASE_S
        assert (await execution.result()).outputs == {"sleep": "awake"}
        with pytest.raises(NotFound, match="register anew"):
            await renew(store, ghost)
        with pytest.raises(LeaseLost):
            await tell(store, change(await store.execution("e")))

    beside(tmp_path, scenario)


def change(execution: Any) -> Change:
    """What the ghost would write, at whatever version the execution is, under the epoch it had."""
    return Change(
        execution_no=execution.no,
        execution_id=execution.id,
        epoch=1,
        version=execution.version,
        before=execution.state,
        state=execution.state,
        at=0,
        delta=Delta(),
    )


def test_a_runner_that_beats_slowly_is_left_alone(tmp_path: Path):
    """Once per lease and a bit is enough, at whatever moment the others look."""

    async def scenario(runtime: Runtime, store: SQLiteStore) -> None:
        ghost = await join(store)
        await own(store, ghost)
        await runtime.ring_workers()
        for _ in range(50):
            await anyio.sleep(LEASE_S * 0.97)
            await renew(store, ghost)
        assert await owner(store) == "ghost"

    beside(tmp_path, scenario)


def test_nobody_is_judged_while_the_store_takes_no_writes(tmp_path: Path):
    """Then nobody can renew: the silence is the store's."""

    async def scenario(runtime: Runtime, store: SQLiteStore) -> None:
        ghost = await join(store)
        await own(store, ghost)
        await runtime.ring_workers()
        await anyio.sleep(1)
        spy_of(runtime).is_locked = True
        await anyio.sleep(20 * LEASE_S)
        spy_of(runtime).is_locked = False
        for _ in range(10):
            await renew(store, ghost)
            await anyio.sleep(LEASE_S / 2)
        assert await owner(store) == "ghost"

    beside(tmp_path, scenario)


def test_whoever_was_taken_over_goes_on_as_a_new_runner(tmp_path: Path):
    """Its bodies are cancelled, what is free it takes up again, and new work is taken as ever."""
    cancelled: list[str] = []
    workflow = Workflow("long")

    @workflow.step
    async def work() -> str:
        try:
            await anyio.sleep(30)
        except BaseException as error:
            cancelled.append(type(error).__name__)
            raise
        return "done"

    async def scenario(runtime: Runtime, store: SQLiteStore) -> None:
        await runtime.start(workflow, {}, id="e")
        await anyio.sleep(1)
        me = runtime.machine.membership.no
        await tell(store, Deregister(runner_no=me, died=True))
        runtime.machine.lease.wake()
        execution = await runtime.execution("e")
        assert (await execution.result()).outputs == {"work": "done"}
        assert cancelled == ["CancelledError"]
        assert runtime.machine.membership.no != me
        [attempt] = await execution.attempts()
        assert attempt.deaths == 1

    beside(tmp_path, scenario)


@pytest.mark.parametrize("finds_out_by", ["start", "claim"])
def test_a_program_that_was_taken_over_unawares_can_go_on_starting(tmp_path: Path, finds_out_by: str):
    """A laptop that slept: the first thing asked of it is done under its new number."""

    async def scenario(runtime: Runtime, store: SQLiteStore) -> None:
        if finds_out_by == "claim":
            await runtime.start("nap", {}, id="e")
            await (await runtime.execution("e")).pause(mode="interrupt")
        await tell(store, Deregister(runner_no=runtime.machine.membership.no, died=True))
        if finds_out_by == "claim":
            await (await runtime.execution("e")).resume()
        else:
            await runtime.start("nap", {}, id="e")
        assert (await (await runtime.execution("e")).result()).status is Status.COMPLETED

    beside(tmp_path, scenario)


def test_what_belongs_to_a_living_runner_cannot_be_claimed(tmp_path: Path):
    """An actor that starts anew must not take back what was taken over."""

    async def scenario(runtime: Runtime, store: SQLiteStore) -> None:
        ghost = await join(store)
        await own(store, ghost)
        with pytest.raises(LeaseLost):
            await claim(runtime.machine.services, "e")
        assert await owner(store) == "ghost"

    beside(tmp_path, scenario)


def spy_of(runtime: Runtime) -> Spy:
    """The store a runtime of these tests writes to."""
    assert isinstance(runtime.store, Spy)
    return runtime.store
