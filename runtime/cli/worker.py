"""`perdure worker`: performs what the database holds and this process can perform, until stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio

from perdure.actors.cluster.membership import is_alive
from perdure.runtime.cli.options import Common, Seconds
from perdure.runtime.cli.session import Session, open_session, run_async

if TYPE_CHECKING:
    from perdure.runtime import Runtime

DEFAULTS = Common()
LOOK_AGAIN_S: Final = 5.0  # how often a worker that may leave looks whether there is work
SOON_S: Final = 3_600.0  # what sleeps no longer than this is worth staying for: nobody else may wake it
DETACHED_IDLE_S: Final = 60.0  # a worker that nobody watches leaves when it has nothing to do


def worker(
    *,
    agents: str | None = None,
    idle_exit: Seconds = None,
    options: Common = DEFAULTS,
) -> int:
    """Perform everything in the database that can be performed here, until stopped.

    Ctrl-C or SIGTERM stops it in good order: what is in flight is interrupted and goes on in the
    next worker, no attempt used up. A second one leaves at once.

    Args:
        agents: Where agents come from: module:registry or path/to/file.py:registry (PERDURE_AGENTS).
        idle_exit: Leave after that many seconds without anything to do here: nothing that this process
            can perform is unfinished, or only waits, for a signal or for longer than an hour.
    """
    session = open_session(options, agents=agents, log_level="info")
    return run_async(lambda: _serve(session, idle_exit), is_fast=True)


async def _serve(session: Session, idle_exit: float | None) -> int:
    async with session.runtime("worker", agents=session.agents(), must_exist=False) as runtime:
        session.note(f"worker on {runtime.store.location}; Ctrl-C stops it")
        async with anyio.create_task_group() as group:
            group.start_soon(_stop_on_signal, group.cancel_scope, session)
            if idle_exit is not None:
                group.start_soon(_stop_when_idle, group.cancel_scope, runtime, idle_exit)
            await runtime.serve()
    return 0


async def _stop_on_signal(scope: anyio.CancelScope, session: Session) -> None:
    from perdure.runtime.cli.attend import leave_at_once, terminations

    with anyio.open_signal_receiver(signal.SIGINT, *terminations()) as signals:
        presses = 0
        async for _ in signals:
            presses += 1
            if presses > 1:
                leave_at_once()
            session.note("stopping; again leaves at once")
            scope.cancel()


async def _stop_when_idle(scope: anyio.CancelScope, runtime: Runtime, idle_exit: float) -> None:
    """Cancel `scope` once there has been nothing to do here for `idle_exit` seconds."""
    never = anyio.Event()
    idle_since: float | None = None
    while True:
        now = anyio.current_time()
        if not await runtime.machine.recovery.has_work(within_s=max(SOON_S, idle_exit)):
            idle_since = now if idle_since is None else idle_since
            if now - idle_since >= idle_exit:
                scope.cancel()
        else:
            idle_since = None
        with anyio.move_on_after(min(LOOK_AGAIN_S, idle_exit)):
            await never.wait()


async def ensure_worker(runtime: Runtime, *, session: Session) -> int | None:
    """Start a worker in the background unless one is alive; the new one's process id, else None."""
    for runner in await runtime.store.runners():
        if runner.kind == "worker" and is_alive(runner):
            return None
    return start_worker(session)


def start_worker(session: Session, *, agents: str | None = None) -> int:
    """Start a worker that outlives this process, its words in a file beside the database.

    `agents` are those of what it is to perform, where the session names none.
    """
    command = [sys.executable, "-m", "perdure.runtime.cli", "worker", "--idle-exit", str(DETACHED_IDLE_S)]
    db = session.settings.db
    place = db if "://" in db else str(Path(db).resolve())
    # No argument: everybody may read those, and a URL has a password in it.
    variables = os.environ | {"PERDURE_DB": place}
    if session.settings.agents or agents:
        command += ["--agents", session.settings.agents or agents or ""]
    log = Path("perdure.worker.log" if "://" in db else f"{db}.worker.log")
    with log.open("ab") as words:
        started = subprocess.Popen(  # noqa: S603 - our own interpreter on our own module
            command,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=words,
            stderr=words,
            start_new_session=True,
        )
    return started.pid
