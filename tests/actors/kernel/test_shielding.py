"""What is seen through ends as it would have, and a cancellation waits for it."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import pytest

from perdure.actors.kernel import see_through
from perdure.actors.kernel.testing import run_virtual


async def work(done: list[str], *, error: Exception | None = None) -> str:
    """Take a second."""
    await anyio.sleep(1)
    done.append("done")
    if error is not None:
        raise error
    return "answer"


def test_what_it_returns_and_raises_comes_through() -> None:
    """Undisturbed it is a plain call."""

    async def main() -> None:
        assert await see_through(lambda: work([])) == "answer"
        with pytest.raises(OSError, match="no"):
            await see_through(lambda: work([], error=OSError("no")))

    run_virtual(main)


def test_a_cancelled_task_sees_it_through_first_however_often_it_is_cancelled() -> None:
    """Then it is cancelled all the same."""

    async def main() -> None:
        done: list[str] = []
        task: asyncio.Task[Any] = asyncio.create_task(see_through(lambda: work(done)))
        for _ in range(3):
            await anyio.sleep(0.1)
            task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert done == ["done"]

    run_virtual(main)


def test_a_timeout_and_a_scope_wait_for_it() -> None:
    """Both are told in their own way afterwards."""

    async def main() -> None:
        done: list[str] = []
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await see_through(lambda: work(done))
        with anyio.move_on_after(0.1) as scope:
            await see_through(lambda: work(done))
            await anyio.sleep(1)
        assert scope.cancelled_caught
        assert done == ["done", "done"]

    run_virtual(main)


def test_a_failure_that_a_cancellation_overtakes_is_noted_on_it() -> None:
    """Nothing is lost without a word."""

    async def main() -> None:
        task = asyncio.create_task(see_through(lambda: work([], error=OSError("no"))))
        await anyio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as told:
            await task
        assert "OSError" in told.value.__notes__[0]

    run_virtual(main)
