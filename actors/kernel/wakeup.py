"""What a service rests on until it is called, or its time has come."""

from __future__ import annotations

import asyncio

from perdure.actors.kernel.alarms import Alarms


class Wakeup:
    """An event to wait for with a timeout, as `threading.Event` is one.

    It stays set until it is cleared. So whoever clears it, looks, and then waits misses no call: one that
    came while it was looking lets the wait end at once.
    """

    __slots__ = ("_alarms", "_event")

    def __init__(self, alarms: Alarms) -> None:
        """Not set; the timeouts are alarms among those."""
        self._alarms = alarms
        self._event = asyncio.Event()

    @property
    def is_set(self) -> bool:
        """Whether a wait would end at once."""
        return self._event.is_set()

    def set(self) -> None:
        """End the wait, or else the next one."""
        self._event.set()

    def clear(self) -> None:
        """Begin to look: what was called for so far is about to be seen."""
        self._event.clear()

    async def wait(self, timeout_s: float | None) -> None:
        """Until it is set, which it sets itself when that many seconds are over; None: never."""
        if self._event.is_set():
            return
        if timeout_s is None:
            await self._event.wait()
            return
        at = asyncio.get_running_loop().time() + timeout_s
        alarm = self._alarms.add(at, self._event.set)
        try:
            await self._event.wait()
        finally:
            alarm.cancel()
