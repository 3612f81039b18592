"""Publishing a workflow declares its schedules, and takes back those that are gone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest
from scenarios import virtually

from perdure.runtime import InvalidArgument, Runtime, Workflow
from perdure.runtime.testing import VirtualRuntime, run_virtual

HOUR = 3600.0


def report(*schedule: dict[str, Any], name: str = "report") -> Workflow:
    """A workflow of one step that declares these."""
    workflow = Workflow(name, schedule=schedule)

    @workflow.step
    async def write(day: str = "") -> str:
        return day

    return workflow


async def ids(runtime: Runtime) -> dict[str, str]:
    """The schedules there are, with their rules as a sentence."""
    return {
        one.id: str(one.rule.get("everyMs") or one.rule.get("cron")) for one in await runtime.schedules.list()
    }


def test_a_published_workflow_starts_by_itself():
    """With the input it declares, under ids made of its name."""

    async def body(runtime: Runtime) -> None:
        await runtime.publish(report({"every": "1h", "input": {"day": "now"}}, {"cron": "0 2 * * *"}))
        assert await ids(runtime) == {"report": "3600000", "report-2": "0 2 * * *"}
        assert all(one.is_declared for one in await runtime.schedules.list())
        await anyio.sleep(1.01 * HOUR)
        (execution,) = await runtime.list()
        assert (await (await runtime.execution(execution.id)).result()).outputs == {"write": "now"}

    virtually(body)


@pytest.mark.parametrize(("given", "told"), [({}, "'day'"), ({"day": "noon"}, "'noon'")])
def test_a_schedule_with_which_no_start_would_be_accepted_is_refused(given: dict[str, Any], told: str):
    """Also where only a function says what it takes; nothing is published."""
    workflow = Workflow("report", schedule=[{"every": "1h", "input": given}])

    @workflow.step
    async def write(day: int) -> int:
        return day

    async def body(runtime: Runtime) -> None:
        with pytest.raises(InvalidArgument, match=f"schedule 'report'.*{told}"):
            await runtime.publish(workflow)
        assert await runtime.schedules.list() == []

    virtually(body)


def test_what_is_declared_no_more_is_gone_and_what_was_added_by_hand_stays():
    """Also where the hand has taken over one of the declared."""

    async def body(runtime: Runtime) -> None:
        await runtime.publish(report({"every": "1h"}, {"every": "2h"}, {"every": "3h"}))
        await runtime.schedules.add("mine", "report", every="5m")
        await runtime.schedules.add("report-2", "report", every="7m")
        await runtime.publish(report({"every": "90m"}, {"every": "2h"}))
        assert await ids(runtime) == {"mine": "300000", "report": "5400000", "report-2": "420000"}
        await runtime.publish(report())
        assert await ids(runtime) == {"mine": "300000", "report-2": "420000"}

    virtually(body)


def test_another_schedule_makes_no_other_revision():
    """What the store keeps of the workflow does not change with it."""

    async def body(runtime: Runtime) -> None:
        first = await runtime.publish(report({"every": "1h"}))
        second = await runtime.publish(report({"every": "2h"}))
        assert first == second
        assert "schedule" not in first.definition
        assert await ids(runtime) == {"report": "7200000"}

    virtually(body)


def test_a_program_that_publishes_at_every_start_loses_no_moment(tmp_path: Path):
    """What fell between two of its lives is made up for; a paused schedule stays paused."""
    path = str(tmp_path / "perdure.db")
    declared = ({"every": "1h", "missed": "all"}, {"id": "rests", "every": "1h"})

    async def main() -> tuple[int, int]:
        async with VirtualRuntime(path, workflows=[report(*declared)]) as runtime:
            await runtime.schedules.pause("rests")
        await anyio.sleep(3.5 * HOUR)
        async with VirtualRuntime(path, workflows=[report(*declared)], seed=2) as runtime:
            await anyio.sleep(1)
            kept = await runtime.schedules.history("report")
            return sum(one.count for one in kept), len(await runtime.schedules.history("rests"))

    assert run_virtual(main) == (3, 0)


def test_two_workflows_cannot_declare_one_schedule():
    """The second is refused before anything of it is written."""

    async def body(runtime: Runtime) -> None:
        await runtime.publish(report({"id": "nightly", "every": "1h"}))
        with pytest.raises(InvalidArgument, match="'nightly', which 'report' has"):
            await runtime.publish(report({"id": "nightly", "every": "1h"}, name="other"))
        assert [one.name for one in await runtime.workflows()] == ["report"]

    virtually(body)


def test_a_declaration_is_heard_of_by_a_runtime_that_keeps_schedules_already(tmp_path: Path):
    """It does not wait for the next look at the clock."""
    path = str(tmp_path / "perdure.db")

    async def main() -> list[str]:
        async with (
            VirtualRuntime(path, kind="worker") as worker,
            VirtualRuntime(path, kind="client", seed=2) as client,
        ):
            await anyio.sleep(1)
            await client.publish(report({"every": "10s"}))
            await anyio.sleep(25)
            return [one.decision for one in await worker.schedules.history("report")]

    assert len(run_virtual(main)) == 2
