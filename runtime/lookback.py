"""An execution as it stood at a checkpoint, folded from its log, and what lies between two of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, Final

import msgspec

from perdure.actors.execution.reading import find_restore_point
from perdure.runtime.changes import Change, changes
from perdure.store.errors import NotFound
from perdure.store.protocol import Store
from perdure.store.records import PAGE_MAX, Attempt, Checkpoint, Error, Event, Step
from perdure.store.scripts.questions import Questions
from perdure.store.states import StepState

BEGUN: Final[dict[str, StepState]] = {
    "step_started": StepState.RUNNING,
    "step_waiting": StepState.WAITING,
    "step_interrupted": StepState.PENDING,
    "step_failed": StepState.WAITING,  # for its next attempt: where there is none, it has an outcome
}


class StepThen(msgspec.Struct, frozen=True, kw_only=True):
    """Where one step stood; `waits` says what for, where it waited."""

    state: StepState = StepState.PENDING
    attempt: int = 0
    generation: int = 0
    output: msgspec.Raw | None = None
    error: Error | None = None
    waits: dict[str, Any] | None = None


class CheckpointState(msgspec.Struct, frozen=True, kw_only=True):
    """All there was at a checkpoint: steps by key with their outputs, the context, what was waited for."""

    checkpoint: Checkpoint
    steps: dict[str, StepThen]
    context: dict[str, Any]

    @property
    def outputs(self) -> dict[str, Any]:
        """The outputs of the steps that had completed."""
        return {
            key: msgspec.json.decode(step.output)
            for key, step in self.steps.items()
            if step.output is not None
        }


async def state_at(store: Store | Questions, execution_id: str, wanted: str | int) -> CheckpointState:
    """The state at a checkpoint: by label, version or `latest`. Raises NotFound."""
    execution = await store.execution(execution_id)
    if execution is None:
        raise NotFound("execution", execution_id)
    point = await find_restore_point(store, execution_id, wanted)
    if isinstance(point, NotFound):
        raise point
    checkpoint = await store.checkpoint(execution_id, point.version)
    assert checkpoint is not None
    events = [event async for event in _until(store, execution_id, point.version)]
    return CheckpointState(
        checkpoint=checkpoint,
        steps=standing(await store.steps(execution.workflow_no), point.outcomes, events),
        context=point.context,
    )


def standing(
    steps: Iterable[Step], outcomes: Iterable[Attempt], events: Iterable[Event]
) -> dict[str, StepThen]:
    """Where every step stood: its outcome if it had one, else what the log says of it last."""
    begun: dict[str, StepThen] = {}
    for event in events:
        if event.type in ("workflow_retried", "checkpoint_restored"):
            begun.clear()  # what was not settled by then had not begun anew
        elif event.step is not None and event.type in BEGUN:
            state = BEGUN[event.type]
            waits = event.data if event.type == "step_waiting" else None
            begun[event.step] = StepThen(state=state, attempt=event.attempt or 0, waits=waits)
    settled = {outcome.step: outcome for outcome in outcomes}
    return {
        step.key: _settled(settled[step.key]) if step.key in settled else begun.get(step.key, StepThen())
        for step in steps
    }


def differences(before: CheckpointState, after: CheckpointState) -> list[Change]:
    """What has become of the first state by the second: steps in their order, then the context."""
    found: list[Change] = []
    for key in [*before.steps, *(key for key in after.steps if key not in before.steps)]:
        then, now = before.steps.get(key), after.steps.get(key)
        found += changes(f"steps.{key}", _fields(then), _fields(now))
    found += changes("context", before.context, after.context)
    return found


def prunable(
    checkpoints: Sequence[Checkpoint], *, keep: int | None, before: int | None
) -> Sequence[Checkpoint]:
    """Of those that may go, newest first: beyond the newest `keep` that are older than `before` (ms)."""
    beyond = checkpoints if keep is None else checkpoints[keep:]
    if before is None:
        return beyond
    return [point for point in beyond if point.created_at.timestamp() * 1000 < before]


def _fields(step: StepThen | None) -> dict[str, Any]:
    """What is compared of a step."""
    if step is None:
        return {}
    output = None if step.output is None else msgspec.json.decode(step.output)
    error = None if step.error is None else f"{step.error.type}: {step.error.message}"
    fields = {"state": str(step.state), "generation": step.generation, "output": output, "error": error}
    return {name: value for name, value in fields.items() if value is not None}


def _settled(outcome: Attempt) -> StepThen:
    return StepThen(
        state=outcome.state,
        attempt=outcome.attempt,
        generation=outcome.generation,
        output=outcome.output,
        error=outcome.error,
    )


async def _until(store: Store | Questions, execution_id: str, version: int) -> AsyncIterator[Event]:
    """The log up to that version."""
    after = 0
    while page := await store.events(execution_id=execution_id, after=after, limit=PAGE_MAX):
        for event in page:
            if event.version > version:
                return
            yield event
        after = page[-1].id
