"""Cancel scopes: one made without finding out anew what makes them, and whether any has been cancelled."""

from __future__ import annotations

import asyncio
from functools import cache

import anyio


def cancel_scope(*, shield: bool = False) -> anyio.CancelScope:
    """A new scope of anyio's, for who makes one for each actor and each body.

    `anyio.CancelScope()` looks up which library runs the loop and initialises what it gets a second
    time: four times as long. Only inside a running loop, as there.
    """
    return _kind()(shield=shield)


def is_cancelled() -> bool:
    """Whether the cancellation of this task is asked for.

    A CancelledError of any other task is one of its own: what it awaited was cancelled elsewhere.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


@cache
def _kind() -> type[anyio.CancelScope]:
    """The class behind `anyio.CancelScope` here: the library is asyncio, once and for all."""
    return type(anyio.CancelScope())
