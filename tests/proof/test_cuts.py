"""Whoever waits for anything may be cut off at any point: nothing is half done, and it can be asked again.

Each public `await` is cut after 0, 1, 2, … passes of the loop, until it ends before it is cut, in
three ways: its task is cancelled, an `asyncio.timeout` runs out, an anyio scope is cancelled. Then it
is asked for again, under the same command id: it must be answered as if nobody had been cut off,
and the log must have it once.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import pytest
from cuts import COMMANDS, ONCE, OTHERS, Prepare, Use, World, deferring, running, settle

from perdure.runtime import Execution, NotFound, Result, Runtime, State
from perdure.runtime.testing import Acknowledged, VirtualRuntime, check_store, run_virtual
from perdure.store import SQLiteStore
from perdure.store.records import Checkpoint

PASSES_MAX = 40  # of the loop; what is not done by then waits for time to pass
RESTING = frozenset({State.PAUSED, State.COMPLETED, State.FAILED, State.CANCELLED})

cut_so_far: dict[tuple[str, str], int] = {}
COMMAND_USES = {use for _, use in COMMANDS.values()}
ELSEWHERE_TOO = {**COMMANDS, **{name: OTHERS[name] for name in ("result", "events, followed", "query")}}

pytestmark = pytest.mark.integration


class CutError(Exception):
    """A scope was cancelled."""


async def cut(
    use: Callable[[], Awaitable[Any]], *, passes: int, way: str, begins: asyncio.Event | None = None
) -> bool:
    """Cut it off after so many passes of the loop (since it `begins`); False when it had ended before."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[Callable[[], Any]] = loop.create_future()

    async def by_task() -> None:
        ready.set_result(task.cancel)
        await use()

    async def by_timeout() -> None:
        async with asyncio.timeout(None) as limit:
            ready.set_result(lambda: limit.reschedule(loop.time()))
            await use()

    async def by_scope() -> None:
        with anyio.CancelScope() as scope:
            ready.set_result(scope.cancel)
            await use()
        if scope.cancelled_caught:
            raise CutError

    main = {"task": by_task, "timeout": by_timeout, "scope": by_scope}[way]
    task = asyncio.create_task(main())
    cut_off = await ready
    if begins is not None:
        await begins.wait()
    for _ in range(passes):
        await asyncio.sleep(0)
        if task.done():
            break
    if task.done():
        task.result()
        return False
    cut_off()
    await asyncio.wait([task])
    assert is_cut_off(task, way), f"cut after {passes} passes: {task.exception()!r}"
    return True


def is_cut_off(task: asyncio.Task[Any], way: str) -> bool:
    """Whether it ended as what is cut off that way ends; timeouts and scopes may come just too late."""
    if way == "task":
        return task.cancelled()
    error = task.exception()
    return error is None or isinstance(error, TimeoutError if way == "timeout" else CutError)


async def cut_everywhere(
    world: World, owner: Runtime, asking: Runtime, prepare: Prepare, use: Use, *, way: str
) -> tuple[int, list[Acknowledged]]:
    """Cut it after 0, 1, 2, … passes, each time on another execution, and ask again; how often it was."""

    async def ask(id_: str) -> Any:
        with suppress(NotFound):  # it was deleted the first time
            return _plain(await use(world, asking, await asking.execution(id_)))
        return None

    await prepare(world, owner, "uncut")
    expected = await ask("uncut")
    await settle()
    tasks = len(asyncio.all_tasks())
    told = []
    for passes in range(PASSES_MAX):
        id_ = f"cut-{passes}"
        execution = await prepare(world, owner, id_)
        mine = await asking.execution(id_)
        was_cut = await cut(lambda mine=mine: use(world, asking, mine), passes=passes, way=way)
        await settle()
        assert await ask(id_) == expected, f"cut after {passes} passes"
        if use in COMMAND_USES:
            log = [event.command_id async for event in execution.events()]
            assert log.count(ONCE) == 1, f"cut after {passes} passes it is in the log {log.count(ONCE)} times"
            told.append(Acknowledged(execution_id=id_, command_id=ONCE))
        if not was_cut:
            break
    await finish(world)
    assert len(asyncio.all_tasks()) <= tasks, "something is left of what was cut off"
    assert not asking.bus._watchers
    assert not asking.bus._ends
    return passes + was_cut, told


async def finish(world: World) -> None:
    """Open every gate, and give everybody time to come to an end."""
    for gate in world.gates.values():
        gate.set()
    await anyio.sleep(60)


def _plain(answer: Any) -> Any:
    """What two answers to the same question on two executions have in common."""
    if isinstance(answer, Checkpoint):
        return answer.version, answer.label
    if isinstance(answer, State) and answer not in RESTING:
        return "running"
    if isinstance(answer, Result):
        return answer.status, answer.outputs
    return answer


async def check(world: World, runtime: Runtime, told: list[Acknowledged]) -> None:
    """Look at the whole store, and at what the bodies have done."""
    known = {summary.id for summary in await runtime.list(limit=1_000)}
    ledger = [effect for effect in world.ledger if effect.execution_id in known]
    assert await check_store(runtime.store, ledger=ledger, acknowledged=told) == []


