"""When an execution's actor is to be woken though nobody sends it anything."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from perdure.actors.execution.services import Services
from perdure.actors.kernel import Alarm
from perdure.actors.messages import CheckpointDue, TimersDue

CLOCK_REREAD_S: Final = 60.0  # no timer sleeps longer before it looks at the wall clock again


class Wakeups:
    """The alarms of one incarnation: one for its next deadline or retry, one for its next checkpoint."""

    __slots__ = ("_checkpoint", "_due", "_post", "_services")

    def __init__(self, services: Services, post: Callable[[TimersDue | CheckpointDue], None]) -> None:
        """`post` is the actor's mailbox."""
        self._services = services
        self._post = post
        self._due: Alarm | None = None
        self._checkpoint: Alarm | None = None

    def set_due(self, times: list[int]) -> None:
        """Wake it when the first of those moments (wall time in ms) comes; forget what was set before."""
        if self._due is not None:
            self._due.cancel()
            self._due = None
        if times:
            seconds = max(0.0, (min(times) - self._services.now_ms()) / 1000)
            self._due = self._after(min(seconds, CLOCK_REREAD_S), TimersDue())

    def set_checkpoint(self, interval_ms: int | None) -> None:
        """Ask for an automatic checkpoint that long from now, if it is to be asked for at all."""
        if interval_ms is not None:
            self._checkpoint = self._after(interval_ms / 1000, CheckpointDue())

    def cancel(self) -> None:
        """Wake it no more."""
        for alarm in (self._due, self._checkpoint):
            if alarm is not None:
                alarm.cancel()

    def _after(self, seconds: float, message: TimersDue | CheckpointDue) -> Alarm:
        at = asyncio.get_running_loop().time() + seconds
        post = self._post
        return self._services.alarms.add(at, lambda: post(message))
