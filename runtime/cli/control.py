"""Commands to an execution wherever it runs: pause, signal, checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio

from perdure.actors.messages import Pause
from perdure.runtime.cli.exit_codes import Exit
from perdure.runtime.cli.many import Ask, to_chosen
from perdure.runtime.cli.options import Choosing, Flag, Reading, Seconds, read_json
from perdure.runtime.cli.session import Session, open_session, run_async
from perdure.store.states import State

if TYPE_CHECKING:
    from perdure.runtime import Execution

DEFAULTS = Reading()
CHOOSING = Choosing()


def pause(
    id: str | None = None,
    /,
    *,
    interrupt: Flag = False,
    reason: str | None = None,
    by: str | None = None,
    timeout: Seconds = None,
    choosing: Choosing = CHOOSING,
    options: Reading = DEFAULTS,
) -> int:
    """Bring an execution to rest, durably, and wait until it is.

    perdure pause --where 'status=running workflow=review' --dry-run

    Steps in flight finish and nothing new starts. An execution whose last step finishes meanwhile
    ends completed.

    Args:
        id: Execution: its id, a unique beginning of it, @last or NAME@last; or --where.
        interrupt: Cancel the steps in flight instead; they start again on resume, no attempt used up.
        reason: Why; shown with the execution.
        by: Who asks.
        timeout: Stop waiting after that many seconds (code 124); the request stands.
    """
    mode = "interrupt" if interrupt else "drain"
    session = open_session(options)

    async def ask(execution: Execution) -> Any:
        return await execution.pause(mode=mode, reason=reason, by=by)

    return to_chosen(session, id, ask, choosing=choosing, command=Pause, alone=give, timeout=timeout)


def signal(
    id: str,
    name: str,
    /,
    *,
    data: str | None = None,
    by: str | None = None,
    timeout: Seconds = None,
    options: Reading = DEFAULTS,
) -> int:
    """Send a named message to an execution.

    Args:
        id: Execution: its id, a unique beginning of it, @last or NAME@last.
        name: Name of the signal.
        data: Its payload as JSON, or @FILE, or - for stdin.
        by: Who sends it.
        timeout: Stop waiting after that many seconds (code 124); the signal stands.
    """
    session = open_session(options)
    payload = None if data is None else read_json(data, what="--data")
    return give(session, id, lambda execution: execution.signal(name, payload, by=by), timeout=timeout)


def checkpoint(
    id: str,
    /,
    *,
    label: str | None = None,
    by: str | None = None,
    timeout: Seconds = None,
    options: Reading = DEFAULTS,
) -> int:
    """Name the current position of an execution's log, to restore it later.

    Args:
        id: Execution: its id, a unique beginning of it, @last or NAME@last.
        label: Name of the checkpoint.
        by: Who asks.
        timeout: Stop waiting after that many seconds (code 124); the request stands.
    """
    session = open_session(options)
    return give(session, id, lambda execution: execution.checkpoint(label=label, by=by), timeout=timeout)


def give(
    session: Session, prefix: str, ask: Ask, *, timeout: float | None, tell_more: Ask | None = None
) -> int:
    """Find the execution, give it a command, print how it stands then, and what `tell_more` adds."""

    async def main() -> int:
        async with session.runtime("client") as runtime:
            execution = await runtime.execution(await runtime.find(prefix))
            with anyio.move_on_after(timeout) as scope:
                await ask(execution)
            await show_standing(execution, session=session)
            if tell_more is not None:
                await tell_more(execution)
        if scope.cancelled_caught:
            session.note(f"no answer within {timeout:g} s; what was asked is recorded and stands")
            return Exit.TIMEOUT
        return Exit.DONE

    return run_async(main)


async def show_standing(execution: Execution, *, session: Session) -> None:
    """Print where an execution stands: one line for people, its record for programs."""
    summary = await execution.status()
    if session.out.format != "table":
        session.out.json(summary)
        return
    session.out.write(f"{session.out.paint(session.out.word(str(summary.state)))}  {summary.id}\n")
    if summary.state is State.PAUSED and summary.pause_reason:
        session.note(f"paused by {summary.paused_by or 'somebody'}: {summary.pause_reason}")
