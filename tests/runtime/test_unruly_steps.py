"""Whatever the body of a step does, its execution comes to an end, and its neighbours never notice."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from perdure.actors.decider import commands
from perdure.actors.effects.inbox import payload_of
from perdure.actors.kernel import PoisonMessage
from perdure.actors.messages import Signal
from perdure.runtime import Runtime, Status, StepContext, Workflow
from perdure.runtime.testing import VirtualRuntime, check_store, run_virtual
from perdure.store.writes import Post

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


class Unspeakable(Exception):
    """What it says ends the program."""

    def __str__(self) -> str:
        """Exit."""
        raise SystemExit(3)


class Cancelling(Exception):
    """What it says is a cancellation."""

    def __str__(self) -> str:
        """Pretend to be cancelled."""
        raise asyncio.CancelledError


class Untouchable(Exception):
    """Nothing of it can be looked at."""

    def __getattribute__(self, name: str) -> Any:
        """Refuse."""
        raise OSError(name)


class Nameless(type):
    """Makes classes whose name cannot be had."""

    @property
    def __name__(cls) -> str:  # type: ignore[override]
        """Refuse."""
        raise OSError("no name")


class Named(Exception, metaclass=Nameless):
    """One of them."""


def misplaced() -> SyntaxError:
    """A syntax error whose place is none, which no traceback can show."""
    return SyntaxError("misplaced", ("file", "line", "column", 5))  # type: ignore[arg-type]


class Evasive:
    """An output whose every part is an interrupt."""

    def __getattribute__(self, name: str) -> Any:
        """Interrupt."""
        raise KeyboardInterrupt(name)


async def gives_what_interrupts(context: StepContext) -> Evasive:
    """An output that cannot even be asked what it is."""
    return Evasive()


async def awaits_the_end_of_a_generator(context: StepContext) -> None:
    """A future's GeneratorExit is thrown into the coroutine, past all that it awaits."""
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(ended.set_exception, GeneratorExit())
    await ended


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
        raises(Unspeakable()),
        raises(Cancelling()),
        raises(Untouchable()),
        raises(Named()),
        raises(misplaced()),
        gives_what_interrupts,
        awaits_the_end_of_a_generator,
    ],
    ids=[
        "exit",
        "interrupt",
        "generator exit",
        "cancels itself",
        "pretends",
        "group",
        "exits when asked",
        "pretends when asked",
        "cannot be asked",
        "has no name",
        "cannot be formatted",
        "evasive output",
        "awaited generator exit",
    ],
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
    monkeypatch.setattr(commands, "_take", poisoned_by(commands._take))

    async def main() -> None:
        quiet = with_neighbours(raises(OSError()))[1]
        async with VirtualRuntime() as runtime:
            neighbour = await runtime.start(quiet, {})
            execution = await runtime.start(quiet, {})
            with pytest.raises(PoisonMessage):
                await execution.signal("poison", by="anna", command_id="s-1")
            await execution.signal("fine")
            assert (await execution.result()).outputs == {"first": 1, "second": 2}
            assert (await neighbour.result()).outputs == {"first": 1, "second": 2}
            events = [event async for event in execution.events()]
            signals = [event.data for event in events if event.type == "signal_received"]
            assert [signal["name"] for signal in signals] == ["fine"]
            [dead] = [event for event in events if event.type == "message_undeliverable"]
            assert dead.data == {"message": "Signal", "command_id": "s-1", "crashes": 3, "error": BUG}
            assert dead.by == "anna"
            assert await check_store(runtime.store) == []

    with caplog.at_level(logging.ERROR):
        run_virtual(main)
    assert caplog.text.count("message_undeliverable") == 1


def test_a_message_from_another_process_that_crashes_the_actor_is_refused_in_its_row(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its sender is answered; the row is never taken up again, neither here nor by a later process."""
    monkeypatch.setattr(commands, "_take", poisoned_by(commands._take))

    async def main() -> None:
        quiet = with_neighbours(raises(OSError()))[1]
        async with VirtualRuntime() as runtime:
            execution = await runtime.start(quiet, {})
            machine = runtime.machine
            posts = [
                Post(
                    execution_id=execution.id,
                    command_id=f"s-{name}",
                    kind="Signal",
                    payload=payload_of(Signal(id=f"s-{name}", by="anna", name=name)),
                    sender="anna",
                    at=1,
                )
                for name in ("poison", "fine")
            ]
            numbers = [await machine.services.writer.write(post) for post in posts]
            await machine.routing.ring(execution.id)
            assert (await execution.result()).outputs == {"first": 1, "second": 2}
            [poison, fine] = [await runtime.store.message(number) for number in numbers]
            assert poison is not None
            assert fine is not None
            assert b"crashed" in (poison.answer or b"")
            assert fine.applied_version is not None
            told = [event.data async for event in execution.events() if event.type == "message_undeliverable"]
            assert told == [{"message": "Signal", "command_id": "s-poison", "crashes": 3, "error": BUG}]
            assert await check_store(runtime.store) == []

    with caplog.at_level(logging.ERROR):
        run_virtual(main)
    assert caplog.text.count("actor_crashed") == 3


BUG = {"type": "ZeroDivisionError", "message": "a bug of ours"}


def poisoned_by(take: Callable[..., Any]) -> Callable[..., Any]:
    """What takes commands, with a bug that one of them brings out."""

    def poisoned(turn: Any, command: Any, *rest: Any) -> Any:
        if getattr(command, "name", "") == "poison":
            raise ZeroDivisionError(BUG["message"])
        return take(turn, command, *rest)

    return poisoned
