"""Hooks and compensations through the whole runtime, in virtual time, with the store checked after."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest
from scenarios import told, virtually

from perdure.runtime import (
    Action,
    ExecutionRolledBack,
    IllegalTransition,
    Retry,
    Runtime,
    State,
    Status,
    StepContext,
    Workflow,
)
from perdure.runtime.testing import VirtualRuntime, check_store, run_virtual

FOREVER_S = 3_600.0


class World:
    """What bodies have done, in order."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.acts: list[str] = []
        self.is_broken = False  # compensations fail


def order(world: World, *, pays: bool = True, **options: Any) -> Workflow:
    """Reserve, charge, ship: each can be undone."""
    workflow = Workflow("order", **options)

    async def release(reserve: str, item: str) -> None:
        world.acts.append(f"release {reserve} of {item}")

    async def refund(charge: dict[str, int], execution: dict[str, Any]) -> str:
        if world.is_broken:
            raise OSError("the bank is closed")
        world.acts.append(f"refund {charge['amount']} because {execution['reason']}")
        return "refunded"

    @workflow.step(compensate=release)
    async def reserve(item: str) -> str:
        world.acts.append(f"reserve {item}")
        return f"1 {item}"

    @workflow.step(compensate=Action(refund, retry=Retry(max_retries=1, delay=60)))
    async def charge(reserve: str) -> dict[str, int]:
        world.acts.append("charge")
        return {"amount": 40}

    @workflow.step
    async def ship(charge: dict[str, int]) -> str:
        if not pays:
            raise OSError("no truck")
        world.acts.append("ship")
        await anyio.sleep(1)
        return "shipped"

    return workflow


@pytest.mark.parametrize("scheduling", ["level", "eager"])
def test_a_failure_is_undone_last_things_first_and_says_why(scheduling: Any):
    """The compensations see what the steps have given, and why they are asked."""
    world = World()

    async def scenario(runtime: Runtime) -> None:
        workflow = order(world, pays=False, on_failure="compensate", scheduling=scheduling)
        execution = await runtime.start(workflow, {"item": "lamp"})
        with pytest.raises(ExecutionRolledBack, match="rolled_back: step 'ship' failed"):
            await execution.result()
        assert world.acts[2:] == [
            "refund 40 because step 'ship' failed after 1 attempt: OSError: no truck",
            "release 1 lamp of lamp",
        ]
        result = await execution.result(check=False)
        assert (result.status, result.steps) == (Status.ROLLED_BACK, {})
        summary = await execution.status()
        assert (summary.steps_total, summary.steps_failed, summary.steps_running) == (3, 1, 0)
        assert (await told(execution))[-5:] == [
            "step_compensating charge",
            "step_compensated charge",
            "step_compensating reserve",
            "step_compensated reserve",
            "workflow_rolled_back",
        ]

    virtually(scenario)


def test_a_running_execution_is_stopped_and_undone():
    """The step in flight is told why it is cancelled."""
    world = World()

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(order(world), {"item": "lamp"})
        await anyio.sleep(0.5)
        assert await execution.rollback("second thoughts", by="ann") is State.ROLLED_BACK
        described = await execution.query()
        states = {key: step["state"] for key, step in described["steps"].items()}
        assert states == {"reserve": "compensated", "charge": "compensated", "ship": "cancelled"}
        assert described["rollback_reason"] == "second thoughts"
        assert described["compensations"]["charge.compensate"]["state"] == "completed"
        with pytest.raises(IllegalTransition, match="start it again"):
            await execution.retry()

    virtually(scenario)


def test_the_past_of_a_completed_execution_is_undone_long_after():
    """By another runtime, that finds it in the store."""
    world = World()

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(order(world), {"item": "lamp"})
        await execution.result()
        await anyio.sleep(FOREVER_S)
        assert await execution.rollback("recalled") is State.ROLLED_BACK
        assert world.acts[-2:] == ["refund 40 because recalled", "release 1 lamp of lamp"]

    virtually(scenario)


