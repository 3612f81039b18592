"""Many timers on one: a heap of alarms over a single timer of the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Final

from perdure.actors.kernel.hooks import faults

_COMPACT_MIN: Final = 64  # below this many cancelled alarms, clearing them out is not worth a pass


class Alarm:
    """One call that is to be made at a time."""

    __slots__ = ("_alarms", "at", "callback")

    def __init__(self, *, at: float, callback: Callable[[], None], alarms: Alarms) -> None:
        """Made by `Alarms.add`."""
        self.at = at
        self.callback: Callable[[], None] | None = callback
        self._alarms: Alarms | None = alarms

    def cancel(self) -> None:
        """Call it off; without effect when it has rung."""
        if self.callback is None:
            return
        self.callback = None
        if self._alarms is not None:
            self._alarms.forget_one()

    def fall_due(self) -> None:
        """For `Alarms`: it left the heap and is about to ring; until then it can still be called off."""
        self._alarms = None

    def ring(self) -> None:
        """For `Alarms`: make the call, unless it was called off; its error is reported, not raised."""
        callback, self.callback = self.callback, None
        if callback is None:
            return
        try:
            if faults.hit is not None:
                faults.hit("timer:before")
            callback()
            if faults.hit is not None:
                faults.hit("timer:after")
        except Exception as error:  # noqa: BLE001 the alarms behind it must ring
            asyncio.get_running_loop().call_exception_handler(
                {"message": f"alarm {callback!r} failed", "exception": error}
            )


class Alarms:
    """Alarms in loop time. They ring in due order; those due together, in the order they were set.

    One timer of the loop serves all of them, no task serves any. What a callback raises goes to
    the loop's exception handler and keeps no other alarm from ringing.
    """

    __slots__ = ("_added", "_cancelled", "_heap", "_is_closed", "_set_for", "_timer")

    def __init__(self) -> None:
        """No alarm is set."""
        self._heap: list[tuple[float, int, Alarm]] = []
        self._added = 0
        self._cancelled = 0
        self._timer: asyncio.Handle | None = None
        self._set_for = 0.0  # when it rings, while there is one
        self._is_closed = False

    def __len__(self) -> int:
        """The number of alarms that will ring."""
        return len(self._heap) - self._cancelled

    def add(self, at: float, callback: Callable[[], None]) -> Alarm:
        """Call `callback` at loop time `at`; soon, if that has passed. Never from within `add`."""
        assert not self._is_closed, "the alarms were closed"
        alarm = Alarm(at=at, callback=callback, alarms=self)
        self._added += 1
        heappush(self._heap, (at, self._added, alarm))
        if self._timer is None or at < self._set_for:
            self._set_timer()
        return alarm

    def close(self) -> None:
        """Call everything off; none may be added afterwards."""
        self._is_closed = True
        self._heap.clear()
        self._cancelled = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def forget_one(self) -> None:
        """For `Alarm.cancel`: one in the heap will not ring; clear out when half of them won't."""
        if self._is_closed:
            return
        self._cancelled += 1
        if self._cancelled >= _COMPACT_MIN and 2 * self._cancelled > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].callback is not None]
            heapify(self._heap)
            self._cancelled = 0
            self._set_timer()

    def _set_timer(self) -> None:
        """Set the one timer to the earliest alarm."""
        while self._heap and self._heap[0][2].callback is None:
            heappop(self._heap)
            self._cancelled -= 1
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._heap:
            at = self._set_for = self._heap[0][0]
            self._timer = asyncio.get_running_loop().call_at(at, self._ring, at)

    def _ring(self, set_for: float) -> None:
        """Make the calls that are due: all up to now, and by definition those the timer was set for."""
        self._timer = None
        now = max(set_for, asyncio.get_running_loop().time())
        due: list[Alarm] = []
        while self._heap and self._heap[0][0] <= now:
            alarm = heappop(self._heap)[2]
            if alarm.callback is None:
                self._cancelled -= 1
                continue
            alarm.fall_due()
            due.append(alarm)
        for alarm in due:
            alarm.ring()
        if not self._is_closed:
            self._set_timer()
