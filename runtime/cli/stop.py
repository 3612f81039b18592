"""Commands that stop an execution for good, and see its hooks and compensations through."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
from cyclopts import Parameter

from perdure.actors.messages import Cancel, Rollback
from perdure.runtime.cli.control import show_standing
from perdure.runtime.cli.exit_codes import Exit
from perdure.runtime.cli.many import Ask, to_chosen
from perdure.runtime.cli.options import Choosing, Flag, Reading, Seconds, UsageError
from perdure.runtime.cli.session import Session, open_session, run_async
from perdure.runtime.cli.webhooks import tell_undelivered
from perdure.store.states import State

if TYPE_CHECKING:
    from perdure.runtime import Execution, Runtime
    from perdure.store import records


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Stopping:
    """What commands that stop executions understand."""

    reason: str | None = None
    """Why; kept with the execution."""
    by: str | None = None
    """Who asks."""
    agents: str | None = None
    """Where the agents of hooks and compensations come from, if no process is there that has them."""
    timeout: Seconds = None
    """Stop waiting after that many seconds (code 124); the request stands."""


DEFAULTS = Reading()
CHOOSING = Choosing()
STOPPING = Stopping()
UNDER_WAY = frozenset({State.CANCELLING, State.COMPENSATING})


def cancel(
    id: str | None = None,
    /,
    *,
    compensate: Flag = False,
    stopping: Stopping = STOPPING,
    choosing: Choosing = CHOOSING,
    options: Reading = DEFAULTS,
) -> int:
    """Stop an execution for good.

    Args:
        id: Execution: its id, a unique beginning of it, @last or NAME@last; or --where.
        compensate: Undo what it has done, too, as `rollback` does.
    """
    session = _opened(options, stopping, choosing)

    async def ask(execution: Execution) -> Any:
        return await execution.cancel(reason=stopping.reason, compensate=compensate, by=stopping.by)

    return to_chosen(
        session, id, ask, choosing=choosing, command=Cancel, alone=_stop, timeout=stopping.timeout
    )


def rollback(
    id: str | None = None,
    /,
    *,
    stopping: Stopping = STOPPING,
    choosing: Choosing = CHOOSING,
    options: Reading = DEFAULTS,
) -> int:
    """Stop an execution and undo what it has done: compensations run, last things first.

    perdure rollback @last --reason "the customer withdrew"

    Also the past of one that has ended can be undone. What could not be undone is named; `retry`, or
    another rollback, goes on with it.

    Args:
        id: Execution: its id, a unique beginning of it, @last or NAME@last; or --where.
    """
    session = _opened(options, stopping, choosing)

    async def ask(execution: Execution) -> Any:
        return await execution.rollback(stopping.reason, by=stopping.by)

    undo = partial(_stop, wanted=State.ROLLED_BACK)
    return to_chosen(
        session, id, ask, choosing=choosing, command=Rollback, alone=undo, timeout=stopping.timeout
    )


def _opened(options: Reading, stopping: Stopping, choosing: Choosing) -> Session:
    """A session with the agents that were named. Raises UsageError where they would be of no use."""
    if stopping.agents is not None and choosing.where is not None:
        raise UsageError(
            "--agents: only with an ID; with --where, `perdure worker --agents ...` performs what is left"
        )
    return open_session(options, agents=stopping.agents)


def _stop(
    session: Session, prefix: str, ask: Ask, *, timeout: float | None, wanted: State | None = None
) -> int:
    """Ask; what is then left to be performed is performed here, if no other process is there for it."""

    async def main() -> int:
        id_ = prefix  # another execution may be the last one by the end
        with anyio.move_on_after(timeout) as scope:
            async with session.runtime("client") as runtime:
                id_ = await runtime.find(prefix)
                await ask(await runtime.execution(id_))
                left = await _left(session, runtime, id_)
            if left is not None:
                registry = session.agents(session.agents_argument or left.agents)
                async with session.runtime("run", agents=registry) as runtime:
                    await ask(await runtime.execution(id_))
                await tell_undelivered(session, id_)
        waited = timeout if scope.cancelled_caught else None
        return await _tell(session, id_, wanted=wanted, timeout=waited)

    return run_async(main)


async def _left(session: Session, runtime: Runtime, id_: str) -> records.Execution | None:
    """The execution, if it has something left to do and nobody is there who does it."""
    stored = await runtime.store.execution(id_)
    if stored is None or stored.state not in UNDER_WAY or stored.runner is not None:
        return None
    if await runtime.has_worker():
        await runtime.ring_workers()
        session.note("a process that runs on this database goes on with it")
        return None
    return stored


async def _tell(session: Session, prefix: str, *, wanted: State | None, timeout: float | None) -> int:
    """Print where the execution stands now."""
    async with session.runtime("client") as runtime:
        execution = await runtime.execution(await runtime.find(prefix))
        await show_standing(execution, session=session)
        summary = await execution.status()
    if timeout is not None:
        session.note(f"no answer within {timeout:g} s; what was asked is recorded and stands")
        return Exit.TIMEOUT
    if summary.state is State.FAILED and summary.error is not None:
        session.note(f"{summary.error.type}: {summary.error.message}")
    if wanted is None or summary.state is wanted:
        return Exit.DONE
    return Exit.FAILED if summary.state is State.FAILED else Exit.PAUSED
