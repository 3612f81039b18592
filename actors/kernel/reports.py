"""What is told about the ends of actors and the messages they left."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import StrEnum
from typing import Any, TypeVar

import msgspec

from perdure.actors.kernel.restart import Crash, Verdict

N = TypeVar("N")


class Reason(StrEnum):
    """Why an actor is no more."""

    FINISHED = "finished"  # its run() returned
    STOPPED = "stopped"  # it was asked to stop
    CANCELLED = "cancelled"  # it did not stop in time, or its task was cancelled
    CRASHED = "crashed"  # and is not to be restarted
    QUARANTINED = "quarantined"  # crashes too often, or would crash the same way again
    LOST = "lost"  # belongs to somebody else now
    ESCALATED = "escalated"  # took its supervisor down with it


class Down(msgspec.Struct, frozen=True, kw_only=True):
    """The one notice a watcher gets: the actor is no more. `error` is what it ended of, if any."""

    name: str
    reason: Reason
    error: BaseException | None = None


class ChildExit(msgspec.Struct, frozen=True, kw_only=True):
    """One incarnation of a child ended. Told for every end, so also for those that are followed by a restart.

    `crash` is None when it returned or was asked to stop. `crashes` counts those since its last
    progress; `left_behind` the messages that will not be read by anybody.
    """

    name: str
    incarnation: int
    crash: Crash | None
    error: BaseException | None
    verdict: Verdict
    crashes: int
    left_behind: int = 0


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A message that crashed its receiver too often; `error` is the last crash."""

    name: str
    message: Any
    control: bool
    crashes: int
    error: BaseException | None


class Stuck(msgspec.Struct, frozen=True, kw_only=True):
    """A child was cancelled and does not end: it swallows cancellation or waits under a shield."""

    name: str
    waited_s: float
    stack: str


def notify(listener: Callable[[N], object] | None, notice: N) -> None:
    """Tell a listener, if there is one; what it raises goes to the loop's exception handler."""
    if listener is None:
        return
    try:
        listener(notice)
    except Exception as error:  # noqa: BLE001 a listener must not change the fate of what it listens to
        asyncio.get_running_loop().call_exception_handler(
            {"message": f"{listener!r} failed on {notice!r}", "exception": error}
        )
