"""Guards on a store that does not say what became of a commit: no attempt is used up, and no slot lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest
from scenarios import UnsureStore

from perdure.runtime import Agents, CircuitBreaker, Retry, Runtime, Workflow
from perdure.runtime.testing import VirtualRuntime, check_store, run_virtual
from perdure.store import SQLiteStore
from perdure.store.scripts.guards import LeaveGuard, MoveCircuit, PassGuard
from perdure.store.states import StepState

PATIENCE_S = 300
KEPT = pytest.mark.parametrize("is_kept", [True, False], ids=["kept", "lost"])


def calling(*, retry: Retry | None = None) -> Workflow:
    """One call."""
    workflow = Workflow("calling")
    workflow.agent_step("call", agent="service", retry=retry)
    return workflow


def perform(store: SQLiteStore, agents: Agents, workflow: Workflow, *, times: int) -> list[Any]:
    """So many executions at once; the attempts of each, when all have completed in time."""

    async def main() -> list[Any]:
        async with VirtualRuntime(store=store, agents=agents) as runtime:
            attempts = await _perform(runtime, workflow, times=times)
            assert await check_store(runtime.store) == []
            return attempts

    found: list[Any] = run_virtual(main)
    return found


async def _perform(runtime: Runtime, workflow: Workflow, *, times: int) -> list[Any]:
    executions = [await runtime.start(workflow) for _ in range(times)]
    with anyio.fail_after(PATIENCE_S):
        for execution in executions:
            await execution.result()
    return [await execution.attempts() for execution in executions]


@KEPT
def test_a_slot_is_given_back_though_nobody_said_that_it_was(tmp_path: Path, *, is_kept: bool):
    """Else it would be held for as long as the process lives."""
    agents = Agents()

    @agents.agent("service", max_concurrency=1)
    async def call() -> None:
        await anyio.sleep(1)

    store = UnsureStore(tmp_path / "a.db", LeaveGuard, is_kept=is_kept)
    perform(store, agents, calling(), times=3)


@KEPT
def test_a_step_asks_its_guard_again_when_it_was_not_answered(tmp_path: Path, *, is_kept: bool):
    """That is no failure of the step: its first attempt performs it."""
    agents = Agents()

    @agents.agent("service", max_concurrency=1, rate="10/s")
    async def call() -> None: ...

    store = UnsureStore(tmp_path / "a.db", PassGuard, is_kept=is_kept)
    attempts = perform(store, agents, calling(), times=2)
    assert [[each.attempt for each in several] for several in attempts] == [[1], [1]]


@KEPT
@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_circuit_that_may_have_moved_is_looked_at_again(tmp_path: Path, *, nth: int, is_kept: bool):
    """It opens, lets a probe through and closes; the unsaid move is no failure of an attempt."""
    agents = Agents()
    calls: list[float] = []

    @agents.agent("service", circuit_breaker=CircuitBreaker(errors=1, cooldown=30))
    async def call() -> None:
        calls.append(anyio.current_time())
        if len(calls) == 1:
            raise OSError("down")

    store = UnsureStore(tmp_path / "a.db", MoveCircuit, nth=nth, is_kept=is_kept)
    attempts = perform(store, agents, calling(retry=Retry(max_retries=1, delay=1)), times=1)
    assert {each.error.type for each in attempts[0] if each.error is not None} <= {"OSError"}
    assert attempts[0][-1].state is StepState.COMPLETED