def test_a_fork_undoes_what_it_did_and_its_source_what_it_shares():
    """Nothing is undone twice, whichever of them is rolled back first, and however often it is folded."""
    world = World()

    async def scenario(runtime: Runtime) -> None:
        source = await runtime.start(order(world), {"item": "lamp"})
        await source.result()
        fork = await source.fork(from_step="charge")
        await fork.result()
        world.acts.clear()
        await anyio.sleep(FOREVER_S)
        assert await fork.rollback("of the fork") is State.ROLLED_BACK
        assert world.acts == ["refund 40 because of the fork"]
        states = {key: step["state"] for key, step in (await fork.query())["steps"].items()}
        assert states == {"reserve": "completed", "charge": "compensated", "ship": "completed"}
        assert await source.rollback("of the source") is State.ROLLED_BACK
        assert world.acts[1:] == ["refund 40 because of the source", "release 1 lamp of lamp"]

    virtually(scenario)


def test_a_fork_that_has_done_nothing_itself_has_nothing_to_undo():
    """All that could be undone is its source's."""
    world = World()

    async def scenario(runtime: Runtime) -> None:
        source = await runtime.start(order(world), {"item": "lamp"})
        await source.result()
        fork = await source.fork(from_step="ship")
        await fork.result()
        with pytest.raises(IllegalTransition, match="nothing that it has completed itself has"):
            await fork.rollback()

    virtually(scenario)


def test_what_could_not_be_undone_is_named_and_a_retry_goes_on_with_it():
    """Under the same idempotency keys."""
    world = World()

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(order(world), {"item": "lamp"})
        await execution.result()
        world.is_broken = True
        assert await execution.rollback("recalled") is State.FAILED
        error = (await execution.result(check=False)).error
        assert error is not None
        assert error.type == "RollbackFailed"
        assert (
            "could not be undone: charge (OSError: the bank is closed); left as they are: reserve"
            in error.message
        )
        world.is_broken = False
        await execution.retry()
        assert (await execution.result(check=False)).status is Status.ROLLED_BACK
        assert world.acts[-2:] == ["refund 40 because recalled", "release 1 lamp of lamp"]

    virtually(scenario)


def test_a_cancel_undoes_where_it_says_so():
    """The same as a rollback, in one word."""
    world = World()

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(order(world), {"item": "lamp"})
        await anyio.sleep(0.5)
        assert await execution.cancel("enough", compensate=True) is State.ROLLED_BACK
        assert "refund 40 because enough" in world.acts

    virtually(scenario)


def test_who_has_no_code_leaves_the_undoing_to_whoever_has(tmp_path: Path):
    """A client is told where it stands; the next runner goes on."""
    world = World()
    path = tmp_path / "r.db"

    async def main() -> None:
        async with VirtualRuntime(path, workflows=[order(world)]) as runtime:
            await (await runtime.start(order(world), {"item": "lamp"}, id="x")).result()
        async with VirtualRuntime(path, kind="client") as client:
            assert await (await client.execution("x")).rollback("recalled") is State.COMPENSATING
        async with VirtualRuntime(path, workflows=[order(world)]) as runtime:
            execution = await runtime.execution("x")
            assert (await execution.result(check=False)).status is Status.ROLLED_BACK
            assert await check_store(runtime.store) == []

    run_virtual(main)


def test_the_statements_of_a_compensation_are_executed_with_its_outcome(tmp_path: Path):
    """Exactly once."""
    workflow = Workflow("ledger")

    async def unbook(context: StepContext) -> None:
        with context.transaction() as tx:
            tx.execute("DELETE FROM entries WHERE id = ?", (1,), rows=1)

    @workflow.step(compensate=unbook)
    async def book(context: StepContext) -> None:
        with context.transaction() as tx:
            tx.execute("CREATE TABLE IF NOT EXISTS entries (id INTEGER)")
            tx.execute("INSERT INTO entries VALUES (?)", (1,))

    async def main() -> None:
        async with VirtualRuntime(tmp_path / "l.db") as runtime:
            execution = await runtime.start(workflow)
            await execution.result()
            assert await execution.rollback() is State.ROLLED_BACK
            assert await check_store(runtime.store) == []

    run_virtual(main)


