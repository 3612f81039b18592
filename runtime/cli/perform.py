"""Commands that may make this process the one that performs: resume and retry."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from perdure.actors.messages import Resume, Retry
from perdure.runtime.cli.below import tell_of_children
from perdure.runtime.cli.control import give, show_standing
from perdure.runtime.cli.exit_codes import Exit
from perdure.runtime.cli.many import Ask, to_chosen
from perdure.runtime.cli.options import (
    Choosing,
    Flag,
    Inputs,
    Performing,
    UsageError,
    read_budget,
    read_inputs,
    read_json,
    read_moment,
    typed_inputs,
)
from perdure.runtime.cli.session import Session, open_session, run_async

if TYPE_CHECKING:
    from perdure.runtime import Execution, Runtime
    from perdure.store.records import Runner

DEFAULTS = Performing()
CHOOSING = Choosing()


def resume(
    id: str | None = None,
    /,
    *,
    data: str | None = None,
    from_: str | None = None,
    version: str | None = None,
    at: str | None = None,
    when: str | None = None,
    budget: str | None = None,
    by: str | None = None,
    choosing: Choosing = CHOOSING,
    options: Performing = DEFAULTS,
) -> int:
    """Go on from the log; recorded steps never run again.

    A process that runs the execution is told to go on. Where there is none, this one performs it.

    Args:
        id: Execution: its id, a unique beginning of it, @last or NAME@last; or --where.
        data: Merged into the context first: a JSON object, or @FILE, or - for stdin.
        from_: Go back to a checkpoint first: its label or version.
        at: Only then: a time such as 2026-03-01T09:00+01:00, or in so long, such as 2h.
        when: Only when that CEL rule holds, asked as signals come: 'signal.name == "go"'.
        version: Go on as an execution of that version of its workflow, if what is done fits into it.
        budget: What it may use in all from now on: cost=NUMBER, tokens=NUMBER or both with a comma.
        by: Who asks.
    """
    limits, moment = read_budget(budget), None if at is None else read_moment(at, what="--at")
    if limits is not None and (at is not None or when is not None):
        raise UsageError("--budget: is given when it goes on, and not with --at or --when")
    patch = None if data is None else read_json(data, what="--data")
    if patch is not None and not isinstance(patch, dict):
        raise UsageError("--data: must be a JSON object: it is merged into the context")

    async def go_on(execution: Execution) -> Any:
        if from_ is not None:
            await execution.restore(int(from_) if from_.isdecimal() else from_, by=by)
        if version is not None:
            await execution.migrate(version, by=by)
        if moment is not None or when is not None:
            return await execution.resume_later(at=moment, when=when, data=patch, by=by)
        return await execution.resume(data=patch, budget=limits, by=by)

    session = open_session(options)
    alone = _perform if moment is None and when is None else give
    return to_chosen(
        session, id, go_on, choosing=choosing, command=Resume, alone=alone, timeout=options.timeout
    )


def retry(
    id: str | None = None,
    /,
    *,
    from_: str | None = None,
    only: Flag = False,
    with_downstream: Flag = False,
    input: Inputs = (),
    budget: str | None = None,
    by: str | None = None,
    choosing: Choosing = CHOOSING,
    options: Performing = DEFAULTS,
) -> int:
    """Reopen a failed or cancelled execution: what failed, was cancelled or skipped runs again.

    perdure retry @last --from build -i branch=main
    perdure retry --where 'state=failed workflow=review last=7d' --dry-run

    Args:
        id: Execution: its id, a unique beginning of it, @last or NAME@last; or --where.
        from_: Also run this step again, anew, and all that depends on it.
        only: Of what has completed, run that step again alone.
        with_downstream: Also run again what completed downstream of something that runs again.
        input: One input to change first, as NAME=VALUE; repeatable. A value is read as `run` does.
        budget: What it may use in all from now on: cost=NUMBER, tokens=NUMBER or both with a comma.
        by: Who asks.
    """
    read_inputs(None, input)  # what cannot be read is told before anything is looked up
    limits = read_budget(budget)

    async def try_again(execution: Execution) -> Any:
        data = typed_inputs(input, await execution.declared_inputs()) if input else None
        return await execution.retry(
            from_step=from_, only=only, with_downstream=with_downstream, data=data, budget=limits, by=by
        )

    session = open_session(options)
    return to_chosen(
        session, id, try_again, choosing=choosing, command=Retry, alone=_perform, timeout=options.timeout
    )


def _perform(
    session: Session,
    prefix: str,
    ask: Ask,
    *,
    timeout: float | None,
) -> int:
    """Ask the execution with its agents at hand; attend to it where it then runs in this process.

    Where nobody has it and a worker, or a program with a runtime, is alive, the work is left to that.
    """

    async def main() -> int:
        from perdure.runtime.cli.attend import attend
        from perdure.runtime.cli.webhooks import tell_undelivered

        async with session.runtime("client") as runtime:
            id_ = await runtime.find(prefix)
            stored = await runtime.store.execution(id_)
            if stored and stored.runner is None and await runtime.has_worker():
                execution = await runtime.execution(id_)
                await ask(execution)
                await runtime.ring_workers()
                session.note("a process that runs on this database takes it up")
                await show_standing(execution, session=session)
                await tell_of_children(execution, runtime=runtime, session=session)
                return Exit.DONE
        agents = session.agents(session.agents_argument or (stored.agents if stored else None))
        async with session.runtime("run", agents=agents) as runtime:
            execution = await runtime.execution(id_)
            seen = [event.id async for event in execution.events(follow=False)]
            await ask(execution)
            if await _is_elsewhere(runtime, id_):
                await show_standing(execution, session=session)
                await tell_of_children(execution, runtime=runtime, session=session)
                return Exit.DONE
            code = await attend(
                execution, session=session, runtime=runtime, timeout=timeout, after=max(seen, default=0)
            )
        await tell_undelivered(session, id_)
        return code

    return run_async(main, is_fast=True)


async def _is_elsewhere(runtime: Runtime, execution_id: str) -> bool:
    """Whether another process performs the execution now."""
    owner = await _owner(runtime, execution_id)
    return owner is not None and not _is_us(owner)


async def _owner(runtime: Runtime, execution_id: str) -> Runner | None:
    execution = await runtime.store.execution(execution_id)
    runners = await runtime.store.runners()
    return next((each for each in runners if execution is not None and each.id == execution.runner), None)


def _is_us(runner: Runner) -> bool:
    from perdure.actors.cluster.membership import this_host

    return (runner.pid, runner.host) == (os.getpid(), this_host())
