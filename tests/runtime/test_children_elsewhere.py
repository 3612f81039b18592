"""A parent in one process, its child in another: on one virtual loop over a file, and over a real server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from perdure.runtime import Agents, Runtime, State, Status, Workflow
from perdure.runtime.testing import VirtualRuntime, check_store, run_virtual

Scenario = Callable[[Runtime, Runtime], Awaitable[None]]
AT_ONCE_S = 3.0  # a bell that is not heard is made up for by a look each second; a sweep comes after fifteen


def order() -> Workflow:
    """A body that only the first process has, then a child."""
    workflow = Workflow("order")
    workflow.agent_step("price", agent="pricing")
    workflow.workflow_step("bill", workflow="billing", input={"amount": "{{price}}"}, after="price")
    workflow.agent_step("ship", agent="pricing", after="bill")
    return workflow


def billing() -> Workflow:
    """A body that only the second process has, and what undoes it."""
    return Workflow("billing").agent_step("charge", agent="charging", compensate="refunding")


def pricing() -> Agents:
    """What the first process can do."""
    agents = Agents()

    @agents.agent("pricing")
    async def price() -> int:
        return 21

    return agents


def charging(seconds: float = 5.0) -> Agents:
    """What the second process can do."""
    agents = Agents()

    @agents.agent("charging")
    async def charge(amount: int) -> int:
        await anyio.sleep(seconds)
        return amount * 2

    @agents.agent("refunding")
    async def refund() -> None:
        await anyio.sleep(seconds)

    return agents


def apart(folder: Path, scenario: Scenario) -> None:
    """Run a scenario with a process that has parents only and one that has children only."""

    async def main() -> None:
        path = folder / "shared.db"
        first = VirtualRuntime(path, seed=1, agents=pricing(), workflows=[order(), billing()])
        second = VirtualRuntime(path, seed=2, agents=charging(), workflows=[order(), billing()])
        async with first, second:
            await scenario(first, second)
            await anyio.sleep(1)
            assert await check_store(first.store) == []

    run_virtual(main)


def test_a_child_that_only_another_process_can_perform_is_performed_there(tmp_path: Path):
    """And its end is heard at once where its parent is."""

    async def scenario(first: Runtime, second: Runtime) -> None:
        begun = asyncio.get_running_loop().time()
        execution = await first.start("order")
        result = await execution.result()
        assert (result.status, result.outputs["bill"]) == (Status.COMPLETED, {"charge": 42})
        assert asyncio.get_running_loop().time() - begun < 5 + AT_ONCE_S

    apart(tmp_path, scenario)


def test_a_pause_and_a_cancel_reach_a_child_in_another_process(tmp_path: Path):
    """The parent rests and ends when the child there does."""

    async def scenario(first: Runtime, second: Runtime) -> None:
        execution = await first.start("order")
        await anyio.sleep(AT_ONCE_S)
        [child] = await first.list(parent=execution.id)
        assert second.machine.executions.is_hot(child.id)
        assert await execution.pause(mode="interrupt") is State.PAUSED
        assert (await (await first.execution(child.id)).status()).state is State.PAUSED
        await execution.resume()
        await anyio.sleep(AT_ONCE_S)
        begun = asyncio.get_running_loop().time()
        assert await execution.cancel() is State.CANCELLED
        assert asyncio.get_running_loop().time() - begun < AT_ONCE_S
        assert (await (await first.execution(child.id)).status()).state is State.CANCELLED

    apart(tmp_path, scenario)


def test_a_child_that_has_completed_elsewhere_is_undone_there_with_its_parent(tmp_path: Path):
    """Whoever can perform its compensations takes it up at once; its parent ends after it."""

    async def scenario(first: Runtime, second: Runtime) -> None:
        execution = await first.start("order")
        await execution.result()
        begun = asyncio.get_running_loop().time()
        assert await execution.rollback("rain") is State.ROLLED_BACK
        assert asyncio.get_running_loop().time() - begun < 5 + AT_ONCE_S
        [child] = await first.list(parent=execution.id)
        assert child.state is State.ROLLED_BACK

    apart(tmp_path, scenario)


def test_the_message_of_a_child_is_found_where_no_bell_was_heard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """By the next sweep of whoever has the parent, at the latest."""

    async def scenario(first: Runtime, second: Runtime) -> None:
        async def unheard(execution_id: str) -> None: ...

        monkeypatch.setattr(second.machine.routing, "deliver", unheard)
        execution = await first.start("order")
        with anyio.fail_after(40):
            assert (await execution.result()).outputs["bill"] == {"charge": 42}

    apart(tmp_path, scenario)


@pytest.mark.integration
def test_parent_and_child_find_each_other_over_a_server(postgres_url: str):
    """Each in a process of its own; paused together, and on to the end."""

    async def main() -> None:
        options: dict[str, Any] = {"workflows": [order(), billing()]}
        async with (
            Runtime(postgres_url, agents=pricing(), **options) as first,
            Runtime(postgres_url, agents=charging(1.0), **options) as second,
        ):
            execution = await first.start("order")
            with anyio.fail_after(30):
                async for event in execution.events(follow=True):
                    if event.type == "child_started":
                        break
                [child] = await first.list(parent=execution.id)
                assert await execution.pause() is State.PAUSED
                states = {each.state for each in await second.list()}
                assert states <= {State.PAUSED, State.COMPLETED}
                await execution.resume()
                result = await execution.result()
            assert result.outputs["bill"] == {"charge": 42}
            assert (await (await second.execution(child.id)).status()).parent_id == execution.id
            assert await check_store(first.store) == []

    asyncio.run(main())
