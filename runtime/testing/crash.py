"""Where a crash is to fall: `after:charge:before-commit`, read and checked before anything runs.

Two ways to name a place, either followed by `#N` for the N-th time it is passed (the first if left
out):

    before:STEP                 the body of STEP is about to begin
    after:STEP                  the body of STEP has just ended
    before:STEP:before-commit   the start of STEP is about to be made durable
    before:STEP:after-commit    the start of STEP is durable, its body has not begun
    after:STEP:before-commit    the outcome of an attempt of STEP is about to be made durable
    after:STEP:after-commit     the outcome is durable, and nobody has been told
    commit:before               a fault point of the machine, `FAULT_POINTS` has them all
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

import msgspec

from perdure.runtime.near import nearest
from perdure.store.errors import PerdureError

FAULT_POINTS: Final = tuple(
    f"{operation}:{side}"
    for operation in (
        "commit",
        "publish",
        "spawn",
        "body",
        "timer",
        "mailbox.post",
        "mailbox.take",
        "mailbox.ack",
        "doorbell.ring",
    )
    for side in ("before", "after")
)
SIDES: Final = ("before-commit", "after-commit")
_STEP: Final = re.compile(r"(before|after):(.+?)(?::(before-commit|after-commit))?")


class InvalidCrash(PerdureError, ValueError):
    """No crash can be placed there; the message has the nearest place where one can."""


class CrashPlace(msgspec.Struct, frozen=True, kw_only=True):
    """One place, as it is compared with where the machine is, and the how manieth time counts."""

    place: str
    step: str | None = None
    nth: int = 1

    @property
    def is_in_a_commit(self) -> bool:
        """Whether it is the commit that has the start or the outcome of a certain step in it."""
        return self.step is not None and self.place.endswith("-commit")


def crash_place(spec: str) -> CrashPlace:
    """Read a place. Raises InvalidCrash with the nearest valid one."""
    place, _, count = spec.partition("#")
    if count and not (count.isdecimal() and int(count) > 0):
        raise InvalidCrash(f"crash {spec!r}: after '#' comes how often the place is passed, a number from 1")
    nth = int(count or 1)
    if place in FAULT_POINTS:
        return CrashPlace(place=place, nth=nth)
    found = _STEP.fullmatch(place)
    if found is None:
        near = nearest(place, FAULT_POINTS) or nearest(place.partition(":")[0], ("before", "after"))
        hint = f" (did you mean {near!r}?)" if near in FAULT_POINTS else ""
        raise InvalidCrash(
            f"crash {spec!r} is no place{hint}: name a step, as in 'after:STEP:before-commit', "
            f"or a fault point: {', '.join(FAULT_POINTS)}"
        )
    side = found[2].rpartition(":")[2] if ":" in found[2] else ""
    if side and (near := nearest(side, SIDES)) is not None:
        raise InvalidCrash(f"crash {spec!r}: {side!r} is no side of a commit (did you mean {near!r}?)")
    return CrashPlace(place=place, step=found[2], nth=nth)


def check_steps(specs: Collection[str], steps: Collection[str]) -> None:
    """Raise InvalidCrash for a place at a step that no workflow has."""
    for spec in specs:
        step = crash_place(spec).step
        if step is not None and step not in steps:
            near = nearest(step, steps)
            hint = f"did you mean {near!r}?" if near else f"there are {', '.join(sorted(steps)) or 'none'}"
            raise InvalidCrash(f"crash {spec!r}: no workflow has a step {step!r} ({hint})")
