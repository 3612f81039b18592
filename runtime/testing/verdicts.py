"""What a test says of an execution: it completed, a step ran so often, its history is this."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from perdure.runtime.execution import Result
from perdure.runtime.near import nearest
from perdure.store.records import Event
from perdure.store.states import Status

if TYPE_CHECKING:
    from perdure.runtime.execution import Execution


class Verdicts:
    """Assertions that wait for what they speak of, and fail with the history of the execution."""

    async def assert_completed(
        self, execution: Execution, outputs: Mapping[str, Any] | None = None
    ) -> Result:
        """Wait for the end: it is `completed`, and the steps named in `outputs` have those."""
        result = await self._end(execution, Status.COMPLETED)
        for step, wanted in (outputs or {}).items():
            if step not in result.outputs or result.outputs[step] != wanted:
                found = result.outputs.get(step, "(nothing)")
                raise AssertionError(await told(execution, f"step {step!r} gave {found!r}, not {wanted!r}"))
        return result

    async def assert_failed(self, execution: Execution, error: str | None = None) -> Result:
        """Wait for the end: it is `failed`, by an error with `error` in its type or message."""
        result = await self._end(execution, Status.FAILED)
        why = "" if result.error is None else f"{result.error.type}: {result.error.message}"
        if error is not None and error not in why:
            raise AssertionError(await told(execution, f"it failed by {why!r}, without {error!r} in it"))
        return result

    async def assert_cancelled(self, execution: Execution) -> Result:
        """Wait for the end: it is `cancelled`."""
        return await self._end(execution, Status.CANCELLED)

    async def assert_rolled_back(self, execution: Execution) -> Result:
        """Wait for the end: it is `rolled_back`, all that was done having been undone."""
        return await self._end(execution, Status.ROLLED_BACK)

    async def assert_step_ran(self, execution: Execution, step: str, *, times: int = 1) -> None:
        """So far the body of `step` was started exactly so often: by retries, interrupts and crashes, too."""
        starts = [event.step for event in await _events(execution) if event.type == "step_started"]
        if starts.count(step) == times:
            return
        known = {event.step for event in await _events(execution) if event.step is not None}
        near = None if step in known else nearest(step, known)
        hint = f" (did you mean {near!r}?)" if near else ""
        raise AssertionError(
            await told(execution, f"step {step!r} was started {starts.count(step)} times, not {times}{hint}")
        )

    async def history(self, execution: Execution) -> list[str]:
        """Its log, a short line for each event: `step_completed charge`, `workflow_paused`."""
        return [_line(event) for event in await _events(execution)]

    async def _end(self, execution: Execution, wanted: Status) -> Result:
        result = await execution.result(check=False)
        if result.status is not wanted:
            why = "" if result.error is None else f" ({result.error.type}: {result.error.message})"
            raise AssertionError(
                await told(execution, f"it ended {result.status.value}{why}, not {wanted.value}")
            )
        return result


async def _events(execution: Execution) -> list[Event]:
    return [event async for event in execution.events()]


async def told(execution: Execution, what: str) -> str:
    """What is wrong with an execution, and its history."""
    lines = [f"  {event.version:>3} {_line(event)}{_failure(event)}" for event in await _events(execution)]
    return "\n".join([f"execution {execution.id}: {what}; its history:", *lines])


def _line(event: Event) -> str:
    return event.type if event.step is None else f"{event.type} {event.step}"


def _failure(event: Event) -> str:
    """Which attempt an event tells the failure of, and by what; nothing for other events."""
    error = event.data.get("error") if isinstance(event.data, Mapping) else None
    if not isinstance(error, Mapping):
        return ""
    attempt = "" if event.attempt is None else f" (attempt {event.attempt})"
    return f"{attempt}: {error.get('type')}: {error.get('message')}"
