"""What runners share about an agent: slots that steps hold, a rate that lets them through, its circuit.

A slot is a row, never a count: it belongs to the runner that holds it, and goes when that is taken off
the list. A rate is one moment per guard, the one at which it would be idle again (the generic cell rate
algorithm: a token bucket that keeps no tokens). A circuit moves by compare-and-swap; what it means is
nothing to the store.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from perdure.store.errors import Conflict
from perdure.store.records import SharedGuard
from perdure.store.script import Script
from perdure.store.writes import Write

# Whoever writes the row first holds it to the end of the transaction: of several who come at once each
# sees what those before have taken.
COME_TO_GUARD: Final = """
INSERT INTO workflow_guards (scope, updated_at) VALUES (?, ?)
ON CONFLICT (scope) DO UPDATE SET updated_at = excluded.updated_at
"""
COUNT_SLOTS: Final = "SELECT count(*) FROM workflow_slots WHERE scope = ? AND holder <> ?"
TAKE_SLOT: Final = """
INSERT INTO workflow_slots (scope, holder, runner_no, taken_at) VALUES (?, ?, ?, ?)
ON CONFLICT (scope, holder) DO UPDATE SET runner_no = excluded.runner_no
"""
LEAVE_SLOT: Final = "DELETE FROM workflow_slots WHERE scope = ? AND holder = ? AND runner_no = ?"
GUARD: Final = """
SELECT g.scope, g.ready_at_us, g.circuit_version, g.circuit,
       (SELECT count(*) FROM workflow_slots s WHERE s.scope = g.scope)
FROM workflow_guards g
"""


class Rate(msgspec.Struct, frozen=True, kw_only=True):
    """So many in a period (ms), and as many at once after a rest."""

    count: int
    period_ms: int

    @property
    def interval_us(self) -> int:
        """The time between two of them when they come evenly."""
        return max(1, self.period_ms * 1_000 // self.count)


class PassGuard(Write, frozen=True, kw_only=True):
    """Let a step through if a slot is free and the rate allows it. Answers `Entered`.

    The same holder twice holds one slot.
    """

    scope: str
    holder: str
    runner_no: int
    slots: int | None
    rate: Rate | None
    at: int


class LeaveGuard(Write, frozen=True, kw_only=True):
    """Give a slot back; one that is not held, or that another runner holds by now, stays as it is."""

    scope: str
    holder: str
    runner_no: int


class MoveCircuit(Write, frozen=True, kw_only=True):
    """Replace a circuit by compare-and-swap; version 0 is one nobody has written. Answers the new version.

    Refused with Conflict when somebody was faster.
    """

    scope: str
    version: int
    circuit: bytes
    at: int


class Entered(msgspec.Struct, frozen=True):
    """What holds a step back, None where it was let in; and when to ask again, where that is known."""

    held_by: str | None = None
    retry_at: int | None = None


def enter(write: PassGuard) -> Script[Entered]:
    """Look at the slots and the rate; take of both or of neither."""
    yield COME_TO_GUARD, (write.scope, write.at)
    if write.slots is not None:
        (taken,) = (yield COUNT_SLOTS, (write.scope, write.holder)).fetchone()
        if taken >= write.slots:
            return Entered("concurrency")
    if write.rate is not None:
        retry_at = yield from _pass_rate(write.scope, write.rate, write.at)
        if retry_at is not None:
            return Entered("rate", retry_at)
    if write.slots is not None:
        yield TAKE_SLOT, (write.scope, write.holder, write.runner_no, write.at)
    return Entered()


def _pass_rate(scope: str, rate: Rate, at: int) -> Script[int | None]:
    """Take one of the rate; else say when (ms) there will be one."""
    row = (yield "SELECT ready_at_us FROM workflow_guards WHERE scope = ?", (scope,)).fetchone()
    ready_us: int = row[0]
    now_us, interval_us = at * 1_000, rate.interval_us
    allowed_us = ready_us - interval_us * (rate.count - 1)
    if now_us < allowed_us:
        return -(-allowed_us // 1_000)
    ready_us = max(now_us, ready_us) + interval_us
    yield "UPDATE workflow_guards SET ready_at_us = ? WHERE scope = ?", (ready_us, scope)
    return None


def leave(write: LeaveGuard) -> Script[None]:
    """Give the slot back."""
    yield LEAVE_SLOT, (write.scope, write.holder, write.runner_no)


def move_circuit(write: MoveCircuit) -> Script[int]:
    """Replace the circuit, unless somebody was faster."""
    yield COME_TO_GUARD, (write.scope, write.at)
    moved = yield (
        "UPDATE workflow_guards SET circuit = ?, circuit_version = ? WHERE scope = ? AND circuit_version = ?",
        (write.circuit.decode(), write.version + 1, write.scope, write.version),
    )
    if moved.rowcount == 0:
        row = (yield "SELECT circuit_version FROM workflow_guards WHERE scope = ?", (write.scope,)).fetchone()
        raise Conflict(write.scope, expected=write.version, current=row[0])
    return write.version + 1


def guard(scope: str) -> Script[SharedGuard | None]:
    """One guard, or None where nobody has come to it."""
    row = (yield GUARD + "WHERE g.scope = ?", (scope,)).fetchone()
    return None if row is None else _guarded(row)


def guards() -> Script[list[SharedGuard]]:
    """All of them, by scope."""
    return list(map(_guarded, (yield GUARD + "ORDER BY g.scope", ())))


def _guarded(row: tuple[Any, ...]) -> SharedGuard:
    return SharedGuard(
        scope=row[0],
        ready_at_us=row[1],
        circuit_version=row[2],
        circuit=None if row[3] is None else msgspec.json.decode(row[3]),
        slots_taken=row[4],
    )
