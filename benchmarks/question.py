"""What a benchmark asks: its figures, the cases it is asked for, and what is to be reached."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Final

import msgspec

OURS: Final = "perdure"
HOSTED: Final = "perdure, hosted"  # in a process of its own, as `perdure worker` sets one up


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One number that a round yields."""

    name: str  # ends with its unit: ms_per_step, steps_per_s
    unit: str
    more_is_better: bool = False
    is_speed: bool = True  # a count or a size has no share of the floor's speed


class Effort(IntEnum):
    """How long a case takes."""

    QUICK = 1  # seconds
    LONG = 2  # a minute or so
    HUGE = 3  # many minutes


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One size at which a question is asked."""

    name: str
    size: int
    rounds: int = 5
    effort: Effort = Effort.QUICK
    reach: Mapping[str, float] = {}  # figure → value worth reaching on a quiet machine of two cores


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """One question. Its module has a coroutine function for each contender that answers it."""

    code: str
    title: str
    figures: tuple[Figure, ...]
    cases: tuple[Case, ...]
    contenders: tuple[str, ...] = ("floor", "perdure")
    durabilities: tuple[str, ...] = ("power", "process")
    asks_servers: bool = False  # whether `--store postgres` lets the runtime answer over a server, too
    needs: tuple[str, ...] = ()  # environment variables without which it cannot be asked
