"""A schedule whose process is killed at each of its commits: no moment is lost, none fires twice."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import pytest

from perdure.runtime import Runtime, Workflow
from perdure.runtime.testing import TestRuntime, virtual_time
from perdure.store.records import ExecutionSummary, Firing

COMMITS = 18  # from joining the store to the sixth moment
PLACES = [f"commit:{side}#{nth}" for nth in range(1, COMMITS + 1) for side in ("before", "after")]


def tick(overlap: str) -> Workflow:
    """A workflow of one step that starts by itself every ten seconds."""
    workflow = Workflow("tick", schedule=[{"every": "10s", "missed": "all", "overlap": overlap}])

    @workflow.step
    def note() -> str:
        return "noted"

    return workflow


async def told(runtime: Runtime) -> tuple[list[Firing], list[ExecutionSummary]]:
    """What was decided, oldest first, and what has been started, likewise."""
    return (await runtime.schedules.history("tick"))[::-1], (await runtime.list())[::-1]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("overlap", ["allow", "queue"])
@virtual_time
async def test_a_process_killed_at_any_commit_leaves_each_moment_decided_once(overlap: str, place: str):
    """The next process goes on where it was: one execution for each moment, and each ends completed."""
    async with TestRuntime(tick(overlap), crash=place) as test:
        await test.advance("85s")
        firings, executions = await test.call(told)
    assert len(firings) >= 7
    assert all(after.due_at - before.due_at == timedelta(seconds=10) for before, after in pairwise(firings))
    assert {(one.decision, one.count) for one in firings} == {("started", 1)}
    assert sorted(one.execution_id or "" for one in firings) == sorted(one.id for one in executions)
    assert {str(one.status) for one in executions} == {"completed"}
