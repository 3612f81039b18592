"""Versions of a workflow, and executions that move between them; the store is checked after each."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import pytest
from scenarios import virtually

from perdure.runtime import (
    Agents,
    CannotMigrate,
    Execution,
    IllegalTransition,
    NotFound,
    Runtime,
    State,
    Workflow,
)

Scenario = Callable[[Runtime, list[str]], Coroutine[Any, Any, None]]


def text(version: str, *steps: str, config: str = "", scheduling: str = "level", last: str = "") -> Workflow:
    """A version of `release` with those steps; `KEY<NEED` needs one other, `last` is in the last one."""
    config = config or f"config: {{scheduling: {scheduling}}}"
    lines = [f"name: release\nversion: '{version}'\n{config}\nsteps:"]
    for step in steps:
        key, _, need = step.partition("<")
        more = last if step is steps[-1] else ""
        lines.append(f"- {{key: {key}, agent: {key.rstrip('0123456789')}, dependencies: [{need}]{more}}}")
    return Workflow.parse("\n".join(lines))


ONE = text("1", "build", "test<build", "ship<test")
TWO = text("2", "lint", "ship<test", "test<build", "build", "tell<ship")
OTHER = text("3", "build2", "ship<build2")


def with_agents(scenario: Scenario) -> None:
    """Run a scenario with agents that note what they do; `test` takes a minute, and fails at first."""
    did: list[str] = []
    agents = Agents()

    def note(name: str) -> None:
        async def act() -> str:
            did.append(name)
            if name == "test":
                await anyio.sleep(60)
                if did.count("test") == 1:
                    raise ValueError("red")
            if name == "red":
                raise ValueError("red")
            if name == "slow":
                await anyio.sleep(1)
            return name

        agents.add(name, act)

    for name in ("lint", "build", "test", "ship", "tell", "red", "slow"):
        note(name)

    virtually(lambda runtime: scenario(runtime, did), agents=agents)


async def moved(runtime: Runtime, before: Workflow, after: Workflow) -> Execution:
    """An execution that is cut off half a minute after its start and goes on in another version."""
    execution = await runtime.start(before, {})
    await anyio.sleep(30)
    await execution.pause(mode="interrupt")
    await runtime.publish(after)
    await execution.migrate(after.definition.version)
    await execution.resume()
    return execution


def test_publishing_makes_a_version_active_and_so_does_activating():
    """Executions stay on theirs; a name that stands for nothing starts nothing."""

    async def scenario(runtime: Runtime, did: list[str]) -> None:
        await runtime.publish(ONE)
        first = await runtime.start("release", {})
        await runtime.publish(TWO)
        versions = await runtime.versions.list("release")
        assert [(one.version, one.is_active, one.executions) for one in versions] == [
            ("2", True, 0),
            ("1", False, 1),
        ]
        await runtime.versions.activate("release", "1")
        assert (await runtime.workflow("release")).version == "1"
        await runtime.versions.activate("release", versions[0].revision[:10])
        assert (await runtime.workflow("release")).version == "2"
        await runtime.versions.deactivate("release")
        with pytest.raises(NotFound):
            await runtime.start("release", {})
        with pytest.raises(NotFound, match="2, 1"):
            await runtime.versions.activate("release", "9")
        with pytest.raises(NotFound):
            await runtime.versions.deactivate("nobody")
        await first.result(check=False)
        assert "lint" not in did

    with_agents(scenario)


def test_publishing_again_what_was_published_before_makes_it_the_active_one():
    """Also the very same object, after another version or none was."""

    async def scenario(runtime: Runtime, _did: list[str]) -> None:
        for each in (ONE, TWO, ONE):
            assert (await runtime.publish(each)).is_active
            assert (await runtime.workflow("release")).version == each.definition.version
        await runtime.versions.deactivate("release")
        assert (await runtime.publish(ONE)).is_active

    with_agents(scenario)


def test_a_failed_execution_goes_on_in_the_next_version_without_doing_anything_twice():
    """Although every step has another number there."""

    async def scenario(runtime: Runtime, did: list[str]) -> None:
        execution = await runtime.start(ONE, {})
        await execution.result(check=False)
        await runtime.publish(TWO)
        version = (await execution.status()).version
        verdict = await execution.migrate("2", dry_run=True)
        assert verdict.may_move
        assert (await execution.status()).version == version
        await execution.migrate("2", by="ada")
        assert (await execution.status()).workflow_version == "2"
        await execution.retry()
        result = await execution.result()
        assert sorted(did) == ["build", "lint", "ship", "tell", "test", "test"]
        assert set(result.outputs) == {"build", "test", "ship", "lint", "tell"}
        log = [event async for event in execution.events()]
        assert next(event.step for event in log if event.type == "step_completed") == "build"
        assert [event.step for event in log if event.type == "step_failed"] == ["test"]
        [moved] = [event for event in log if event.type == "workflow_migrated"]
        assert (moved.by, moved.data["from"]["version"], moved.data["to"]["version"]) == ("ada", "1", "2")

    with_agents(scenario)


def test_a_paused_execution_moves_and_its_checkpoints_with_it():
    """A restore afterwards finds the steps under their new numbers."""

    async def scenario(runtime: Runtime, did: list[str]) -> None:
        execution = await runtime.start(ONE, {})
        await anyio.sleep(30)
        await execution.pause(mode="interrupt")
        await execution.checkpoint(label="built")
        await runtime.publish(TWO)
        await execution.migrate("2")
        await execution.resume()
        await execution.result()
        assert did.count("test") == 2
        fork = await execution.fork(from_checkpoint="built")
        assert sorted((await fork.result()).outputs) == ["build", "lint", "ship", "tell", "test"]
        assert did.count("build") == 1

    with_agents(scenario)


@pytest.mark.parametrize("scheduling", ["level", "eager"])
def test_what_was_cut_off_goes_on_beside_a_failure_of_the_other_version(scheduling: str):
    """Although its level has not come there: it had begun. Only then the execution fails."""
    before = text("1", "build", "test<build", "ship<test", scheduling=scheduling)
    after = text("2", "red", "build", "test<build", "ship<test", scheduling=scheduling)

    async def scenario(runtime: Runtime, did: list[str]) -> None:
        execution = await moved(runtime, before, after)
        result = await execution.result(check=False)
        assert (result.status.value, did) == ("failed", ["build", "test", "red", "test"])
        assert result.steps["test"] == "test"

    with_agents(scenario)


@pytest.mark.parametrize("scheduling", ["level", "eager"])
@pytest.mark.parametrize(
    ("first", "did_then"),
    [("lint", ["lint", "test"]), ("red", ["red"]), ("slow", ["red", "slow", "test"])],
)
def test_what_was_cut_off_waits_for_what_it_needs_in_the_other_version(
    scheduling: str, first: str, did_then: list[str]
):
    """And does not go on at all where that fails; where something else does, it goes on all the same."""
    before = text("1", "build", "test<build", scheduling=scheduling)
    beside = [first] if first == "lint" else sorted({first, "red"})
    after = text("2", *beside, f"test<{first}", "build", scheduling=scheduling)

    async def scenario(runtime: Runtime, did: list[str]) -> None:
        execution = await moved(runtime, before, after)
        await execution.result(check=False)
        assert did == ["build", "test", *did_then]

    with_agents(scenario)


@pytest.mark.parametrize("scheduling", ["level", "eager"])
def test_what_was_cut_off_goes_on_after_a_wait_that_is_called_off_in_the_other_version(scheduling: str):
    """Whatever became of that; else nothing would ever wake the execution."""
    before = text("1", "test", scheduling=scheduling)
    hold = "- {key: hold, waitFor: {signal: go}}\n- {key: red, agent: red}"
    after = Workflow.parse(
        f"name: release\nversion: '2'\nconfig: {{scheduling: {scheduling}}}\nsteps:\n{hold}\n"
        "- {key: test, agent: test, dependencies: [hold], dependenciesPolicy: all_done}"
    )

    async def scenario(runtime: Runtime, did: list[str]) -> None:
        execution = await moved(runtime, before, after)
        result = await execution.result(check=False)
        assert (result.status.value, did) == ("failed", ["test", "red", "test"])

    with_agents(scenario)


def test_what_waits_for_its_next_attempt_may_not_need_anything_else():
    """Its moment would come before what it needs there."""
    retry = ", retryPolicy: {maxRetries: 1, retryDelayMs: 60000}"
    before = text("1", "build", "red<build", last=retry)

    async def scenario(runtime: Runtime, did: list[str]) -> None:
        execution = await runtime.start(before, {})
        await anyio.sleep(30)
        await execution.pause()
        await runtime.publish(text("2", "lint", "red<lint", "build"))
        with pytest.raises(CannotMigrate, match="'red' is pending and waits for its next attempt"):
            await execution.migrate("2")
        await runtime.publish(text("3", "lint", "red<build", "build"))
        await execution.migrate("3")

    with_agents(scenario)


def test_what_was_cut_off_may_not_go_over_items_in_the_other_version():
    """Nor what has begun with its items do without them."""
    one, many = text("1", "test"), text("2", "test", last=", forEach: {items: 3}")

    async def scenario(runtime: Runtime, did: list[str]) -> None:
        for workflow, other in ((one, many), (many, one)):
            execution = await runtime.start(workflow, {})
            await anyio.sleep(30)
            await execution.pause(mode="interrupt")
            await runtime.publish(other)
            with pytest.raises(CannotMigrate, match=r"'test' .* has begun, and differs in forEach"):
                await execution.migrate(other.definition.version)

    with_agents(scenario)


@pytest.mark.parametrize(
    "body", ["gate: {criteria: [{when: 'true', reason: never}]}", "waitFor: {signal: go}"]
)
def test_what_was_cut_off_may_not_be_without_a_body_in_the_other_version(body: str):
    """It would run what is not there."""
    one = text("1", "test")
    two = Workflow.parse(f"name: release\nversion: '2'\nsteps:\n- {{key: test, {body}}}")

    async def scenario(runtime: Runtime, did: list[str]) -> None:
        with pytest.raises(CannotMigrate, match="'test' is pending and would have nothing to run any more"):
            await moved(runtime, one, two)

    with_agents(scenario)


def test_what_has_taken_its_items_may_not_be_without_them_in_the_other_version():
    """Although it has not begun with them: it waits for a place beside others."""
    alone = "config: {parallelism: 1}"
    one = text("1", "test", "ship", last=", forEach: {items: 3}", config=alone)
    two = text("2", "test", "ship", config=alone)

    async def scenario(runtime: Runtime, did: list[str]) -> None:
        execution = await runtime.start(one, {})
        await anyio.sleep(30)
        await execution.pause(mode="interrupt")
        await runtime.publish(two)
        with pytest.raises(CannotMigrate, match="'ship' is pending and has begun, and differs in forEach"):
            await execution.migrate("2")

    with_agents(scenario)


def test_an_execution_whose_past_does_not_fit_stays_where_it_is_and_says_why():
    """So does one that runs, and one that has ended."""

    async def scenario(runtime: Runtime, did: list[str]) -> None:
        execution = await runtime.start(ONE, {})
        await runtime.publish(OTHER)
        with pytest.raises(CannotMigrate, match="pause it first"):
            await execution.migrate("3")
        await execution.result(check=False)
        with pytest.raises(CannotMigrate, match="'build' is completed and is not there any more") as refused:
            await execution.migrate("3")
        assert len(refused.value.blockers) == 1
        assert (await execution.status()).workflow_version == "1"
        await execution.retry()
        await execution.result()
        with pytest.raises(CannotMigrate, match="it has ended"):
            await execution.migrate("3")
        with pytest.raises(NotFound, match=r"no version of .*: there are: 3, 1"):
            await execution.migrate("7")
        assert (await execution.migrate("1")).changes == ()

    with_agents(scenario)


def test_a_step_that_is_gone_leaves_its_name_in_the_log():
    """And nothing to wait for: what failed in it is no failure any more."""

    async def scenario(runtime: Runtime, did: list[str]) -> None:
        execution = await runtime.start(ONE, {})
        await execution.result(check=False)
        await runtime.publish(text("4", "build", "ship<build"))
        await execution.migrate("4")
        await execution.retry()
        assert (await execution.result()).outputs == {"build": "build", "ship": "ship"}
        assert (await execution.status()).steps_failed == 0
        assert "test" in [event.step async for event in execution.events()]

    with_agents(scenario)


def test_a_step_that_comes_back_has_not_begun():
    """It has gone with all it had come to: in the other version nothing was left of it."""

    async def scenario(runtime: Runtime, did: list[str]) -> None:
        await runtime.publish(text("1", "build", "red<build"))
        await runtime.publish(text("2", "build", "red<build", "red2<build"))
        execution = await runtime.start("release", {})
        for versions in ("12", "", "12"):
            await execution.result(check=False)
            for version in versions:
                await execution.migrate(version)
                await execution.restore("latest")
            if not versions:
                await execution.restore("latest")
            await execution.resume()
        assert (await execution.result(check=False)).status == "failed"
        assert did == ["build", *["red"] * 8]

    with_agents(scenario)


def test_the_same_move_twice_is_one_move():
    """Whoever has not heard the answer asks again."""

    async def scenario(runtime: Runtime, did: list[str]) -> None:
        execution = await runtime.start(ONE, {})
        await execution.result(check=False)
        await runtime.publish(TWO)
        await execution.migrate("2", command_id="move")
        version = (await execution.status()).version
        await execution.migrate("2", command_id="move")
        assert (await execution.status()).version == version
        assert (await execution.status()).state is State.FAILED
        with pytest.raises(IllegalTransition):
            await execution.resume()

    with_agents(scenario)


def test_two_versions_are_compared_path_by_path():
    """By label or revision."""

    async def scenario(runtime: Runtime, did: list[str]) -> None:
        for each in (ONE, TWO):
            await runtime.publish(each)
        found = await runtime.versions.diff("release", "1", "2")
        assert [change.path for change in found] == ["version", "steps.lint", "steps.tell"]
        assert await runtime.versions.diff("release", "2", "2") == []

    with_agents(scenario)
