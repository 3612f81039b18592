"""Whether the store can be used: told once when it cannot be, once when it can be again.

The writer finds out and keeps trying. Meanwhile everybody parks: actors wait for their writes or, if
they are to be made anew, for the end of the outage. Whoever stands outside and waits for something
to happen waits through a short outage, and is told of one that lasts longer than STORE_OUTAGE_S.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Final, TypeVar

import anyio

from perdure.actors.log import get_logger
from perdure.store.errors import StoreError

STORE_OUTAGE_S: Final = 10.0  # twice as long as a store waits for a locked file before it says so

log = get_logger("perdure.store")

T = TypeVar("T")


class Outage:
    """The state of the store, as far as this process has noticed it."""

    def __init__(self) -> None:
        """All is well."""
        self.error: StoreError | None = None
        self._began_at = 0.0
        self._end = asyncio.Event()
        self._bounded: set[asyncio.Timeout] = set()  # of those who wait

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
        self._bound(self._began_at + STORE_OUTAGE_S)

    def end(self) -> None:
        """The store has taken a write: whoever is parked goes on."""
        if self.error is None:
            return
        self.error = None
        log.warning("store_available", outage_s=round(anyio.current_time() - self._began_at, 3))
        self._end.set()
        self._bound(None)

    async def over(self) -> None:
        """Wait until the store can be used."""
        while self.is_on:
            await self._end.wait()

    async def bounded(self, work: Awaitable[T], kind: type[StoreError], what: str) -> T:
        """Wait for `work`; give it up, with an error that says `what`, if an outage outlasts STORE_OUTAGE_S.

        Hardly anybody who waits meets an outage: so it is asyncio's timeout, the cheaper one while unset.
        """
        timeout = asyncio.timeout(STORE_OUTAGE_S if self.is_on else None)
        try:
            async with timeout:
                self._bounded.add(timeout)
                return await work
        except TimeoutError:
            if not timeout.expired():
                raise
            raise kind(f"{what}: the store cannot be used ({self.error})") from None
        finally:
            self._bounded.discard(timeout)

    def _bound(self, at: float | None) -> None:
        """Let those who wait give up at that moment of the loop, or never."""
        for timeout in self._bounded:
            if not timeout.expired():
                timeout.reschedule(at)
