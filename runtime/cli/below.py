"""Which executions below one wait for somebody's word, and the command that lets each go on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Final

import anyio

from perdure.runtime.cli.tree import waits_for
from perdure.store.states import TERMINAL, State

if TYPE_CHECKING:
    from perdure.runtime import Execution, Runtime
    from perdure.runtime.cli.session import Session
    from perdure.store.records import ExecutionSummary

RESTS: Final = frozenset({"workflow_paused", "step_waiting"})  # after these a child may wait for somebody


def rest(summary: ExecutionSummary) -> str:
    """That an execution rests, by whom and why."""
    by = f" by {summary.paused_by}" if summary.paused_by else ""
    why = f" ({summary.pause_reason})" if summary.pause_reason else ""
    return f"paused{by}{why}"


async def follow_children(
    execution: Execution, *, runtime: Runtime, session: Session, say: Callable[[str], None]
) -> None:
    """Say where the children that an execution waits for, and theirs, need a word; until cancelled."""
    said: set[str] = set()

    async def follow(one: Execution) -> None:
        async for event in one.events(follow=True):
            if event.type == "child_started":
                child = event.data["child"]
                if await _is_awaited(runtime, child):
                    group.start_soon(follow, await runtime.execution(child))
            elif one is not execution and event.type in RESTS:
                async for sentence in _words(one, session=session):
                    if sentence not in said:
                        said.add(sentence)
                        say(sentence)

    async with anyio.create_task_group() as group:
        await follow(execution)


async def tell_of_children(execution: Execution, *, runtime: Runtime, session: Session) -> None:
    """Say where they need a word now."""
    for child in await runtime.list(parent=execution.id):
        if child.state in TERMINAL or not await _is_awaited(runtime, child.id):
            continue
        handle = await runtime.execution(child.id)
        async for sentence in _words(handle, session=session):
            session.note(sentence)
        await tell_of_children(handle, runtime=runtime, session=session)


async def _is_awaited(runtime: Runtime, child: str) -> bool:
    """Whether its parent waits for its end."""
    stored = await runtime.store.execution(child)
    return stored is not None and stored.parent_step is not None


async def _words(execution: Execution, *, session: Session) -> AsyncIterator[str]:
    """What a child waits for that somebody has to say, a sentence for each."""
    summary = await execution.status()
    who = f"child {summary.id} ({summary.workflow})"
    if summary.state is State.PAUSED:
        if summary.paused_by != summary.parent_id:
            yield f"{who} is {rest(summary)}; go on with: {session.command('resume', summary.id)}"
        return
    for key, step in (await execution.query())["steps"].items():
        match step["waits"]:
            case {"for": "approval"}:
                words = "approve", summary.id, key
            case {"for": "signal", "signal": name}:
                words = "signal", summary.id, name
            case _:
                continue
        yield f"{who}: {key} {waits_for(step)}; go on with: {session.command(*words)}"