def test_a_lambda_and_a_local_function_can_undo_and_print_as_what_they_are():
    """Both forms are one workflow: what names can be printed reads back equal."""
    text = """
name: sale
config: {onFailure: compensate}
hooks:
  onFailure: {agent: mail, prompt: '{{execution.error.message}}', timeoutMs: 5000}
  finally: {agent: clean}
steps:
  - key: charge
    agent: bank
    prompt: '{{card}}'
    compensate: {agent: refund, prompt: '{{charge.id}}', retryPolicy: {maxRetries: 3}}
"""
    read = Workflow.parse(text)
    made = Workflow("sale", on_failure="compensate")
    made.agent_step(
        "charge",
        agent="bank",
        prompt="{{card}}",
        compensate=Action("refund", prompt="{{charge.id}}", retry=Retry(max_retries=3)),
    )
    made.hook("onFailure", Action("mail", prompt="{{execution.error.message}}", timeout=5.0))
    made.hook("finally", "clean")
    assert made.revision == read.revision == Workflow.parse(made.to_json()).revision
    assert Workflow.parse(made.to_yaml()).definition == read.definition


def test_children_are_undone_with_their_parent():
    """One that runs stops and undoes what it did; one that has ended is undone by what its step says."""
    world = World()
    leaf = order(world)
    parent = Workflow("parent")

    async def recall(done: dict[str, Any]) -> None:
        world.acts.append(f"recall {done['ship']}")

    parent.workflow_step("done", workflow=leaf, input={"item": "lamp"}, compensate=recall)
    parent.workflow_step("runs", workflow=leaf, input={"item": "desk"}, after="done")

    async def scenario(runtime: Runtime) -> None:
        await runtime.publish(leaf)
        execution = await runtime.start(parent)
        await anyio.sleep(1.5)
        assert await execution.rollback("rain") is State.ROLLED_BACK
        ends = {each.triggered_by: each.status.value for each in await runtime.list(parent=execution.id)}
        assert ends == {"step done": "completed", "step runs": "rolled_back"}
        assert world.acts[-3:] == [
            "refund 40 because its parent is rolled back",
            "release 1 desk of desk",
            "recall shipped",
        ]

    virtually(scenario)


def test_what_is_cold_runs_its_hooks_when_it_ends_and_its_compensations_when_it_is_undone():
    """A body needs an actor, whoever has moved the execution on."""
    heard: list[str] = []
    workflow = Workflow("w")

    async def undo() -> None:
        heard.append("undone")

    @workflow.step(compensate=undo)
    async def work() -> int:
        return 1

    workflow.signal_step("go", signal="go", after="work")

    @workflow.hook("finally")
    async def close(execution: dict[str, Any]) -> None:
        heard.append(execution["state"])

    async def scenario(runtime: Runtime) -> None:
        ended, undone = await runtime.start(workflow), await runtime.start(workflow)
        await anyio.sleep(60)
        assert runtime.machine.executions.is_idle
        await ended.signal("go")
        assert (await ended.result()).status is Status.COMPLETED
        assert await undone.rollback() is State.ROLLED_BACK
        assert heard == ["completed", "undone", "rolled_back"]

    virtually(scenario)


def test_a_rejection_and_a_breaker_undo_what_was_done():
    """Where the workflow says so."""
    undone: list[str] = []

    def make(name: str, **options: Any) -> Workflow:
        workflow = Workflow(name, **options)

        async def undo(execution: dict[str, Any]) -> None:
            undone.append(f"{name}: {execution['reason']}")

        @workflow.step(compensate=undo)
        async def work() -> int:
            return 1

        return workflow

    asks = make("asks").approval_step("ok", after="work", on_reject="compensate")
    breaker = {"errors": 2, "window": 60_000, "onTrip": "compensate"}
    trips = make("trips", circuit_breaker=breaker)

    @trips.step(after="work", retry=Retry(max_retries=5, delay=0))
    async def fails() -> None:
        raise OSError("no")

    async def scenario(runtime: Runtime) -> None:
        asked = await runtime.start(asks)
        await anyio.sleep(1)
        await asked.reject("ok", by="ann", comment="too dear")
        assert (await asked.result(check=False)).status is Status.ROLLED_BACK
        tripped = await runtime.start(trips)
        result = await tripped.result(check=False)
        assert (result.status, result.error and result.error.type) == (
            Status.ROLLED_BACK,
            "CircuitBreakerTripped",
        )
        assert result.error is not None
        assert "retry" not in result.error.message  # which would be refused
        assert [text.partition(" ")[0] for text in undone] == ["asks:", "trips:"]
        assert "too dear" in undone[0]

    virtually(scenario)
