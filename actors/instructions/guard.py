"""What guards an agent: how many of its steps may run at once, how often one may begin, its circuit."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from perdure.store.scripts.guards import Rate


class OnOpen(StrEnum):
    """What becomes of a step whose agent's circuit is open."""

    WAIT = "wait"  # no task: a row, and a time at which it asks again
    FAIL = "fail"  # the attempt fails at once


class CircuitPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """When a circuit opens, and how it closes again."""

    errors: int = 5
    window_ms: int = 60_000
    latency_ms: int | None = None
    cooldown_ms: int = 30_000
    probes: int = 1
    on_open: OnOpen = OnOpen.WAIT


class Guard(msgspec.Struct, frozen=True, kw_only=True):
    """What all steps of one agent, of whatever execution in whatever runner, have to pass."""

    scope: str
    concurrency: int | None = None
    rate: Rate | None = None
    circuit: CircuitPolicy | None = None
