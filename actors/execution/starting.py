"""What is asked for when an execution is to be started, and the write that makes it durable."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import msgspec

from perdure.actors.effects.sharing import Past, share
from perdure.actors.effects.turn import Turn, encode
from perdure.actors.effects.workload import Workload
from perdure.actors.instructions.plan import Plan
from perdure.actors.state.execution import ExecutionState
from perdure.store.errors import PerdureError
from perdure.store.protocol import Answer
from perdure.store.states import State
from perdure.store.writes import Delta, Place, Start, Started

START_FIELDS: Final = frozenset({"started_at", "finished_at", "deadline_at", "remaining_ms", "error"})


class NewExecution(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody wants to be started."""

    id: str
    plan: Plan
    context: dict[str, Any]
    trace_id: str
    priority: int = 0
    triggered_by: str | None = None
    parent_id: str | None = None
    parent_step: int | None = None  # the step of the parent that waits for its end
    parent_epoch: int | None = None  # what the parent's owner holds it by
    agents: str | None = None
    timeout_ms: int | None = None
    is_detached: bool = False
    past: Past | None = None


def opened(new: NewExecution, *, at: int, workload: Workload | None = None) -> Turn:
    """The first turn of an execution: nothing has begun, and what it shares with another one is there."""
    state = ExecutionState(new.plan, execution_id=new.id, trace_id=new.trace_id, context=new.context)
    if new.timeout_ms is not None:
        state.timeout_ms = new.timeout_ms
    state.family.parent_id, state.family.parent_step = new.parent_id, new.parent_step
    turn = Turn(state, now=at, workload=workload)
    if new.past is not None:
        share(turn, new.past)
    return turn


def start_write(
    new: NewExecution,
    state: State,
    *,
    at: int,
    delta: Delta,
    runner_no: int | None = None,
    deadline_at: int | None = None,
    **given: Any,
) -> Start:
    """The write that begins an execution; `given` are further fields of it."""
    return Start(
        id=new.id,
        workflow_no=new.plan.workflow_no,
        state=state,
        runner_no=runner_no,
        priority=new.priority,
        triggered_by=new.triggered_by,
        parent_id=new.parent_id,
        parent_step=new.parent_step,
        parent_epoch=new.parent_epoch,
        trace_id=new.trace_id,
        agents=new.agents,
        context=encode(new.context),
        deadline_at=deadline_at,
        remaining_ms=None,
        timeout_ms=new.timeout_ms,
        at=at,
        delta=delta,
        fork=None if new.past is None else new.past.fork,
        **given,
    )


class Starting:
    """The starts that are being written: others may see them before they are answered here."""

    def __init__(self, *, on_answered: Callable[[str], None]) -> None:
        """None is. `on_answered` is called with one that is no longer."""
        self._on_answered = on_answered
        self._written: dict[str, asyncio.Future[Answer]] = {}

    def __len__(self) -> int:
        """How many there are."""
        return len(self._written)

    def __contains__(self, execution_id: str) -> bool:
        """Whether the start of that execution is one of them."""
        return execution_id in self._written

    def add(self, execution_id: str, written: asyncio.Future[Answer]) -> None:
        """One more, until it is answered; whoever was to set it going has done so by then."""
        self._written.setdefault(execution_id, written)
        written.add_done_callback(lambda _: self._forget(execution_id, written))

    async def wait(self, execution_id: str) -> bool:
        """Wait until the start of that execution is answered; False when it is not being written."""
        written = self._written.get(execution_id)
        if written is not None:
            await asyncio.wait([written])
        return written is not None

    def _forget(self, execution_id: str, written: asyncio.Future[Answer]) -> None:
        if self._written.get(execution_id) is written:
            del self._written[execution_id]
            self._on_answered(execution_id)


def first_write(new: NewExecution, turn: Turn, *, runner_no: int | None) -> Start:
    """The write that begins an execution together with its first turn, in the name of that runner."""
    return start_write(
        new,
        turn.state.state,
        at=turn.now,
        delta=turn.delta(),
        runner_no=runner_no,
        deadline_at=turn.state.deadline_at,
        finished_at=turn.fields.get("finished_at"),
        error=turn.fields.get("error"),
    )


def place_of(new: NewExecution) -> Place | None:
    """Where it has to wait, if its workflow lets only so many run. Raises PerdureError."""
    limit = new.plan.limit
    return None if limit is None else Place(limit.queue(new.context), limit.most)


def queued_write(new: NewExecution, *, at: int, place: Place | None = None) -> Start:
    """The write that begins an execution for whoever has room; what it shares is there already."""
    turn = opened(new, at=at)
    if place is not None:
        turn.note("workflow_queued", data={"queue": place.queue, "concurrency": place.most})
    return start_write(new, State.IDLE, at=at, delta=turn.delta(), place=place)


async def has_started(written: asyncio.Future[Answer]) -> bool:
    """Wait for a start to be durable; False when it joined. To cancel the wait cancels nothing else."""
    started = await asyncio.shield(written)
    if isinstance(started, PerdureError):
        raise started
    assert isinstance(started, Started)
    return not started.joined
