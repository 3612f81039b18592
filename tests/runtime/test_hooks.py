"""What runs when an execution ends: for which end, how often, and what it hears."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from scenarios import told, virtually

from perdure.runtime import Action, Agents, Retry, Runtime, State, Status, StepContext, Workflow

FOREVER_S = 3_600.0


def hooked(heard: list[Any], *, fails: bool = False) -> Workflow:
    """One step and every hook."""
    workflow = Workflow("hooked")

    @workflow.step
    async def work() -> int:
        if fails:
            raise OSError("no")
        return 7

    for moment in ("onSuccess", "onFailure", "onCancel", "finally"):

        def declare(moment: Any = moment) -> None:
            @workflow.hook(moment)
            async def hear(work: int | None, execution: dict[str, Any], context: StepContext) -> None:
                heard.append((moment, work, execution["state"], context.step))

        declare()
    return workflow


async def cancel_and_undo(runtime: Runtime, workflow: Workflow, *, after_s: float) -> None:
    """Run it, and have it undone so long after it was cancelled."""
    execution = await runtime.start(workflow)
    await anyio.sleep(1)
    async with anyio.create_task_group() as group:
        group.start_soon(execution.cancel)
        await anyio.sleep(after_s)
        assert await execution.rollback() is State.ROLLED_BACK


@pytest.mark.parametrize("fails", [False, True])
def test_hooks_hear_of_the_end_they_are_for(fails: bool):  # noqa: FBT001
    """With what the steps gave, null where one gave nothing."""
    heard: list[Any] = []

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(hooked(heard, fails=fails))
        result = await execution.result(check=False)
        work, end = (None, "failed") if fails else (7, "completed")
        moment = "onFailure" if fails else "onSuccess"
        assert heard == [
            (moment, work, end, f"hooks.{moment}"),
            ("finally", work, end, "hooks.finally"),
        ]
        assert result.steps == ({} if fails else {"work": 7})
        summary = await execution.status()
        assert (summary.steps_total, summary.steps_completed) == (1, int(not fails))

    virtually(scenario)


def test_a_hook_that_fails_is_told_and_the_execution_has_completed():
    """Its error is in the result and in the log."""
    workflow = Workflow("w")
    workflow.agent_step("work", agent="echo", prompt="fine")
    workflow.hook("onSuccess", Action("mail", prompt="{{work}} for {{who}} ({{execution.state}})"))
    agents = Agents()
    sent: list[str] = []

    @agents.agent("echo")
    async def echo(prompt: str) -> str:
        return prompt

    @agents.agent("mail")
    async def mail(prompt: str) -> None:
        sent.append(prompt)
        raise OSError("no post today")

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(workflow, {"who": "ann"})
        result = await execution.result()
        assert result.hook_errors["onSuccess"].message == "no post today"
        assert "hook_failed hooks.onSuccess" in await told(execution)
        assert sent == ["fine for ann (completed)"]

    virtually(scenario, agents=agents)


def test_an_execution_is_paused_and_goes_on_while_a_hook_runs():
    """It has not ended yet."""
    workflow = Workflow("w")
    gate = anyio.Event()

    @workflow.step
    async def work() -> int:
        return 1

    @workflow.hook("onSuccess")
    async def slow(context: StepContext) -> None:
        if context.attempt == 1 and not gate.is_set():
            await anyio.sleep(FOREVER_S)

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(workflow)
        await anyio.sleep(1)
        assert await execution.pause(mode="interrupt") is State.PAUSED
        gate.set()
        await execution.resume()
        assert (await execution.result()).status is Status.COMPLETED

    virtually(scenario)


def test_a_retry_with_nothing_left_to_do_but_a_hook_begins_with_it_at_once():
    """It was cancelled when all its steps had completed: its hook runs again, in the retry's own change."""
    workflow = Workflow("w")

    @workflow.step
    async def one() -> None:
        """Nothing."""

    @workflow.hook("onSuccess")
    async def tell() -> None:
        await anyio.sleep(FOREVER_S)

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(workflow)
        await anyio.sleep(1)
        assert await execution.cancel() is State.CANCELLED
        await execution.retry()
        assert (await execution.result()).status is Status.COMPLETED

    virtually(scenario)


def test_what_runs_at_any_end_runs_again_when_a_rollback_overtakes_a_cancel():
    """The end that it was cut short at is not the one that comes."""
    workflow = Workflow("w")
    ends: list[str] = []

    @workflow.step(compensate=lambda: None)
    async def one() -> None:
        """Nothing."""

    @workflow.step(after=one)
    async def two() -> None:
        await anyio.sleep(FOREVER_S)

    @workflow.hook("finally")
    async def tell(execution: dict[str, Any]) -> None:
        ends.append(execution["state"])
        if ends == ["cancelled"]:
            await anyio.sleep(FOREVER_S)

    async def scenario(runtime: Runtime) -> None:
        await cancel_and_undo(runtime, workflow, after_s=1)
        assert ends == ["cancelled", "rolled_back"]

    virtually(scenario)


def test_a_rollback_runs_the_hook_anew_that_waits_for_its_next_attempt():
    """The end it was for does not come: another one does, at once, as there is nothing to undo."""
    workflow = Workflow("w")
    ends: list[tuple[str, int]] = []

    @workflow.step(compensate=lambda: None)
    async def work() -> None:
        await anyio.sleep(FOREVER_S)

    @workflow.hook("onCancel", retry=Retry(max_retries=1, delay=600, max_delay=600, jitter=False))
    async def tell(context: StepContext, execution: dict[str, Any]) -> None:
        ends.append((execution["state"], context.attempt))
        if execution["state"] == "cancelled":
            raise OSError("later")

    async def scenario(runtime: Runtime) -> None:
        await cancel_and_undo(runtime, workflow, after_s=60)
        assert ends == [("cancelled", 1), ("rolled_back", 1)]

    virtually(scenario)


def test_an_execution_that_waits_for_the_next_attempt_of_a_hook_is_cold():
    """A row and a timer. The next attempt is told of the same end."""
    workflow = Workflow("w")
    ends: list[str] = []

    @workflow.step
    async def work() -> int:
        return 1

    @workflow.hook("finally", retry=Retry(max_retries=1, delay=600, max_delay=600, jitter=False))
    async def again(context: StepContext, execution: dict[str, Any]) -> None:
        ends.append(execution["state"])
        if context.attempt == 1:
            raise OSError("later")

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(workflow)
        await anyio.sleep(60)
        assert runtime.machine.executions.is_idle
        assert (await execution.result()).hook_errors == {}
        assert ends == ["completed", "completed"]

    virtually(scenario)


@pytest.mark.parametrize("way", ["cancel", "rollback"])
def test_a_hook_that_a_pause_has_cut_runs_anew_for_another_end(way: str):
    """Whoever has heard of the one by its key is to hear of the other."""
    keys: list[str] = []
    workflow = Workflow("told")
    workflow.step(lambda: 1, key="work", compensate=lambda: None)

    @workflow.hook("finally")
    async def tell(context: StepContext) -> None:
        keys.append(context.idempotency_key)
        await anyio.sleep(10)

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(workflow)
        await anyio.sleep(1)
        await execution.pause(mode="interrupt")
        await getattr(execution, way)()
        assert len(set(keys)) == 2

    virtually(scenario)
