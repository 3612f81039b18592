"""Waiting for an execution that runs in this process, and leaving it in good order.

The first Ctrl-C asks for a durable pause: steps in flight get a moment to finish, then they are
interrupted (their attempt does not count). The second leaves at once. SIGTERM, which comes from whoever
looks after processes, and SIGHUP, which comes when the terminal is closed, pause nothing: the runtime is
left in good order, and whoever is there goes on.
What was recorded is safe either way; what was in flight runs again.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import anyio

from perdure.runtime.cli.below import follow_children, rest
from perdure.runtime.cli.exit_codes import Exit, code_of_outcome
from perdure.runtime.cli.live import LineView, View, make_view
from perdure.runtime.cli.render import value
from perdure.runtime.cli.streams import tell
from perdure.store.errors import IllegalTransition

if TYPE_CHECKING:
    from perdure.runtime import Execution, Runtime
    from perdure.runtime.cli.session import Session

DRAIN_GRACE_S: Final = 3.0  # who pressed Ctrl-C wants the prompt back, not a long step's end
SHOW_CURSOR: Final = "\x1b[?25h"


async def attend(
    execution: Execution,
    *,
    session: Session,
    runtime: Runtime | None = None,
    timeout: float | None = None,
    after: int = 0,
) -> Exit:
    """Show an execution until it ends, is paused by Ctrl-C or `timeout`, and say what its exit code is.

    `after` is the last event that need not be told again. A pause that comes from elsewhere is
    told of and waited through: whoever paused can resume, and this process then goes on. With a
    `runtime` children are followed, too.
    """
    view = make_view(session)
    if isinstance(view, LineView):
        view.skip_to(after)
    with view.shown():
        result, code = await _wait(
            execution, runtime, view=view, session=session, timeout=timeout, after=after
        )
        await view.finish(execution)
    if result is None:
        done = "stopped" if code is Exit.TERMINATED else "paused"
        session.note(f"{done}; go on with: {session.command('resume', execution.id)}")
        return code or Exit.PAUSED
    show_result(result, session=session)
    return code_of_outcome(result)


async def _wait(
    execution: Execution,
    runtime: Runtime | None,
    *,
    view: View,
    session: Session,
    timeout: float | None,
    after: int,
) -> tuple[Any, Exit | None]:
    """The result, or None and a code when somebody wanted this process to leave."""
    result: Any = None
    code: Exit | None = None
    interrupted, terminated = anyio.Event(), anyio.Event()
    waiting = anyio.CancelScope()

    async def leave_when_interrupted() -> None:
        nonlocal code
        with anyio.move_on_after(timeout):
            await interrupted.wait()
        reason = "Ctrl-C" if interrupted.is_set() else f"--timeout {timeout:g}"
        view.say(f"{reason}: pausing durably; Ctrl-C again leaves at once")
        code = Exit.PAUSED if interrupted.is_set() else Exit.TIMEOUT
        with suppress(IllegalTransition):  # the end came first: the result is on its way
            if str(await _pause(execution, by=reason)) == "paused":
                waiting.cancel()

    async def leave_when_terminated() -> None:
        nonlocal code
        await terminated.wait()
        code = Exit.TERMINATED
        waiting.cancel()

    async def tell_of_rests() -> None:
        async for event in execution.events(after=after, follow=True):
            if event.type == "workflow_paused" and code is None:
                summary = await execution.status()
                if str(summary.state) == "paused" and code is None:
                    go_on = session.command("resume", execution.id)
                    view.say(f"{rest(summary)}; still waiting here; go on with: {go_on}")

    async with anyio.create_task_group() as group:
        with ExitStack() as stack:
            stack.enter_context(_on_signal(signal.SIGINT, interrupted.set))
            for number in terminations():
                stack.enter_context(_on_signal(number, terminated.set))
            group.start_soon(view.follow, execution)
            group.start_soon(tell_of_rests)
            if runtime is not None:
                group.start_soon(
                    partial(follow_children, execution, runtime=runtime, session=session, say=view.say)
                )
            group.start_soon(leave_when_interrupted)
            group.start_soon(leave_when_terminated)
            with waiting:
                result = await execution.result(check=False)
            group.cancel_scope.cancel()
    return result, code


async def _pause(execution: Execution, *, by: str) -> Any:
    with anyio.move_on_after(DRAIN_GRACE_S):
        return await execution.pause(mode="drain", by=by)
    return await execution.pause(mode="interrupt", by=by)


@contextmanager
def _on_signal(number: signal.Signals, first: Callable[[], None]) -> Iterator[None]:
    """Inside, the first such signal calls `first` on the loop and the second ends the process with 130."""
    loop = asyncio.get_running_loop()
    times = 0

    def given(*_: object) -> None:
        nonlocal times
        times += 1
        if times > 1:
            leave_at_once()
        loop.call_soon_threadsafe(first)

    before = signal.signal(number, given)
    try:
        yield
    finally:
        signal.signal(number, before)


def terminations() -> list[signal.Signals]:
    """The signals that ask a process to end in good order, but those it is to ignore, as under `nohup`."""
    known = [signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
    return [number for number in known if signal.getsignal(number) is not signal.SIG_IGN]


def leave_at_once() -> None:
    """End this process now, as a kill would: what was acknowledged is in the store."""
    with suppress(OSError):
        sys.stdout.flush()
    tell((SHOW_CURSOR if sys.stderr.isatty() else "") + "\nleft; nothing that was recorded is lost\n")
    os._exit(Exit.LEFT)


def show_result(result: Any, *, session: Session) -> None:
    """Print how an execution ended: its record for programs, its outputs for people."""
    if session.out.format != "table":
        session.out.json(result)
        return
    session.out.write(f"{session.out.paint(session.out.word(str(result.status)))}  {result.id}\n")
    rows = [(key, value(output, limit=200)) for key, output in (result.outputs or {}).items()]
    if rows:
        session.out.table(("STEP", "OUTPUT") if result.outputs == result.steps else ("OUTPUT", "VALUE"), rows)
    for hook, error in result.hook_errors.items():
        session.note(f"{hook} failed: {error.type}: {error.message}")
    if result.error is not None:
        where = f" in step {result.error.step}" if result.error.step else ""
        session.note(f"{result.error.type}{where}: {result.error.message}")
