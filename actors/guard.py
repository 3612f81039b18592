"""What guards an agent: how many of its steps may run at once, how often one may begin, its circuit."""

from __future__ import annotations

import msgspec

from perdure.actors.circuit import CircuitPolicy
from perdure.store.guards import Rate


class Guard(msgspec.Struct, frozen=True, kw_only=True):
    """What all steps of one agent, of whatever execution in whatever runner, have to pass."""

    scope: str
    concurrency: int | None = None
    rate: Rate | None = None
    circuit: CircuitPolicy | None = None
