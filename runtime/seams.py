"""Where the outside world comes in: the clock, chance and new ids. Tests put others in their place."""

from __future__ import annotations

import random
from collections.abc import Callable

import msgspec
import uuid_utils

from perdure.actors.kernel import Clock, SystemClock
from perdure.runtime.webhooks.posting import Post, post


class Seams(msgspec.Struct, frozen=True, kw_only=True):
    """What a runtime takes from the world. `chance` is from [0, 1); `new_id` never repeats.

    `patience` is how many times as long as usual the safety nets wait that look for what nobody has
    told: in a test where a year passes in a second they would be most of the work.
    """

    clock: Clock
    chance: Callable[[], float]
    new_id: Callable[[], str]
    patience: float = 1.0
    post: Post = post

    def now_ms(self) -> int:
        """Wall time in ms since 1970."""
        return int(self.clock.now() * 1000)


def new_id() -> str:
    """A UUIDv7: unique without asking anybody, and in the order of time."""
    return str(uuid_utils.uuid7())


def system_seams() -> Seams:
    """The real world."""
    return Seams(clock=SystemClock(), chance=random.random, new_id=new_id)
