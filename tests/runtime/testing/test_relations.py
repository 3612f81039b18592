"""The checker finds what does not fit between an execution and its inbox, its kin, its outbox."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import anyio
import msgspec
import pytest
from stories import Told

from perdure.runtime import Runtime, StepContext, Workflow
from perdure.runtime.testing import VirtualRuntime, run_virtual
from perdure.runtime.testing.virtual import virtual_seams

Play = Callable[[Runtime], Awaitable[object]]


def lived(path: Path, play: Play) -> Told:
    """A store in which that was played, and in which nothing is wrong yet."""

    async def heard(url: str, headers: Mapping[str, str], body: bytes) -> int:
        return 204

    async def main() -> None:
        seams = msgspec.structs.replace(virtual_seams(), post=heard)
        async with VirtualRuntime(path, seams=seams) as runtime:
            await play(runtime)

    run_virtual(main)
    told = Told(path)
    assert told.problems() == []
    return told


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file."""
    return tmp_path / "story.db"


def waiting(name: str, **options: object) -> Workflow:
    """One step that takes a minute."""
    workflow = Workflow(name, **options)

    @workflow.step
    async def work() -> int:
        await anyio.sleep(60)
        return 1

    return workflow


def test_a_message_that_was_applied_is_in_the_log(path: Path) -> None:
    """One that was refused is not, and one that has joined another need not be."""

    async def play(runtime: Runtime) -> None:
        await runtime.start(waiting("asked"), id="e")
        async with VirtualRuntime(path, seed=1, kind="client") as client:
            execution = await client.execution("e")
            await execution.signal("go", 1, command_id="go")
            with pytest.raises(Exception, match="only a failed or cancelled"):
                await execution.retry(command_id="no")
            for name in ("one", "two"):
                await execution.pause(mode="interrupt", command_id=name)

    told = lived(path, play)
    told.lie("UPDATE workflow_messages SET command_id = 'other' WHERE command_id = 'go'")
    assert told.problems() == ["execution e: message 1 (Signal) was applied, and is not in the log"]


@pytest.fixture
def family(path: Path) -> Told:
    """A parent and two children at work."""
    child = waiting("child")
    parent = Workflow("parent").workflow_step("left", workflow=child).workflow_step("right", workflow=child)

    async def play(runtime: Runtime) -> None:
        await runtime.publish(child)
        await runtime.start(parent, id="parent")
        await anyio.sleep(30)

    return lived(path, play)


def child_of(told: Told, step_no: int) -> str:
    """The id of a child."""
    return str(told.ask(f"SELECT id FROM workflow_executions WHERE parent_step = {step_no}"))


def test_a_child_is_known_to_its_parent(family: Told) -> None:
    """By name, in the log."""
    id_ = child_of(family, 0)
    family.lie(f"UPDATE workflow_events SET data = replace(data, '{id_}', 'nobody') WHERE step_no = 0")
    assert f"execution {id_}: its parent parent does not know it" in family.problems()


def test_a_step_has_one_child_at_work(family: Told) -> None:
    """Not a second one beside it."""
    ids = sorted(child_of(family, no) for no in (0, 1))
    family.lie("UPDATE workflow_executions SET parent_step = 0 WHERE parent_step = 1")
    found = [told for told in family.problems() if "is at work for the same step of its parent" in told]
    assert len(found) == 1
    assert all(id_ in found[0] for id_ in ids)


def test_whoever_waits_for_a_child_hears_of_its_end(family: Told) -> None:
    """It has, or it has mail."""
    id_ = child_of(family, 0)
    family.lie(f"UPDATE workflow_executions SET state = 'completed' WHERE id = '{id_}'")
    assert (
        f"execution {id_}: it has ended, and its parent parent waits for it and was not told"
        in family.problems()
    )


def test_nobody_outside_is_told_of_what_has_not_happened(path: Path) -> None:
    """A call of a webhook has a line of the log behind it, of the same version."""

    async def play(runtime: Runtime) -> None:
        workflow = waiting("telling", webhooks=[{"url": "http://there/hook"}])
        execution = await runtime.start(workflow, id="e")
        await execution.pause(mode="interrupt")
        await execution.resume()
        await execution.result()

    told = lived(path, play)
    told.lie("UPDATE workflow_deliveries SET event = 'failed' WHERE event = 'completed'")
    [problem] = told.problems()
    assert problem.endswith(" tells that it is failed, and its log does not")


COPY = (
    "INSERT INTO workflow_events (execution_no, version, at, type, step_no, attempt, data) "
    "SELECT execution_no, (SELECT max(version) FROM workflow_events), at, type, step_no, attempt, data "
    "FROM workflow_events WHERE type = '{type}' LIMIT 1"
)
END = "type = 'workflow_rolled_back'"


@pytest.fixture
def undone(path: Path) -> Told:
    """A rollback of one step."""

    async def play(runtime: Runtime) -> None:
        workflow = Workflow("undone")

        async def undo(context: StepContext) -> None:
            """Nothing."""

        @workflow.step(compensate=undo)
        async def first() -> int:
            return 1

        execution = await runtime.start(workflow, id="e")
        await execution.result()
        await execution.rollback("rain")
        await execution.result(check=False)

    return lived(path, play)


def test_what_could_be_undone_is_undone_when_it_was_rolled_back(undone: Told) -> None:
    """Every step that has completed and has a compensation."""
    undone.lie("DELETE FROM workflow_events WHERE type IN ('step_compensating', 'step_compensated')")
    assert any("workflow_rolled_back, although 'first' was not undone" in told for told in undone.problems())


def test_what_was_undone_is_not_undone_again(undone: Told) -> None:
    """Once, whatever the log says of the second time."""
    again = [COPY.format(type=type_) for type_ in ("step_compensating", "step_compensated")]
    last = f"DELETE FROM workflow_events WHERE {END} AND id < (SELECT max(id) FROM workflow_events)"
    undone.lie(*again, COPY.format(type="workflow_rolled_back"), last)
    assert any("although 'first' was undone 2 times" in told for told in undone.problems())
