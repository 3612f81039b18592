"""Lives that end by undoing, and hooks at an end."""

from __future__ import annotations

import anyio
from client import Client, Journal, Life

from lives.shared import FOREVER_S, PATIENCE_S, add_hanging, standing
from perdure.runtime import Action, Result, Retry, StepContext, Workflow


def rollback(journal: Journal) -> Life:
    """Undone while its last step is in flight: that is cut, the others are compensated, last first."""
    workflow = Workflow("rollback")

    async def undo(context: StepContext) -> None:
        journal.act(context)
        if context.step == "right.compensate" and context.attempt == 1:
            raise OSError("not at once")

    again = Action(undo, retry=Retry(max_retries=1, delay=PATIENCE_S, jitter=False))

    @workflow.step(compensate=undo)
    async def left(context: StepContext) -> int:
        journal.act(context)
        return 1

    @workflow.step(compensate=again)
    async def right(context: StepContext) -> int:
        journal.act(context)
        await anyio.sleep(PATIENCE_S)
        return 2

    @workflow.step(compensate=undo)
    async def last(context: StepContext, left: int, right: int) -> None:
        journal.act(context)
        await anyio.sleep(FOREVER_S)

    @workflow.hook("finally")
    async def close(context: StepContext) -> None:
        journal.act(context)

    async def play(client: Client) -> Result:
        await client.start(workflow, {})
        await client.until("step_started", "last")
        await client.say("rollback", client.execution.rollback, "rain")
        return await standing(client, "steps", "compensations", "hooks")

    return Life(workflow, play)


def undoing_again(journal: Journal) -> Life:
    """A failure is undone, in part; a retry undoes the rest."""
    workflow = Workflow("undoing-again", on_failure="compensate")

    async def undo(context: StepContext) -> None:
        journal.act(context)
        if context.step == "second.compensate" and context.generation == 0:
            raise OSError("the first time")

    @workflow.step(compensate=undo)
    async def first(context: StepContext) -> int:
        journal.act(context)
        return 1

    @workflow.step(compensate=undo)
    async def second(context: StepContext, first: int) -> int:
        journal.act(context)
        return first + 1

    @workflow.step
    async def third(context: StepContext, second: int) -> None:
        journal.act(context)
        raise OSError("no")

    async def play(client: Client) -> Result:
        await client.start(workflow, {})
        await client.failure()
        await client.say("retry", client.execution.retry)
        return await standing(client, "steps", "compensations", "hooks")

    return Life(workflow, play)


def hooks(journal: Journal) -> Life:
    """Cancelled: the hook of that end, which fails once, and the one of every end."""
    workflow = Workflow("hooks")
    add_hanging(workflow, journal)

    @workflow.hook("onSuccess")
    async def never(context: StepContext) -> None:
        journal.act(context)

    @workflow.hook("onCancel", retry=Retry(max_retries=1, delay=PATIENCE_S, jitter=False))
    async def tell(context: StepContext) -> None:
        journal.act(context)
        if context.attempt == 1:
            raise OSError("later")

    @workflow.hook("finally")
    async def close(context: StepContext) -> None:
        journal.act(context)
        await anyio.sleep(PATIENCE_S)

    async def play(client: Client) -> Result:
        await client.start(workflow, {})
        await client.until("step_started", "hangs")
        await client.say("cancel", client.execution.cancel)
        return await standing(client, "hooks")

    return Life(workflow, play)
