"""Lives of attempts: failures, retries, limits of time, and statements of the user's own."""

from __future__ import annotations

import sqlite3
from typing import Any

import anyio
import asyncpg
import msgspec
from client import Client, Journal, Life

from lives.shared import FOREVER_S, PATIENCE_S, add_hanging, add_meal, simple
from perdure.actors.kernel import outside
from perdure.runtime import Result, Retry, Runtime, StepContext, Workflow


def _retrying(journal: Journal, *, delay: float) -> Life:
    workflow = Workflow("retries")

    @workflow.step(retry=Retry(max_retries=3, delay=delay, jitter=False))
    async def stubborn(context: StepContext) -> int:
        journal.act(context)
        if context.attempt < 3:
            raise OSError(f"attempt {context.attempt}")
        return context.attempt

    @workflow.step
    async def after(context: StepContext, stubborn: int) -> int:
        journal.act(context)
        return stubborn + 1

    return simple(workflow)


def retries_at_once(journal: Journal) -> Life:
    """Two failures and a success, with no delay between."""
    return _retrying(journal, delay=0)


def retries_later(journal: Journal) -> Life:
    """Two failures and a success, each after a delay."""
    return _retrying(journal, delay=PATIENCE_S)


def timeouts(journal: Journal) -> Life:
    """An attempt that hangs until its time is over, and one that does not."""
    workflow = Workflow("timeouts")

    @workflow.step(timeout=PATIENCE_S, retry=Retry(max_retries=1, delay=0))
    async def slow(context: StepContext) -> int:
        journal.act(context)
        if context.attempt == 1:
            await anyio.sleep(FOREVER_S)
        return context.attempt

    return simple(workflow)


def deadline(journal: Journal) -> Life:
    """An execution that does not finish in time."""
    workflow = Workflow("deadline")
    add_hanging(workflow, journal)
    return simple(workflow, timeout=PATIENCE_S * 4)


def failure(journal: Journal) -> Life:
    """A step fails for good; a retry of the execution repairs it."""
    workflow = Workflow("failure")

    @workflow.step
    async def fine(context: StepContext) -> int:
        journal.act(context)
        return 1

    @workflow.step
    async def broken(context: StepContext) -> int:
        journal.act(context)
        if context.generation == 0:
            raise OSError("not yet")
        return 2

    @workflow.step
    async def both(context: StepContext, fine: int, broken: int) -> int:
        journal.act(context)
        return fine + broken

    async def play(client: Client) -> Result:
        await client.start(workflow, {})
        await client.failure()
        await client.say("retry", client.execution.retry)
        return await client.end()

    return Life(workflow, play)


def anew(journal: Journal) -> Life:
    """A retry begins at a step that had completed, with another input; what is on it is done anew."""
    workflow = Workflow("anew")
    add_meal(workflow, journal, anyio.lowlevel.checkpoint)

    async def play(client: Client) -> Result:
        await client.start(workflow, {})
        await client.failure()
        await client.say("retry", client.execution.retry, from_step="heat", data={"degrees": 80})
        return await client.end()

    return Life(workflow, play)


def transaction(journal: Journal) -> Life:
    """Statements of the user's own: some executed once, some refused, some given by an attempt that fails."""
    workflow = Workflow("transaction", scheduling="eager")

    def enter(step: str, attempt: int) -> str:  # nothing in it would refuse a second time
        return f"INSERT INTO entries (step, attempt) VALUES ('{step}', {attempt})"

    @workflow.step
    async def table(context: StepContext) -> None:
        journal.act(context)
        async with context.transaction() as tx:
            tx.execute("CREATE TABLE entries (step TEXT, attempt INTEGER CHECK (attempt <> 13))")

    @workflow.step(retry=Retry(max_retries=2, delay=0))
    async def refused(context: StepContext, table: None) -> int:
        journal.act(context)
        async with context.transaction() as tx:
            tx.execute(enter(context.step, context.attempt))
            tx.execute(enter(context.step, 13 if context.attempt == 1 else context.attempt))
        if context.attempt == 2:
            raise OSError("after the block")
        return context.attempt

    @workflow.step
    def blocking(context: StepContext, table: None) -> int:
        journal.act(context)
        with context.transaction() as tx:
            tx.execute(enter(context.step, context.attempt))
        return context.attempt

    @workflow.step
    async def last(context: StepContext, refused: int, blocking: int) -> int:
        journal.act(context)
        await anyio.lowlevel.checkpoint()
        async with context.transaction() as tx:
            tx.execute("UPDATE entries SET attempt = attempt + 100")
        return refused + blocking

    async def play(client: Client) -> Result:
        await client.start(workflow, {})
        result = await client.end()
        rows = await _ask(client.runtime, "SELECT step, attempt FROM entries ORDER BY step, attempt")
        return msgspec.structs.replace(result, outputs={**result.outputs, "entries": rows})

    return Life(workflow, play)


async def _ask(runtime: Runtime, sql: str) -> list[list[Any]]:
    """Over a connection of the client's own."""
    location = runtime.store.location
    if "://" not in location:
        file = sqlite3.connect(location)
        try:
            return [list(row) for row in file.execute(sql)]
        finally:
            file.close()
    with outside():
        session = await asyncpg.connect(location)
        try:
            return [list(row) for row in await session.fetch(sql)]
        finally:
            await session.close()
