"""A parent that has its bills made by a child, and ways to look at the two."""

from __future__ import annotations

from typing import Any

import anyio

from perdure.runtime import Runtime, Workflow
from perdure.runtime.execution import Execution

MINUTE_S = 60


def billing(*, seconds: float = 2, **head: Any) -> Workflow:
    """Charge an amount, which takes its time, then note it."""
    workflow = Workflow("billing", outputs={"total": "{{charge}}"}, **head)

    @workflow.step
    async def charge(amount: int) -> int:
        await anyio.sleep(seconds)
        if amount < 0:
            raise ValueError("less than nothing")
        return amount * 2

    @workflow.step(after="charge")
    async def note() -> None: ...

    return workflow


def order(scheduling: Any = "level", **call: Any) -> Workflow:
    """Price, have it charged by a child, ship."""
    workflow = Workflow("order", scheduling=scheduling)

    @workflow.step
    async def price(amount: int = 21) -> int:
        return amount

    workflow.workflow_step(
        "bill", workflow="billing", input={"amount": "{{price}}"}, **{"after": price, **call}
    )

    @workflow.step(after="bill")
    async def ship(bill: Any) -> Any:
        return bill

    return workflow


async def child_of(runtime: Runtime, parent: Execution, *, no: int = 0) -> Execution:
    """The child that was started last, or the one before it."""
    summaries = await runtime.list(parent=parent.id)
    return await runtime.execution(summaries[no].id)


async def kinds(execution: Execution) -> list[str]:
    """What happened to its children, in the log."""
    return [event.type async for event in execution.events() if event.type.startswith("child_")]
