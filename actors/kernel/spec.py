"""How a child is to be made, restarted and stopped, and who is told of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic, TypeVar

import msgspec

from perdure.actors.kernel.actor import Actor
from perdure.actors.kernel.reports import ChildExit, DeadLetter, Stuck
from perdure.actors.kernel.restart import Backoff, Crash, Restart

INTENSITY: Final = (
    5  # crashes in a row: a poison message is buried at 3, this leaves room for bad luck besides
)
SHUTDOWN_S: Final = 5.0  # as in OTP: long enough for one slow write, short enough for a deploy

M = TypeVar("M")


class ChildSpec(msgspec.Struct, Generic[M], frozen=True, kw_only=True):
    """How a child is made, restarted and stopped.

    `factory` makes one incarnation. More than `intensity` crashes without progress in between are
    too many. At the end it has `shutdown_s` seconds after being asked to stop, then it is
    cancelled. `classify` tells what kind of crash an error is; without it each is transient. Of
    several errors raised together the gravest counts.
    """

    name: str
    factory: Callable[[], Actor[M]]
    restart: Restart = Restart.TRANSIENT
    intensity: int = INTENSITY
    backoff: Backoff = Backoff()
    shutdown_s: float = SHUTDOWN_S
    classify: Callable[[Exception], Crash | None] | None = None


class Listeners(msgspec.Struct, frozen=True, kw_only=True):
    """Who is told what happens to children."""

    on_exit: Callable[[ChildExit], object] | None = None
    on_dead_letter: Callable[[DeadLetter], object] | None = None
    on_stuck: Callable[[Stuck], object] | None = None
