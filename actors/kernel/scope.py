"""Makes a cancel scope without finding out anew what makes one."""

from __future__ import annotations

from functools import cache

import anyio


def cancel_scope(*, shield: bool = False) -> anyio.CancelScope:
    """A new scope of anyio's, for who makes one for each actor and each body.

    `anyio.CancelScope()` looks up which library runs the loop and initialises what it gets a second
    time: four times as long. Only inside a running loop, as there.
    """
    return _kind()(shield=shield)


@cache
def _kind() -> type[anyio.CancelScope]:
    """The class behind `anyio.CancelScope` here: the library is asyncio, once and for all."""
    return type(anyio.CancelScope())
