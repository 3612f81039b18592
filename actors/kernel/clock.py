"""Where the time of day comes from, and how a virtual one is held."""

from __future__ import annotations

import asyncio
import time
from types import TracebackType
from typing import Protocol


class Clock(Protocol):
    """Tells the time of day."""

    def now(self) -> float:
        """Seconds since 1970-01-01 UTC."""
        ...


class SystemClock:
    """The clock of the machine; it may jump when somebody sets it."""

    def now(self) -> float:
        """Seconds since 1970-01-01 UTC, as the operating system has it."""
        return time.time()


class LoopClock:
    """A clock that runs with the event loop: `epoch` plus the loop's own time.

    Under a virtual loop it is the virtual time of day.
    """

    __slots__ = ("_epoch",)

    def __init__(self, epoch: float) -> None:
        """`epoch` is the time of day at which the loop's time is zero."""
        self._epoch = epoch

    def now(self) -> float:
        """Seconds since 1970-01-01 UTC, by the running loop."""
        return self._epoch + asyncio.get_running_loop().time()


class HoldableLoop:
    """What a loop with virtual time has in common with `outside`: the calls it must wait for."""

    outside_calls: int = 0


class outside:  # noqa: N801 reads as the statement it is: `with outside():`
    """Hold the virtual clock: something outside the loop, a thread or a process, is at work.

    Around every wait for a thread that a test may run under virtual time; elsewhere it does
    nothing.
    """

    __slots__ = ("_loop",)

    def __enter__(self) -> None:
        """From here on time does not pass on its own."""
        loop = asyncio.get_running_loop()
        self._loop = loop if isinstance(loop, HoldableLoop) else None
        if self._loop is not None:
            self._loop.outside_calls += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """The call came back."""
        if self._loop is not None:
            self._loop.outside_calls -= 1
