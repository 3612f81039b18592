"""An execution that rests and goes on by itself: at a moment, on a rule; the store is checked after each."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
from scenarios import virtually

from perdure.runtime import (
    Execution,
    IllegalTransition,
    InvalidArgument,
    InvalidContext,
    Runtime,
    State,
    Workflow,
)
from perdure.runtime.testing import VirtualRuntime, check_store, run_virtual

both = pytest.mark.parametrize("scheduling", ["level", "eager"])
HOUR_S = 3_600


def lamp(scheduling: Any = "level") -> Workflow:
    """Two steps, the first of a minute."""
    workflow = Workflow("lamp", scheduling=scheduling)

    @workflow.step
    async def glow(watts: int = 5) -> int:
        await anyio.sleep(60)
        return watts

    @workflow.step
    async def out(glow: int) -> str:
        return f"{glow} W"

    return workflow


async def paused(runtime: Runtime, scheduling: Any = "level") -> Execution:
    """An execution that rests after its first step."""
    execution = await runtime.start(lamp(scheduling), {})
    await anyio.sleep(1)
    await execution.pause()
    return execution


async def log_of(execution: Execution, kind: str) -> list[Any]:
    """The lines of that kind in its log."""
    return [event async for event in execution.events() if event.type == kind]


@both
def test_an_execution_goes_on_at_the_moment_that_was_planned(scheduling: str):
    """Nobody holds it meanwhile, and nobody has to ask."""

    async def scenario(runtime: Runtime) -> None:
        execution = await paused(runtime, scheduling)
        assert await execution.resume_later(at=timedelta(hours=9), by="ada") is State.PAUSED
        begun = anyio.current_time()
        await anyio.sleep(HOUR_S)
        assert runtime.machine.executions.is_idle
        assert (await execution.status()).state is State.PAUSED
        assert (await execution.query())["resume_plan"]["when"] is None
        assert (await execution.result()).outputs["out"] == "5 W"
        assert 9 * HOUR_S <= anyio.current_time() - begun < 9 * HOUR_S + 60
        [resumed] = await log_of(execution, "workflow_resumed")
        assert resumed.by == "perdure:timer"
        assert (await execution.query())["resume_plan"] is None

    virtually(scenario)


def test_a_planned_moment_survives_the_process(tmp_path: Path):
    """What fell due while nobody was there fires when somebody opens the store."""
    workflow = lamp()

    async def before() -> str:
        async with VirtualRuntime(str(tmp_path / "perdure.db"), workflows=[workflow]) as runtime:
            execution = await paused(runtime)
            await execution.resume_later(at=60.0)
            return execution.id

    execution_id = run_virtual(before)

    async def after() -> None:
        async with VirtualRuntime(str(tmp_path / "perdure.db"), workflows=[workflow]) as runtime:
            execution = await runtime.execution(execution_id)
            assert (await execution.result(timeout=HOUR_S)).outputs["out"] == "5 W"
            assert await check_store(runtime.store) == []

    run_virtual(after)


def test_an_execution_goes_on_when_its_rule_holds():
    """Signals and changes of the context ask it; what is no yes changes nothing."""

    async def scenario(runtime: Runtime) -> None:
        execution = await paused(runtime)
        await execution.resume_later(when='signal != null && signal.name == "go" && signal.payload.level > 3')
        await execution.signal("go", {"level": 1})
        await execution.signal("other", {"level": 9})
        assert (await execution.status()).state is State.PAUSED
        await execution.signal("go", {"level": 4})
        assert (await execution.result()).outputs["out"] == "5 W"
        [resumed] = await log_of(execution, "workflow_resumed")
        assert resumed.by == "perdure:rule"

    virtually(scenario)


def test_a_rule_over_the_execution_is_asked_now_and_with_each_change():
    """Its inputs and the outputs of its steps."""

    async def scenario(runtime: Runtime) -> None:
        execution = await paused(runtime)
        await execution.resume_later(
            when="inputs.ready == true && steps.glow.output == 5", data={"ready": False}
        )
        assert (await execution.status()).state is State.PAUSED
        await execution.update_context({"ready": True})
        await execution.result()
        again = await paused(runtime)
        await again.resume_later(when='steps.glow.state == "completed" && steps.glow.error == null')
        await again.result()

    virtually(scenario)


def test_a_rule_that_cannot_be_answered_is_told_and_is_no_yes():
    """The execution rests on, and the rule is asked again with the next signal."""

    async def scenario(runtime: Runtime) -> None:
        execution = await paused(runtime)
        await execution.resume_later(when="inputs.level > 3")
        [failed] = await log_of(execution, "resume_rule_failed")
        assert "level" in failed.data["error"]
        assert (await execution.status()).state is State.PAUSED
        await execution.update_context({"level": 4})
        await execution.result()

    virtually(scenario)


def test_what_comes_first_counts_and_a_person_may_come_before():
    """A resume by hand, or a pause that says stay, takes the plan back."""

    async def scenario(runtime: Runtime) -> None:
        for interfere in ("resume", "pause", "plan nothing"):
            execution = await paused(runtime)
            await execution.resume_later(at=HOUR_S, when="false")
            if interfere == "resume":
                await execution.resume()
            elif interfere == "pause":
                await execution.pause()
            else:
                await execution.resume_later()
            assert (await execution.query())["resume_plan"] is None
            await anyio.sleep(2 * HOUR_S)
            ends = State.COMPLETED if interfere == "resume" else State.PAUSED
            assert (await execution.status()).state is ends

    virtually(scenario)


def test_a_plan_is_taken_only_where_it_means_something():
    """And a rule or a moment that cannot be is refused before anything is written."""

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(lamp(), {})
        with pytest.raises(IllegalTransition, match="only a paused"):
            await execution.resume_later(at=1.0)
        await execution.pause(mode="interrupt")
        version = (await execution.status()).version
        with pytest.raises(InvalidArgument, match="when"):
            await execution.resume_later(when="signal ==")
        with pytest.raises(InvalidArgument, match="not true or false"):
            await execution.resume_later(when="1 + 1")
        with pytest.raises(InvalidArgument, match="time zone"):
            await execution.resume_later(at=datetime(2026, 1, 1))  # noqa: DTZ001 - that is the mistake
        with pytest.raises(InvalidArgument, match="century"):
            await execution.resume_later(at=datetime(9000, 1, 1, tzinfo=UTC))
        with pytest.raises(InvalidContext):
            await execution.resume_later(at=1.0, data={"glow": 1})
        assert (await execution.status()).version == version
        await execution.resume_later(at=datetime(2000, 1, 1, tzinfo=UTC))
        await execution.result()

    virtually(scenario)


def test_a_cancelled_execution_has_no_plan_left():
    """Its moment comes and finds nothing."""

    async def scenario(runtime: Runtime) -> None:
        execution = await paused(runtime)
        await execution.resume_later(at=HOUR_S)
        await execution.cancel()
        await anyio.sleep(2 * HOUR_S)
        assert (await execution.status()).state is State.CANCELLED

    virtually(scenario)
