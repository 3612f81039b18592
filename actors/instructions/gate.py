"""A gate: criteria that must all hold before an execution goes on, as a compiler declares it."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from perdure.actors.instructions.plan import Values


class OnNo(StrEnum):
    """What becomes of an execution whose gate is closed."""

    FAIL = "fail"  # the step fails
    PAUSE = "pause"  # it rests, and the gate is judged again when it is resumed
    COMPENSATE = "compensate"  # the step fails, and what was done is undone


class Criterion(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that must hold. `holds` is pure; anything but True or False fails the step.

    `written` is what people see of it, `reason` is what it means to them that it does not hold.
    """

    holds: Callable[[Values], Any]
    written: str
    reason: str


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """All of them, and what a no leads to."""

    criteria: tuple[Criterion, ...]
    on_no: OnNo = OnNo.FAIL
