"""Whatever the body of a step does, its execution comes to an end, and its neighbours never notice."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from perdure.actors import commands
from perdure.actors.kernel import PoisonMessage
from perdure.runtime import Runtime, Status, StepContext, Workflow
from perdure.runtime.testing import VirtualRuntime, check_store, run_virtual

Body = Callable[[StepContext], Awaitable[Any]]


def raises(error: BaseException) -> Body:
    """A body that raises it."""

    async def body(context: StepContext) -> None:
        raise error

    return body


async def cancels_itself(context: StepContext) -> None:
    """Cancel the task it runs in."""
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await anyio.sleep(1)


async def raises_a_cancellation(context: StepContext) -> None:
    """Pretend to be cancelled."""
    raise asyncio.CancelledError


async def raises_a_group(context: StepContext) -> None:
    """Two failures in one."""
    raise BaseExceptionGroup("two", [SystemExit(1), asyncio.CancelledError()])


left_behind: list[asyncio.Task[Any]] = []


async def leaves_a_task(context: StepContext) -> str:
    """Start a task outside every group and leave; it fails after the step is over."""

    async def fails() -> None:
        await anyio.sleep(5)
        raise OSError("nobody waits for this")

    left_behind.append(asyncio.create_task(fails()))
    return "left"


def with_neighbours(body: Body) -> tuple[Workflow, Workflow]:
    """The unruly step in a workflow of its own, and one that is quiet."""
    unruly = Workflow("unruly")
    unruly.step(key="unruly")(body)
    quiet = Workflow("quiet")

    @quiet.step
    async def first() -> int:
        await anyio.sleep(2)
        return 1

    @quiet.step
    async def second(first: int) -> int:
        await anyio.sleep(2)
        return first + 1

    return unruly, quiet


async def beside(runtime: Runtime, unruly: Workflow, quiet: Workflow) -> Status:
    """How the unruly one ends; the quiet ones have to complete."""
    neighbours = [await runtime.start(quiet, {}) for _ in range(5)]
    execution = await runtime.start(unruly, {})
    neighbours += [await runtime.start(quiet, {}) for _ in range(5)]
    for neighbour in neighbours:
        assert (await neighbour.result()).outputs == {"first": 1, "second": 2}
    result = await execution.result(check=False)
    assert await check_store(runtime.store) == []
    return result.status


@pytest.mark.parametrize(
    "body",
    [
        raises(SystemExit(3)),
        raises(KeyboardInterrupt()),
        raises(GeneratorExit()),
        cancels_itself,
        raises_a_cancellation,
        raises_a_group,
    ],
    ids=["exit", "interrupt", "generator exit", "cancels itself", "pretends", "group"],
)
def test_a_body_that_would_end_the_loop_only_fails_its_step(body: Body) -> None:
    """Nothing it raises passes for success, or for a cancellation of ours."""

    async def main() -> None:
        unruly, quiet = with_neighbours(body)
        async with VirtualRuntime() as runtime:
            assert await beside(runtime, unruly, quiet) is Status.FAILED

    run_virtual(main)


def test_a_task_that_a_body_leaves_behind_is_its_own_and_disturbs_nobody() -> None:
    """The step is over when the body is; what it left goes on, and its failure is the program's to see."""

    async def main() -> None:
        unruly, quiet = with_neighbours(leaves_a_task)
        async with VirtualRuntime() as runtime:
            assert await beside(runtime, unruly, quiet) is Status.COMPLETED
            left = left_behind.pop()
            assert not left.done()
            with pytest.raises(OSError, match="nobody waits"):
                await left
            assert await beside(runtime, *with_neighbours(raises(OSError("no")))) is Status.FAILED

    run_virtual(main)


def test_a_message_that_crashes_the_actor_three_times_is_put_aside_and_life_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Who sent it is told; the execution, its other messages and its neighbours go on."""
    take = commands._take

    def poisoned(turn: Any, command: Any, *rest: Any) -> Any:
        if getattr(command, "name", "") == "poison":
            raise ZeroDivisionError("a bug of ours")
        return take(turn, command, *rest)

    monkeypatch.setattr(commands, "_take", poisoned)

    async def main() -> None:
        quiet = with_neighbours(raises(OSError()))[1]
        async with VirtualRuntime() as runtime:
            neighbour = await runtime.start(quiet, {})
            execution = await runtime.start(quiet, {})
            with pytest.raises(PoisonMessage):
                await execution.signal("poison")
            await execution.signal("fine")
            assert (await execution.result()).outputs == {"first": 1, "second": 2}
            assert (await neighbour.result()).outputs == {"first": 1, "second": 2}
            signals = [event.data async for event in execution.events() if event.type == "signal_received"]
            assert [signal["name"] for signal in signals] == ["fine"]
            assert await check_store(runtime.store) == []

    with caplog.at_level(logging.ERROR):
        run_virtual(main)
    assert "message_undeliverable" in caplog.text
