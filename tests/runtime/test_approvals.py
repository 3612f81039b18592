"""Approvals through the whole runtime: cold, decided from elsewhere, early, in time or not, checked after."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest
from scenarios import virtually

from perdure.runtime import (
    DecisionRefused,
    ExecutionFailed,
    FormMismatch,
    NotAnApprover,
    Runtime,
    State,
    Workflow,
)
from perdure.runtime.testing import VirtualRuntime, check_store, run_virtual

HOUR_S = 3_600
FORM = {"type": "object", "required": ["limit"], "properties": {"limit": {"type": "integer"}}}


def release(scheduling: Any = "level", **asked: Any) -> Workflow:
    """Build, ask whether to ship, ship; tell in any case."""
    workflow = Workflow("release", scheduling=scheduling)

    @workflow.step
    async def build() -> str:
        return "v7"

    workflow.approval_step("ok", message="Ship {{build}}?", after=build, **asked)

    @workflow.step
    async def ship(build: str, ok: dict[str, Any]) -> str:
        return f"{build} shipped, {ok['decisions'][-1]['by']} said so"

    @workflow.step(after=[ship], dependencies_policy="all_done")
    async def tell(ok: dict[str, Any]) -> bool:
        return bool(ok["approved"])

    return workflow


@pytest.mark.parametrize("scheduling", ["level", "eager"])
def test_an_execution_that_asks_is_cold_and_goes_on_when_enough_have_approved(scheduling: str):
    """No actor, no owner; what is asked is in a list; the last approval lets it go on by itself."""

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(release(scheduling, approvers=["ann", "bob"], quorum=2))
        await anyio.sleep(HOUR_S)
        assert runtime.machine.executions.is_idle
        (waiting,) = await runtime.approvals()
        assert (waiting.execution_id, waiting.step, waiting.message) == (execution.id, "ok", "Ship v7?")
        assert await execution.approve("ok", by="ann") is State.AWAITING_COMPLETION
        with pytest.raises(NotAnApprover, match="eve may not decide on step 'ok': asked are ann, bob"):
            await execution.approve("ok", by="eve")
        await execution.approve("ok", by="bob", comment="at last")
        result = await execution.result()
        assert result.outputs["ship"] == "v7 shipped, bob said so"
        assert result.outputs["ok"]["decisions"][1]["comment"] == "at last"
        assert await runtime.approvals() == []

    virtually(scenario)


@pytest.mark.parametrize("scheduling", ["level", "eager"])
def test_who_may_decide_is_what_a_step_and_the_inputs_say(scheduling: Any):
    """Lists and single names beside each other; the list of what waits shows who it is."""
    workflow = Workflow("release", scheduling=scheduling)

    @workflow.step
    async def build() -> dict[str, list[str]]:
        return {"owners": ["ann", "bob"]}

    names = ["{{build.owners}}", "{{boss}}", "on-call"]
    workflow.approval_step("ok", approvers=names, quorum=3, after=build)

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(workflow, {"boss": "cleo"})
        await anyio.sleep(1)
        (waiting,) = await runtime.approvals()
        assert waiting.approvers == ("ann", "bob", "cleo", "on-call")
        for by in ("cleo", "ann", "on-call"):
            await execution.approve("ok", by=by)
        assert (await execution.result()).outputs["ok"]["approved"]

    virtually(scenario)


def test_a_process_that_performs_nothing_decides_and_a_worker_goes_on(tmp_path: Path):
    """The question survives the end of the process that asked it."""

    async def main() -> None:
        path = tmp_path / "a.db"
        workflow = release(form=FORM)
        async with VirtualRuntime(path, workflows=[workflow]) as runtime:
            await runtime.start(workflow, id="x")
            await anyio.sleep(1)
        async with VirtualRuntime(path, kind="client") as client:
            execution = await client.execution("x")
            with pytest.raises(FormMismatch, match=r"\$: \"limit\" is a required property"):
                await execution.approve("ok", by="ann", data={})
            answer = await execution.approve("ok", by="ann", data={"limit": 3})
            assert answer is State.SCHEDULING
        async with VirtualRuntime(path, workflows=[workflow]) as runtime:
            outputs = (await (await runtime.execution("x")).result()).outputs
            assert outputs["ok"]["data"] == {"limit": 3}
            assert await check_store(runtime.store) == []

    run_virtual(main)


def test_a_decision_reaches_the_runner_that_performs_the_execution(tmp_path: Path):
    """Through its inbox; what is refused there is the same error here."""

    async def main() -> None:
        path = tmp_path / "a.db"
        workflow = Workflow("busy").approval_step("ok", approvers=["ann"])

        @workflow.step
        async def work() -> str:
            await anyio.sleep(HOUR_S)
            return "done"

        async with VirtualRuntime(path, workflows=[workflow]) as runtime:
            owned = await runtime.start(workflow, id="x")
            async with VirtualRuntime(path, kind="client", seed="another") as client:
                execution = await client.execution("x")
                with pytest.raises(NotAnApprover, match="asked are ann"):
                    await execution.approve("ok", by="eve")
                assert await execution.approve("ok", by="ann") is State.EXECUTING
                with pytest.raises(DecisionRefused, match="is completed already"):
                    await execution.approve("ok", by="ann")
            assert (await owned.result()).outputs["ok"]["approved"]
            assert await check_store(runtime.store) == []

    run_virtual(main)


def test_to_be_rejected_is_no_failure():
    """What hangs on it is skipped; whoever runs in any case can read the decision."""

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(release())
        await anyio.sleep(1)
        await execution.reject("ok", by="ann")
        result = await execution.result()
        assert set(result.outputs) == {"build", "tell"}
        assert result.outputs["tell"] is False

    virtually(scenario)


def test_a_decision_repeated_under_its_id_is_answered_as_the_first_time():
    """Whoever asks again has not heard the answer."""

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(release(quorum=2))
        for _ in range(2):
            state = await execution.approve("ok", by="ann", command_id="one")
            assert state in (State.EXECUTING, State.AWAITING_COMPLETION)
        with pytest.raises(DecisionRefused, match="ann has approved step 'ok'"):
            await execution.approve("ok", by="ann", command_id="two")

    virtually(scenario)


def test_early_and_paused_decisions_count_when_their_time_comes():
    """One before the step asks, one while the execution rests."""

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(release(quorum=2))
        await execution.approve("ok", by="ann")
        await execution.pause()
        assert await execution.approve("ok", by="bob") is State.PAUSED
        await anyio.sleep(HOUR_S)
        assert (await execution.status()).state is State.PAUSED
        await execution.resume()
        assert (await execution.result()).outputs["ship"] == "v7 shipped, bob said so"

    virtually(scenario)


def test_what_is_not_decided_in_time_is_asked_of_others_and_fails_in_the_end():
    """All of it cold."""

    async def scenario(runtime: Runtime) -> None:
        asked = {"approvers": ["ann"], "timeout": HOUR_S, "on_timeout": "escalate", "escalate_to": ["eve"]}
        execution = await runtime.start(release(**asked))
        await anyio.sleep(HOUR_S + 60)
        (waiting,) = await runtime.approvals()
        assert waiting.approvers == ("eve",)
        with pytest.raises(ExecutionFailed, match=r"WaitTimeout: .* approval by eve \(0 of 1 given\)"):
            await execution.result()

    virtually(scenario)


def test_what_waits_for_long_is_told_of_by_whoever_is_there_then(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    """Also by one that has none of the code, and of what is paused; cold before and after."""

    async def main() -> None:
        path = tmp_path / "a.db"
        workflow = release()
        async with VirtualRuntime(path, workflows=[workflow]) as runtime:
            await runtime.start(workflow, id="waiting")
            paused = await runtime.start(workflow, id="paused")
            await anyio.sleep(HOUR_S)
            await paused.pause()
        await anyio.sleep(48 * HOUR_S)
        async with VirtualRuntime(path) as runtime:
            await anyio.sleep(1)
            assert runtime.machine.executions.is_idle
            await anyio.sleep(48 * HOUR_S)
            found = {}
            for id_ in ("waiting", "paused"):
                execution = await runtime.execution(id_)
                events = [event async for event in execution.events() if event.type == "waiting_long"]
                found[id_] = [(event.step, event.data["for"]) for event in events]
            assert found == {
                "waiting": [("ok", "approval")],
                "paused": [("ok", "approval"), (None, "pause")],
            }
            assert (await execution.status()).state is State.PAUSED
            assert await check_store(runtime.store) == []
        lines = [record for record in caplog.records if getattr(record, "event", "") == "waiting_long"]
        assert [line.levelname for line in lines] == ["WARNING"] * 3

    run_virtual(main)
