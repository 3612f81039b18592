"""What guards agents, and how that stands in the database, for `perdure agents`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from perdure.runtime.cli.render import ago
from perdure.runtime.cli.session import Session, run_async
from perdure.runtime.cli.text import Cell

if TYPE_CHECKING:
    from perdure.actors.instructions.guard import Guard
    from perdure.store.records import SharedGuard


def stands(session: Session) -> dict[str, SharedGuard]:
    """What the database knows of agents by their names; nothing where there is none."""
    from perdure.store.errors import PerdureError

    found: dict[str, SharedGuard] = {}

    async def main() -> int:
        try:
            async with session.looking() as store:
                found.update({shared.scope: shared for shared in await store.guards()})
        except PerdureError:
            pass  # it is the agents that were asked for
        return 0

    run_async(main)
    return found


def guards_of(guard: Guard | None, shared: SharedGuard | None) -> dict[str, Any] | None:
    """What guards one agent, as plain values, and how that stands."""
    if guard is None:
        return None
    return {
        "max_concurrency": guard.concurrency,
        "rate": None if guard.rate is None else msgspec.to_builtins(guard.rate),
        "circuit_breaker": None if guard.circuit is None else msgspec.to_builtins(guard.circuit),
        "running": 0 if shared is None else shared.slots_taken,
        "circuit": None if shared is None else shared.circuit,
    }


def shown_guard(guard: dict[str, Any] | None, *, now: datetime) -> Cell | str:
    """The limits of one agent in a few words; an open circuit stands out."""
    if guard is None:
        return "–"
    parts = []
    if guard["max_concurrency"] is not None:
        running = f"{guard['running']} of " if guard["running"] else ""
        parts.append(f"{running}{guard['max_concurrency']} at once")
    if guard["rate"] is not None:
        parts.append(f"{guard['rate']['count']}/{_period(guard['rate']['period_ms'])}")
    if guard["circuit_breaker"] is None:
        return ", ".join(parts)
    circuit = guard["circuit"]
    if circuit is None or circuit["state"] == "closed":
        return ", ".join([*parts, "breaker"])
    opened = "" if circuit["opened_at"] is None else f", {_when(circuit['opened_at'], now)}"
    why = f"{circuit['state'].replace('_', ' ')}: {circuit['reason'] or 'a probe is under way'}{opened}"
    return Cell(", ".join([*parts, why]), "red" if circuit["state"] == "open" else "yellow")


def _when(ms: int, now: datetime) -> str:
    return ago(datetime.fromtimestamp(ms / 1000, UTC), now=now)


def _period(ms: int) -> str:
    units = (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000), ("ms", 1))
    unit, size = next(each for each in units if ms % each[1] == 0)
    return unit if ms == size else f"{ms // size}{unit}"
