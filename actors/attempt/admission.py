"""How much may run at once in this process."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

import anyio

THREADS_MAX: Final = 64  # worker threads for plain functions in one process, 8 MB of stack each


class StepSlots:
    """At most `limit` bodies of steps at a time; further ones wait their turn, in order.

    Bodies in worker threads take one of `threads` besides: few, for a thread costs more than a task.
    """

    __slots__ = ("_limit", "_on_busy", "_taken", "_threads", "_waiting", "limiter")

    def __init__(self, limit: int, *, on_busy: Callable[[], None] | None = None) -> None:
        """`limit` is at least 1; `on_busy` is called when the first body begins after a rest."""
        self._limit = limit
        self._threads: StepSlots | None = None
        self.limiter = anyio.CapacityLimiter(THREADS_MAX)
        self._on_busy = on_busy
        self._taken = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def threads(self) -> StepSlots:
        """The worker threads, THREADS_MAX of them."""
        if self._threads is None:
            self._threads = StepSlots(THREADS_MAX)
        return self._threads

    @property
    def taken(self) -> int:
        """How many bodies run now."""
        return self._taken

    async def acquire(self) -> None:
        """Wait for a slot; a cancelled wait gives back what it was handed."""
        if self._taken < self._limit and not self._waiting:
            self._taken += 1
            if self._taken == 1 and self._on_busy is not None:
                self._on_busy()
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release()
            raise

    def release(self) -> None:
        """Give a slot back: to the first who waits, if any."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._taken -= 1
