"""What is asked of the machine, and what it answers and keeps, in the words of the model."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from model import Model

from perdure.runtime import Execution
from perdure.store import records
from perdure.store.states import State

RUNNING: Final = frozenset({State.SCHEDULING, State.EXECUTING, State.AWAITING_COMPLETION})


def foretold(model: Model) -> tuple[Any, ...]:
    """What has to be stored, as the model has it."""
    steps = [(state, *where, output) for state, *where, _, output in model.picture()]
    facts = (model.context, model.resumes, bool(model.error), model.deadline is None)
    return model.state, *facts, steps


def stored(execution: records.Execution, attempts: list[records.Attempt], *, steps: int) -> tuple[Any, ...]:
    """The same from the store."""
    newest = {attempt.step: attempt for attempt in attempts}
    rows = [
        (row.state.value, row.generation, row.attempt, row.lineage, row.output and bytes(row.output))
        if (row := newest.get(f"s{no}"))
        else ("pending", 0, 0, 0, None)
        for no in range(steps)
    ]
    facts = (execution.context, execution.resume_count, bool(execution.error), execution.deadline_at is None)
    return word(execution.state), *facts, rows


def call_of(kind: str, what: dict[str, Any], *, label: str) -> Callable[..., Awaitable[Any]]:
    """The call of the handle that the model calls `kind`."""

    async def call(execution: Execution, **own: Any) -> Any:
        match kind:
            case "pause":
                return await execution.pause(mode="interrupt" if what["interrupt"] else "drain", **own)
            case "resume":
                return await execution.resume(data=what["data"], **own)
            case "update":
                return await execution.update_context(what["data"], **own)
            case "signal":
                return await execution.signal("go", [1], **own)
            case "checkpoint":
                return await execution.checkpoint(label=label, **own)
            case "restore":
                return await execution.restore(what["version"], **own)
            case _:
                return await getattr(execution, kind)(**own)

    return call


def word(answer: Any) -> Any:
    """A state as the model speaks of it; anything else as it is."""
    if isinstance(answer, State):
        return "running" if answer in RUNNING else answer.value
    return answer
