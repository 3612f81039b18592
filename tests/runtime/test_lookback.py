"""What there was at a checkpoint, and what has become of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import anyio
import msgspec
import pytest
from scenarios import virtually

from perdure.runtime import InvalidArgument, NotFound, Runtime, Workflow
from perdure.runtime.changes import Change
from perdure.runtime.lookback import prunable, standing
from perdure.store.records import Checkpoint, Event, Step
from perdure.store.states import StepState


def trip() -> Workflow:
    """Two steps, between them a signal."""
    workflow = Workflow("trip")

    @workflow.step
    async def pack(what: str) -> str:
        return f"{what} packed"

    workflow.signal_step("taxi", signal="taxi", after=pack)

    @workflow.step(after="taxi")
    async def ride(taxi: dict[str, Any]) -> int:
        return taxi["seats"]

    return workflow


def test_a_checkpoint_shows_the_steps_outputs_and_context_as_of_then():
    """Also what was waited for; what came later is not there."""

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(trip(), {"what": "tent"})
        await anyio.sleep(1)
        early = await execution.checkpoint(label="early", by="ada")
        await execution.update_context({"what": "boat", "more": 1})
        await execution.signal("taxi", {"seats": 4})
        await execution.result()
        state = await execution.checkpoint_state("early")
        assert state.checkpoint == early
        assert {key: str(step.state) for key, step in state.steps.items()} == {
            "pack": "completed",
            "taxi": "waiting",
            "ride": "pending",
        }
        assert state.steps["taxi"].waits == {"for": "signal", "signal": "taxi", "due_at_ms": None}
        assert state.outputs == {"pack": "tent packed"}
        assert state.context == {"what": "tent"}
        with pytest.raises(NotFound, match="early"):
            await execution.checkpoint_state("nowhere")

    virtually(scenario)


def test_what_lies_between_two_checkpoints_is_told_path_by_path():
    """Steps in their order, then the context."""

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(trip(), {"what": "tent"})
        await anyio.sleep(1)
        early = await execution.checkpoint(label="early")
        await execution.update_context({"more": 1})
        await execution.signal("taxi", {"seats": 4})
        await execution.result()
        assert await execution.checkpoint_diff(early, "latest") == [
            Change(path="steps.taxi.state", before="waiting", after="completed"),
            Change(path="steps.taxi.output", before=None, after={"seats": 4}),
            Change(path="steps.ride.state", before="pending", after="completed"),
            Change(path="steps.ride.output", before=None, after=4),
            Change(path="context.more", before=None, after=1),
        ]
        assert await execution.checkpoint_diff("early", "early") == []

    virtually(scenario)


def test_pruning_keeps_the_newest_the_young_and_what_somebody_needs():
    """A dry run says the same and does nothing."""

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(trip(), {"what": "tent"})
        await anyio.sleep(1)
        await execution.checkpoint(label="mine")
        await execution.signal("taxi", {"seats": 4})
        await execution.result()
        all_of_them = await execution.checkpoints()
        fork = await execution.fork(from_checkpoint=all_of_them[-1])
        would_go = await execution.prune_checkpoints(keep=1, dry_run=True)
        assert await execution.checkpoints() == all_of_them
        assert await execution.prune_checkpoints(keep=1) == would_go
        left = await execution.checkpoints()
        assert [point for point in all_of_them if point not in would_go] == left
        assert all_of_them[-1] in left
        assert "mine" in [point.label for point in left]
        assert await execution.prune_checkpoints(older_than=3600) == []
        assert (await execution.checkpoint_statistics()).count == len(left)
        await fork.cancel()
        with pytest.raises(InvalidArgument, match="older_than"):
            await execution.prune_checkpoints()
        with pytest.raises(InvalidArgument, match="keep"):
            await execution.prune_checkpoints(keep=0)

    virtually(scenario)


def event(kind: str, step: str | None = None, *, attempt: int = 1, data: Any = None) -> Event:
    """A line of a log."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return Event(
        id=1,
        execution_id="e",
        version=1,
        at=at,
        type=kind,
        step=step,
        attempt=attempt,
        by=None,
        command_id=None,
        trace_id="t",
        data=data,
    )


@pytest.mark.parametrize(
    ("kinds", "state"),
    [
        ([], StepState.PENDING),
        (["step_started"], StepState.RUNNING),
        (["step_started", "step_interrupted"], StepState.PENDING),
        (["step_started", "step_failed"], StepState.WAITING),
        (["step_waiting"], StepState.WAITING),
        (["step_started", "checkpoint_restored"], StepState.PENDING),
        (["step_started", "workflow_resumed"], StepState.RUNNING),
    ],
)
def test_a_step_without_an_outcome_stands_where_the_log_leaves_it(kinds: list[str], state: StepState):
    """The last line about it counts, unless everything was opened again."""
    steps = [Step(no=0, key="a", level=0, agent="x", needs=())]
    log = [event(kind, "a" if kind.startswith("step") else None) for kind in kinds]
    assert standing(steps, [], log)["a"].state is state


def test_what_is_to_go_is_beyond_the_newest_and_old_enough():
    """Either bound alone, or both."""
    points = [
        Checkpoint(
            execution_id="e",
            version=version,
            label=None,
            by=None,
            automatic=True,
            created_at=datetime(2026, 1, version, tzinfo=UTC),
            steps_completed=0,
            steps_total=1,
            size_bytes=0,
        )
        for version in (5, 4, 3, 2, 1)
    ]
    third = int(msgspec.structs.asdict(points[2])["created_at"].timestamp() * 1000)

    def going(**bounds: Any) -> list[int]:
        return [point.version for point in prunable(points, **({"keep": None, "before": None} | bounds))]

    assert going(keep=2) == [3, 2, 1]
    assert going(before=third) == [2, 1]
    assert going(keep=4, before=third) == [1]
