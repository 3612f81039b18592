"""Whether the store can be used: told once when it cannot be, once when it can be again.

The writer finds out and keeps trying. Meanwhile everybody parks: actors wait for their writes or, if
they are to be made anew, for the end of the outage. Whoever stands outside and waits for something
to happen waits through a short outage, and is told of one that lasts longer than STORE_OUTAGE_S.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import anyio

from perdure.actors.log import get_logger
from perdure.store.errors import StoreError

STORE_OUTAGE_S: Final = 10.0  # twice as long as a store waits for a locked file before it says so

log = get_logger("perdure.store")


class Outage:
    """The state of the store, as far as this process has noticed it."""

    def __init__(self) -> None:
        """All is well."""
        self.error: StoreError | None = None
        self._began_at = 0.0
        self._end = asyncio.Event()
        self._bounded: set[anyio.CancelScope] = set()

    @property
    def is_on(self) -> bool:
        """Whether the store is known to be out of use."""
        return self.error is not None

    def begin(self, error: StoreError) -> None:
        """The store cannot be used, for this reason; the first time of an outage it is told."""
        is_news, self.error = self.error is None, error
        if not is_news:
            return
        log.error("store_unavailable", error=str(error))
        self._end.clear()
        self._began_at = anyio.current_time()
        for scope in self._bounded:
            scope.deadline = self._began_at + STORE_OUTAGE_S

    def end(self) -> None:
        """The store has taken a write: whoever is parked goes on."""
        if self.error is None:
            return
        self.error = None
        log.warning("store_available", outage_s=round(anyio.current_time() - self._began_at, 3))
        self._end.set()
        for scope in self._bounded:
            scope.deadline = math.inf

    async def over(self) -> None:
        """Wait until the store can be used."""
        while self.is_on:
            await self._end.wait()

    @contextmanager
    def bounded(self, kind: type[StoreError], what: str) -> Iterator[None]:
        """Give up the wait inside, with an error that says `what`, when an outage outlasts STORE_OUTAGE_S."""
        deadline = anyio.current_time() + STORE_OUTAGE_S if self.is_on else math.inf
        with anyio.CancelScope(deadline=deadline) as scope:
            self._bounded.add(scope)
            try:
                yield
            finally:
                self._bounded.discard(scope)
        if scope.cancelled_caught:
            raise kind(f"{what}: the store cannot be used ({self.error})")