@pytest.mark.parametrize("way", ["task", "timeout", "scope"])
@pytest.mark.parametrize("name", [*COMMANDS, *OTHERS])
def test_whoever_is_cut_off_can_ask_again(name: str, way: str, say: Callable[[str, str], None]) -> None:
    """Commands, questions and everything else, of an execution of this process."""
    prepare, use = (COMMANDS | OTHERS)[name]

    async def main() -> int:
        world = World()
        async with deferring(VirtualRuntime(workflows=[world.workflow])) as runtime:
            cuts, told = await cut_everywhere(world, runtime, runtime, prepare, use, way=way)
            await check(world, runtime, told)
        return cuts

    cuts = run_virtual(main)
    assert cuts
    cut_so_far[name, way] = cuts
    say("cuts", f"cuts of awaits {sum(cut_so_far.values()):,}, {len(cut_so_far)} kinds and ways")


@pytest.mark.parametrize("way", ["task", "timeout", "scope"])
@pytest.mark.parametrize("name", ELSEWHERE_TOO)
def test_whoever_is_cut_off_can_ask_again_from_elsewhere(
    name: str, way: str, fast_folder: Path, say: Callable[[str, str], None]
) -> None:
    """The same through the durable inbox of an execution that another runtime has."""
    prepare, use = ELSEWHERE_TOO[name]

    async def main() -> int:
        world = World()
        path = fast_folder / "cut.db"
        async with deferring(VirtualRuntime(path, workflows=[world.workflow], seed=1)) as owner:
            async with deferring(VirtualRuntime(path, seed=2, kind="client")) as asking:
                cuts, told = await cut_everywhere(world, owner, asking, prepare, use, way=way)
            await check(world, owner, told)
        return cuts

    cuts = run_virtual(main)
    assert cuts
    cut_so_far[f"{name} elsewhere", way] = cuts
    say("cuts", f"cuts of awaits {sum(cut_so_far.values()):,}, {len(cut_so_far)} kinds and ways")


async def check_nobody_is_left(path: Path) -> None:
    """No runner is on the list, and no lock is held."""
    store = SQLiteStore(str(path), inline=True)
    await store.open()
    assert await store.runners() == []
    await store.close()
    assert not path.with_name(f"{path.name}.runners").exists()


@pytest.mark.parametrize("way", ["task", "timeout", "scope"])
def test_an_opening_that_is_cut_off_leaves_nothing_behind(
    way: str, fast_folder: Path, say: Callable[[str, str], None]
) -> None:
    """No task, no lock, no entry among the runners; and the next one opens. It is closed at once."""

    async def main() -> int:
        world = World()
        path = fast_folder / "open.db"
        async with VirtualRuntime(path, workflows=[world.workflow]) as first:
            await running(world, first, "left")
        tasks = len(asyncio.all_tasks())
        for passes in range(3 * PASSES_MAX):
            runtime = deferring(VirtualRuntime(path, workflows=[world.workflow], seed=passes))

            async def live(runtime: Runtime = runtime) -> None:
                async with runtime:
                    pass

            was_cut = await cut(live, passes=passes, way=way)
            await settle()
            assert len(asyncio.all_tasks()) == tasks, f"cut after {passes} passes"
            await check_nobody_is_left(path)
            if not was_cut:
                return passes
        raise AssertionError("it never opens")

    say(f"opening {way}", f"cuts of opening ({way}): {run_virtual(main)}")


@pytest.mark.parametrize("way", ["task", "timeout", "scope"])
def test_a_closing_that_is_cut_off_closes_all_the_same(
    way: str, fast_folder: Path, say: Callable[[str, str], None]
) -> None:
    """Executions are given up and go on in the next runtime, no attempt used up."""

    async def main() -> int:
        world = World()
        tasks = len(asyncio.all_tasks())
        for passes in range(3 * PASSES_MAX):
            path = fast_folder / f"close-{passes}.db"
            runtime = deferring(VirtualRuntime(path, workflows=[world.workflow], seed=passes))
            begins = asyncio.Event()

            async def live(runtime: Runtime = runtime, begins: asyncio.Event = begins) -> None:
                await runtime.__aenter__()
                await running(world, runtime, "left")
                begins.set()
                await runtime.__aexit__(None, None, None)

            was_cut = await cut(live, passes=passes, way=way, begins=begins)
            await settle()
            assert len(asyncio.all_tasks()) == tasks, f"cut after {passes} passes"
            await check_nobody_is_left(path)
            if not was_cut:
                return passes
            async with VirtualRuntime(path, workflows=[world.workflow], seed=100 + passes) as after:
                world.gate("left").set()
                result = await (await after.execution("left")).result()
                assert result.outputs == {"quick": 1, "waits": 2, "last": 3}
                attempts = await (await after.execution("left")).attempts()
                assert {attempt.attempt for attempt in attempts} == {1}
            world.gate("left").clear()
            world.ledger.clear()
        raise AssertionError("it never closes")

    say(f"closing {way}", f"cuts of closing ({way}): {run_virtual(main)}")


def test_every_await_that_is_public_is_in_the_tables() -> None:
    """Whoever adds one has it cut."""
    names = {name.partition(",")[0].partition(" of ")[0] for name in COMMANDS | OTHERS}
    waits_for_the_cut_alone = {"serve"}
    are_cut_in_others = {"begin", "items"}  # what `start` ends with; reads of one page after another
    public = {
        name
        for kind in (Runtime, Execution)
        for name, function in vars(kind).items()
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
        if not name.startswith("_")
    }
    assert public - waits_for_the_cut_alone - are_cut_in_others <= names
