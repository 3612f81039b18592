"""What the lives share: how they are played, what they are given and what is told of their end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import msgspec
from client import Client, Journal, Life

from perdure.runtime import Result, StepContext, Workflow

FOREVER_S = 3_600.0
PATIENCE_S = 0.05  # of attempts that hang and of delays: a moment, as some lives are lived in real time


def simple(workflow: Workflow, **options: Any) -> Life:
    """Start it and wait for the end."""

    async def play(client: Client) -> Result:
        await client.start(workflow, {"word": "go"}, **options)
        return await client.end()

    return Life(workflow, play)


def add_hanging(workflow: Workflow, journal: Journal) -> None:
    """Add a step that comes to no end by itself."""

    @workflow.step
    async def hangs(context: StepContext) -> None:
        journal.act(context)
        await anyio.sleep(FOREVER_S)


def add_meal(workflow: Workflow, journal: Journal, wait: Callable[[], Awaitable[object]]) -> None:
    """Add three steps: what is shopped is heated, after that wait, and served unless it is cold then."""

    @workflow.step
    async def shop(context: StepContext) -> int:
        journal.act(context)
        return 1

    @workflow.step
    async def heat(context: StepContext, shop: int, degrees: int = 20) -> int:
        journal.act(context)
        await wait()
        return shop * degrees

    @workflow.step
    async def serve(context: StepContext, heat: int) -> str:
        journal.act(context)
        if heat < 60:
            raise ValueError("cold")
        return f"{heat} degrees"


async def standing(client: Client, *parts: str) -> Result:
    """The end, with how the steps of these roles stand then."""
    result = await client.end()
    described = await client.execution.query()
    states = {key: step["state"] for part in parts for key, step in described[part].items()}
    return msgspec.structs.replace(result, outputs=states)
