"""Sees something through to its end, whoever is cancelled meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import anyio

T = TypeVar("T")


async def see_through(function: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run `function()` to its end; only then let a cancellation that came meanwhile go on.

    A shielded scope alone keeps off the scopes around it, and not a `Task.cancel()` from outside, of
    which `asyncio.timeout` is one. For short things that must not be left half done, such as giving
    back what was taken. Raises what `function` raises, unless it was cancelled.
    """
    cancelled: asyncio.CancelledError | None = None
    with anyio.CancelScope(shield=True):
        task = asyncio.create_task(function())
        while not task.done():
            try:
                await asyncio.wait((task,))
            except asyncio.CancelledError as error:
                cancelled = error
    if cancelled is not None:
        if not task.cancelled() and (failure := task.exception()) is not None:
            cancelled.add_note(f"meanwhile it failed: {failure!r}")
        raise cancelled
    return task.result()
