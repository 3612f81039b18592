"""`perdure runners`: the processes that share the database, what each has, and whether it lives."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final, Literal

import msgspec

from perdure.actors.cluster.membership import this_host
from perdure.runtime.cli.doctor import lives_on
from perdure.runtime.cli.options import Reading
from perdure.runtime.cli.render import ago
from perdure.runtime.cli.session import Session, open_session, run_async
from perdure.runtime.cli.text import Cell
from perdure.store.records import Runner
from perdure.store.sqlite.locks import is_stopped

DEFAULTS: Final = Reading()
HEADS: Final = ("ID", "KIND", "PID", "HOST", "EXECUTIONS", "HEARTBEAT", "SINCE", "STATE")
COLOURS: Final = {"alive": "green", "stopped": "yellow", "dead": "red"}


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """One process on the list."""

    id: str
    kind: str
    pid: int
    host: str
    executions: int
    state: Literal["alive", "stopped", "dead"]
    lease_ms: int
    heartbeat_at: datetime
    started_at: datetime


def runners(*, options: Reading = DEFAULTS) -> int:
    """List the processes that share the database.

    Looking joins nobody and changes nothing: it works while the database is locked, too. What a dead
    one has is taken over at once, and what a stopped one has within two leases, by any other that
    performs work. A heartbeat is renewed only by those that own executions, in company.
    """
    session = open_session(options)

    async def main() -> int:
        async with session.looking() as store:
            found, held = await store.runners(), await store.held()
        _show(session, _listed(session, found, held))
        return 0

    return run_async(main)


def _listed(session: Session, found: list[Runner], held: Mapping[int, int]) -> list[Listed]:
    lives = lives_on(session.settings.db)
    return [
        Listed(
            id=runner.id,
            kind=runner.kind,
            pid=runner.pid,
            host=runner.host,
            executions=held.get(runner.no, 0),
            state=_state(runner, is_alive=lives(runner)),
            lease_ms=runner.lease_ms,
            heartbeat_at=runner.heartbeat_at,
            started_at=runner.started_at,
        )
        for runner in found
    ]


def _state(runner: Runner, *, is_alive: bool) -> Literal["alive", "stopped", "dead"]:
    if not is_alive:
        return "dead"
    if runner.host == this_host() and is_stopped(runner.pid):
        return "stopped"
    return "alive"


def _show(session: Session, listed: list[Listed]) -> None:
    if session.out.format != "table":
        session.out.records(listed)
        return
    now = session.now()
    rows = [
        (
            each.id,
            each.kind,
            str(each.pid),
            each.host,
            str(each.executions),
            ago(each.heartbeat_at, now=now),
            ago(each.started_at, now=now),
            Cell(each.state, COLOURS[each.state]),
        )
        for each in listed
    ]
    session.out.table(HEADS, rows)
