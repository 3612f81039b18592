"""Commands and starts that come twice or too late: one effect, or none."""

from __future__ import annotations

import pytest
from scenarios import order, virtually

from perdure.runtime import Conflict, IdTaken, Runtime, Status, Workflow


def test_a_command_with_a_stale_version_is_refused_with_the_current_one() -> None:
    """`expected_version`: somebody was faster."""

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(order(seconds=10), {"item": "lamp"})
        version = (await execution.query())["version"]
        assert await execution.update_context({"note": 1}, expected_version=version) == version + 1
        with pytest.raises(Conflict) as refused:
            await execution.update_context({"note": 2}, expected_version=version)
        assert refused.value.current == version + 1
        assert (await execution.query())["context"]["note"] == 1
        await execution.result()
        with pytest.raises(Conflict):  # though it has ended: what was seen is no longer so
            await execution.update_context({"note": 2}, expected_version=version)

    virtually(scenario)


def test_a_signal_and_a_checkpoint_with_a_stale_version_are_refused_and_leave_nothing() -> None:
    """Like every other command: what somebody has seen decides what is said."""

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(order(seconds=10), {"item": "lamp"})
        stale = (await execution.query())["version"]
        await execution.update_context({"note": 1})
        with pytest.raises(Conflict):
            await execution.signal("paid", 40, expected_version=stale)
        with pytest.raises(Conflict):
            await execution.checkpoint(label="here", expected_version=stale)
        version = await execution.signal("paid", 50, expected_version=stale + 1)
        checkpoint = await execution.checkpoint(label="here", expected_version=version)
        assert checkpoint.version == version + 1
        received = [event.data async for event in execution.events() if event.type == "signal_received"]
        assert [data["payload"] for data in received] == [50]

    virtually(scenario)


def test_the_same_command_id_twice_is_one_command() -> None:
    """Applied once, answered twice."""

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(order(seconds=10), {"item": "lamp"})
        await execution.signal("knock", {"n": 1}, command_id="k-1")
        await execution.signal("knock", {"n": 1}, command_id="k-1")
        received = [event async for event in execution.events() if event.type == "signal_received"]
        assert len(received) == 1
        assert (await execution.result()).status is Status.COMPLETED

    virtually(scenario)


def test_the_same_id_twice_joins_the_same_execution() -> None:
    """The second start runs nothing."""
    log: list[str] = []

    async def scenario(runtime: Runtime) -> None:
        first = await runtime.start(order(log=log), {"item": "lamp"}, id="order-1")
        second = await runtime.start(order(log=log), {"item": "desk"}, id="order-1")
        assert first.id == second.id == "order-1"
        assert (await second.result()).outputs["ship"] == "shipped 1xlamp"
        assert log == ["reserve", "charge", "ship"]

    virtually(scenario)


def test_an_id_that_another_workflow_s_execution_has_is_refused() -> None:
    """Nobody takes its result for that of what was to be started; another revision is the same workflow."""

    async def scenario(runtime: Runtime) -> None:
        other = Workflow("other")

        @other.step
        async def nothing() -> None: ...

        first = await runtime.start(other, id="one")
        with pytest.raises(IdTaken, match="is one of workflow 'other', not of workflow 'order'"):
            await runtime.start(order(), {"item": "lamp"}, id="one")
        with pytest.raises(IdTaken):
            await runtime.start(order(), {"item": "lamp"}, id="one", detach=True)
        assert [each.id for each in await runtime.list()] == ["one"]
        assert (await first.result()).status is Status.COMPLETED

        other.sleep_step("later", 1.0)
        assert (await runtime.start(other, id="one")).id == "one"

    virtually(scenario)
