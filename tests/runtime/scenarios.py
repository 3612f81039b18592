"""Scenarios: what tests do with a runtime in virtual time, with the store checked after; and odd stores."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import anyio

from perdure.runtime import Runtime, Workflow
from perdure.runtime.execution import Execution
from perdure.runtime.testing import VirtualRuntime, check_store, run_virtual
from perdure.store import SQLiteStore
from perdure.store.errors import OutcomeUnknown
from perdure.store.protocol import Answer
from perdure.store.writes import Write

Scenario = Callable[[Runtime], Coroutine[Any, Any, Any]]


def virtually(scenario: Scenario, **options: Any) -> Any:
    """Run a scenario on a runtime of its own, made with those options, and answer what it does."""

    async def main() -> Any:
        async with VirtualRuntime(**options) as runtime:
            answer = await scenario(runtime)
            assert await check_store(runtime.store) == []
            return answer

    return run_virtual(main)


def order(*, seconds: float = 1.0, log: list[str] | None = None) -> Workflow:
    """Three steps, one after the other, each of which takes some virtual seconds."""
    workflow = Workflow("order")
    seen = [] if log is None else log

    @workflow.step
    async def reserve(item: str, quantity: int = 1) -> str:
        seen.append("reserve")
        await anyio.sleep(seconds)
        return f"{quantity}x{item}"

    @workflow.step
    async def charge(reserve: str) -> dict[str, str]:
        seen.append("charge")
        await anyio.sleep(seconds)
        return {"paid": reserve}

    @workflow.step
    async def ship(charge: dict[str, str]) -> str:
        seen.append("ship")
        await anyio.sleep(seconds)
        return f"shipped {charge['paid']}"

    return workflow


async def told(execution: Execution) -> list[str]:
    """The log, a word for each line."""
    return [
        event.type if event.step is None else f"{event.type} {event.step}"
        async for event in execution.events()
    ]


async def noop() -> None:
    """Do nothing."""


class UnsureStore(SQLiteStore):
    """A real store that once, at the n-th write of a kind, does not say whether it has kept it."""

    def __init__(self, path: Path, kind: type[Write], *, nth: int = 1, is_kept: bool) -> None:
        """Inline, on that file."""
        super().__init__(str(path), inline=True)
        self._kind = kind
        self._left = nth
        self._is_kept = is_kept

    async def commit(self, writes: Sequence[Write]) -> list[Answer]:
        """As the store, but for that once."""
        if any(isinstance(write, self._kind) for write in writes):
            self._left -= 1
            if self._left == 0:
                if self._is_kept:
                    await super().commit(writes)
                raise OutcomeUnknown("the disk does not say")
        return await super().commit(writes)
