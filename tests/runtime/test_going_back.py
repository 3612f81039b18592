"""Retry and restore: what runs again, under which keys, and what stays."""

from __future__ import annotations

import anyio
import pytest
from scenarios import virtually

from perdure.runtime import IllegalTransition, NotFound, Runtime, State, Status, StepContext, Workflow


def test_retry_runs_only_what_failed_and_with_the_same_idempotency_key() -> None:
    """What completed stays."""
    log: list[str] = []
    keys: list[str] = []
    workflow = Workflow("fixable")

    @workflow.step
    async def first() -> int:
        log.append("first")
        return 1

    @workflow.step
    async def second(first: int, context: StepContext) -> int:
        log.append("second")
        keys.append(context.idempotency_key)
        if len(keys) == 1:
            raise ValueError("not yet")
        return first + 1

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(workflow)
        assert (await execution.result(check=False)).status is Status.FAILED
        await execution.retry(by="ada")
        assert (await execution.result()).outputs == {"first": 1, "second": 2}
        assert log == ["first", "second", "second"]
        assert keys[0] == keys[1]

    virtually(scenario)


def test_restore_goes_back_to_a_named_checkpoint_and_its_context() -> None:
    """A checkpoint with label and author; the context is as it was then."""
    workflow = Workflow("back")

    @workflow.step
    async def first(mood: str = "calm") -> str:
        return mood

    @workflow.step
    async def second(first: str, mood: str = "calm") -> str:
        await anyio.sleep(10)
        return f"{first} {mood}"

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(workflow, {"mood": "calm"})
        await anyio.sleep(1)
        checkpoint = await execution.checkpoint(label="before second", by="ada")
        assert (checkpoint.label, checkpoint.by, checkpoint.steps_completed) == ("before second", "ada", 1)
        await execution.update_context({"mood": "wild"})
        await execution.pause()
        assert (await execution.result()).outputs == {"first": "calm", "second": "calm calm"}
        with pytest.raises(IllegalTransition, match="pause it first"):
            await execution.restore("before second")

        again = await runtime.start(workflow, {"mood": "calm"})
        await anyio.sleep(1)
        await again.checkpoint(label="here")
        await again.update_context({"mood": "wild"})
        await again.pause(mode="interrupt")
        with pytest.raises(NotFound, match="here"):
            await again.restore("nowhere")
        assert await again.restore("here") is State.PAUSED
        assert (await again.query())["context"] == {"mood": "calm"}
        await again.resume()
        assert (await again.result()).outputs["second"] == "calm calm"
        assert (await again.checkpoints())[-1].steps_completed == 1

    virtually(scenario)


def test_steps_undone_by_a_restore_run_again_with_new_keys() -> None:
    """What completed after the checkpoint is reopened in a new generation."""
    keys: list[str] = []
    workflow = Workflow("again")

    @workflow.step
    async def first() -> int:
        await anyio.sleep(1)
        return 1

    @workflow.step
    async def second(first: int, context: StepContext) -> int:
        keys.append(context.idempotency_key)
        await anyio.sleep(1)
        return first + len(keys)

    @workflow.step
    async def third(second: int) -> int:
        await anyio.sleep(1)
        return second * 10

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(workflow)
        await anyio.sleep(1.5)
        await execution.checkpoint(label="mark")
        await anyio.sleep(1)
        await execution.cancel()
        assert await execution.restore("mark", by="ada") is State.PAUSED
        await execution.resume()
        assert (await execution.result()).outputs == {"first": 1, "second": 3, "third": 30}
        assert len(set(keys)) == 2

    virtually(scenario)
