"""Where a runtime may be opened and used: by the program itself, and in the event loop that has opened it."""

from __future__ import annotations

import asyncio
import math
import traceback
from contextlib import AsyncExitStack
from typing import Any, Final

import anyio

from perdure.actors.errors import RuntimeClosed

LOADED: Final = "__mp_main__"  # what a worker process calls the program's own file while it loads it


def check_program() -> None:
    """Raise RuntimeError while a worker process loads the program: it would do all of it once more."""
    for frame, _ in traceback.walk_stack(None):
        if frame.f_code.co_name == "<module>" and frame.f_globals.get("__name__") == LOADED:
            raise RuntimeError(
                "each worker process loads the program's own file, and that file opens a runtime each time: "
                "put what is to run only once, such as `asyncio.run(main())`, below "
                '`if __name__ == "__main__":`'
            )


def this_task() -> asyncio.Task[Any]:
    """The task that runs."""
    task = asyncio.current_task()
    assert task is not None, "whoever awaits runs in a task"
    return task


def check_home(opened_by: asyncio.Task[Any] | None) -> None:
    """Raise RuntimeClosed unless there is that task, and no other event loop than its own runs here.

    In another one, as a second thread or a forked process has, whoever waits would wait for ever.
    """
    if opened_by is None:
        raise RuntimeClosed("the runtime is not open: use it inside `async with Runtime(…) as runtime:`")
    try:
        here = asyncio.get_running_loop()
    except RuntimeError:  # none: what is prepared here may be handed to it
        return
    if here is not opened_by.get_loop():
        raise RuntimeClosed(
            "the runtime is not open in this event loop but in another: from another thread call it with "
            "`asyncio.run_coroutine_threadsafe(…, loop)`, in a forked process open a Runtime of its own"
        )


def check_leaving(opened_by: asyncio.Task[Any]) -> None:
    """Raise RuntimeError in another task than that one, whose scopes no other can leave."""
    if asyncio.current_task() is not opened_by:
        raise RuntimeError(
            "a runtime is left in the task that has entered it, and this is another: write one "
            "`async with Runtime(…)` around the life of the program, such as the lifespan of a web framework"
        )


async def leave(stack: AsyncExitStack, error: BaseException | None, *, cancellations: int) -> None:
    """Leave what that stack has entered, after the block that ended with that error.

    The error goes on as it is: the task groups inside, which would wrap it, get none. So many
    `cancellations` had been asked of this task when the stack was entered.
    """
    try:
        if not isinstance(error, asyncio.CancelledError):
            await _forget_cancellations(since=cancellations)
    finally:
        await stack.__aexit__(None, None, None)


async def _forget_cancellations(*, since: int) -> None:
    """Take back what was asked of this task beyond those `since` then, and has led to nothing.

    For who leaves scopes: while such a request stands, a scope takes its own cancellation for that one,
    and raises it. Until Python 3.13 an `asyncio.TaskGroup` leaves one behind whose child fails while it
    waits for the others; so does whoever catches a cancellation and goes on. Raises CancelledError
    where one is still to come.
    """
    task = this_task()
    is_cancelled_around = anyio.current_effective_deadline() == -math.inf
    if task.cancelling() <= since or is_cancelled_around:
        return
    await anyio.lowlevel.checkpoint()  # what is still to come comes here
    while task.cancelling() > since:
        task.uncancel()
