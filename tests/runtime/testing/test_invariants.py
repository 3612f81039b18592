"""The checker finds nothing in honest stores and every lie that is planted in one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest
from stories import Told

from perdure.runtime import Retry, StepContext, Workflow
from perdure.runtime.testing import Acknowledged, Effect, VirtualRuntime, run_virtual
from perdure.store.states import State


class Story(Told):
    """A store with an eventful life in it."""

    def __init__(self, path: Path) -> None:
        """Live it: a retry, a pause, a checkpoint, a failure, a restore, a retried end."""
        super().__init__(path)
        run_virtual(self._live)

    def _workflow(self) -> Workflow:
        workflow = Workflow("story")

        def act(context: StepContext) -> None:
            fields = {name: getattr(context, name) for name in Effect.__struct_fields__}
            self.ledger.append(Effect(**fields))

        @workflow.step(retry=Retry(max_retries=1, delay=1))
        async def first(context: StepContext) -> int:
            act(context)
            if context.attempt == 1:
                raise OSError("again")
            return 1

        @workflow.step
        async def second(context: StepContext, first: int) -> int:
            act(context)
            await anyio.sleep(10)
            if context.generation < 2:
                raise OSError("for good")
            return first + 1

        @workflow.step
        async def third(context: StepContext, second: int) -> int:
            act(context)
            return second + 1

        return workflow

    async def _live(self) -> None:
        async with VirtualRuntime(self.path) as runtime:
            execution = await runtime.start(self._workflow(), {}, id="e")
            await anyio.sleep(5)
            await execution.pause(mode="interrupt", command_id="pause")
            await execution.checkpoint(label="here", command_id="mark")
            await execution.resume(command_id="resume")
            await execution.result(check=False)
            await execution.retry(command_id="retry")
            await execution.result(check=False)
            await execution.restore("here", command_id="restore")
            await execution.resume(command_id="again")
            await execution.result()
        commands = (None, "pause", "mark", "resume", "retry", "restore", "again")
        self.told = [Acknowledged(execution_id="e", command_id=id_) for id_ in commands]


@pytest.fixture
def story(tmp_path: Path) -> Story:
    """One that is true."""
    return Story(tmp_path / "story.db")


def test_an_honest_store_has_no_problems(story: Story) -> None:
    """However eventful the life was."""
    assert story.problems() == []


STOPS = [{"circuit_breaker": {"errors": 1}}, {"timeout": 5}]


@pytest.mark.parametrize("stop", STOPS, ids=["tripped", "late"])
def test_a_cancel_of_what_has_stopped_by_itself_is_no_other_end(tmp_path: Path, stop: dict[str, Any]) -> None:
    """The hook that it cuts short is over: it is not to run again."""
    workflow = Workflow("stopped", **stop)

    @workflow.step(retry=Retry(max_retries=1, delay=60))
    async def work() -> None:
        raise OSError("no luck")

    @workflow.hook("onFailure")
    async def tell() -> None:
        await anyio.sleep(1_000)

    told = Told(tmp_path / "stopped.db")

    async def live() -> None:
        async with VirtualRuntime(told.path) as runtime:
            execution = await runtime.start(workflow, id="e")
            await anyio.sleep(10)
            assert await execution.cancel() is State.FAILED

    run_virtual(live)
    assert told.problems() == []


COPY = (
    "INSERT INTO workflow_events (execution_no, version, at, type, step_no, attempt, data, command_id) "
    "SELECT execution_no, {version}, at, type, step_no, attempt, data, command_id FROM workflow_events "
    "WHERE type = '{type}' AND step_no IS {step} ORDER BY id LIMIT 1"
)
LAST = "(SELECT max(version) FROM workflow_events)"


@pytest.mark.parametrize(
    ("lie", "sentence"),
    [
        ("DELETE FROM workflow_events WHERE type = 'step_interrupted'", "although it is running"),
        ("DELETE FROM workflow_events WHERE type = 'workflow_retried'", "comes after the end"),
        ("DELETE FROM workflow_events WHERE type = 'workflow_resumed'", "although a stop was asked for"),
        ("DELETE FROM workflow_events WHERE type = 'step_completed' AND step_no = 0", "it needs 'first'"),
        ("DELETE FROM workflow_events WHERE type = 'step_completed' AND step_no = 2", "not in the log"),
        ("DELETE FROM workflow_events WHERE type = 'workflow_completed'", "its log ends"),
        (COPY.format(version=LAST, type="step_started", step=2), "although it has ended completed"),
        (
            COPY.format(version=LAST, type="signal_received", step="NULL").replace(
                "signal_received", "pause_requested"
            ),
            "was applied 2 times",
        ),
        ("UPDATE workflow_executions SET state = 'failed'", "and its log ends completed"),
        (
            "UPDATE workflow_step_executions SET is_outcome = 1, settled_version = 1 WHERE state = 'failed'",
            "outcomes",
        ),
        ("UPDATE workflow_step_executions SET lineage = 7 WHERE step_no = 2", "its row says"),
        (
            "UPDATE workflow_step_executions SET settled_version = settled_version - 1 WHERE step_no = 2",
            "in the rows and not in the log",
        ),
        ("DELETE FROM workflow_step_executions WHERE step_no = 2", "there is no row"),
        (
            "UPDATE workflow_events SET version = version + 100 WHERE type = 'workflow_completed'",
            "a change was lost",
        ),
    ],
)
def test_a_lie_in_the_store_is_found(story: Story, lie: str, sentence: str) -> None:
    """Rows, log and end have to tell one story, and it has to be a possible one."""
    story.lie(lie)
    assert any(sentence in problem for problem in story.problems()), story.problems()


def test_an_effect_that_no_start_explains_is_found(story: Story) -> None:
    """A body ran twice with nothing between, or before its start was durable."""
    effect = story.ledger[-1]
    expected = "execution e: attempt 1 of 'third' (generation 0) acted 2 times and was started 1 times"
    assert story.problems(ledger=[*story.ledger, effect]) == [expected]


def test_an_outcome_without_its_effect_is_found(story: Story) -> None:
    """It completed, and the world does not know."""
    (problem,) = story.problems(ledger=[effect for effect in story.ledger if effect.attempt != 2])
    assert problem.endswith("attempt 2 of 'first' (generation 0) completed and never acted")


def test_a_repetition_under_another_key_is_found(story: Story) -> None:
    """An interrupted attempt has to repeat its effects under the same key."""
    other = [
        Effect(
            execution_id=effect.execution_id,
            step=effect.step,
            generation=effect.generation,
            attempt=effect.attempt,
            idempotency_key=f"{effect.idempotency_key}-{no}",
        )
        for no, effect in enumerate(story.ledger)
    ]
    assert any("idempotency keys" in problem for problem in story.problems(ledger=other))


def test_one_key_for_two_lineages_is_found(story: Story) -> None:
    """After a restore the same effect is another one."""
    same = [
        Effect(
            execution_id=effect.execution_id,
            step=effect.step,
            generation=effect.generation,
            attempt=effect.attempt,
            idempotency_key=effect.step,
        )
        for effect in story.ledger
    ]
    assert any("for another lineage" in problem for problem in story.problems(ledger=same))


def test_a_lost_acknowledgement_is_found(story: Story) -> None:
    """Of a command, and of a start."""
    told = [Acknowledged(execution_id="e", command_id="never"), Acknowledged(execution_id="lost")]
    assert story.problems(told=told) == [
        "execution e: command never was acknowledged and is not in the log",
        "execution lost was acknowledged and is not in the store",
    ]


def test_effects_of_an_execution_that_never_was_are_found(story: Story) -> None:
    """A body ran before its execution was durable."""
    stray = Effect(execution_id="x", step="first", generation=0, attempt=1, idempotency_key="x:first:0")
    assert story.problems(ledger=[*story.ledger, stray]) == ["execution x has acted and is not in the store"]
