"""What cannot be is refused in words, before anything is written."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from scenarios import noop, order, virtually

from perdure.runtime import (
    Agents,
    InvalidArgument,
    InvalidContext,
    NotFound,
    NotSerializable,
    PayloadTooLarge,
    Runtime,
    RuntimeClosed,
    State,
    Status,
    TemplateError,
    UnknownAgent,
    Workflow,
)


@pytest.mark.parametrize("status", ["Running", "", "success", "RUNNING", "in_progress"])
def test_a_status_nobody_defined_is_refused_by_name(status: str) -> None:
    """Never mapped silently."""

    async def scenario(runtime: Runtime) -> None:
        with pytest.raises(NotFound, match="rolled_back"):
            await runtime.list(status=status)

    virtually(scenario)


@pytest.mark.parametrize(
    ("context", "error"),
    [
        ({}, InvalidContext),
        ({"item": "lamp", "bad": object()}, NotSerializable),
        ({"item": "x" * 2_000_000}, PayloadTooLarge),
        ({"item": "lamp", "reserve": 1}, InvalidContext),
    ],
)
def test_a_context_that_cannot_work_is_refused_before_any_step_runs(
    context: dict[str, Any], error: type[Exception]
) -> None:
    """And nothing is written."""

    async def scenario(runtime: Runtime) -> None:
        with pytest.raises(error):
            await runtime.start(order(), context)
        assert await runtime.list() == []

    virtually(scenario)


def test_an_agent_nobody_registered_is_refused_at_the_start() -> None:
    """By name, with what there is."""
    agents = Agents()
    agents.add("reviewer", noop)

    async def scenario(runtime: Runtime) -> None:
        workflow = Workflow.parse("name: w\nsteps:\n  - {key: a, agent: reveiwer}\n")
        with pytest.raises(UnknownAgent, match="reviewer"):
            await runtime.start(workflow)

    virtually(scenario, agents=agents)


def test_missing_agents_and_missing_inputs_are_one_list() -> None:
    """Nobody should have to repair one to hear of the next."""

    async def scenario(runtime: Runtime) -> None:
        text = """
            name: w
            steps:
              - {key: a, agent: reviewer, prompt: "look at {{filePath}}"}
              - {key: b, agent: writer}
              - {key: c, agent: printer}
        """
        with pytest.raises(TemplateError) as caught:
            await runtime.start(Workflow.parse(text))
        for part in ("filePath", "no agent 'writer'", "no agent 'printer'"):
            assert part in str(caught.value)
        with pytest.raises(UnknownAgent) as unknown:
            await runtime.start(Workflow.parse(text), {"filePath": "x"})
        assert unknown.value.names == ("writer", "printer")
        assert str(unknown.value).count("no agent") == 2

    agents = Agents()
    agents.add("reviewer", noop)
    virtually(scenario, agents=agents)


def test_a_patch_that_names_a_step_is_refused() -> None:
    """A context key equal to a step's is ambiguous in every template."""

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(order(seconds=10), {"item": "lamp"})
        with pytest.raises(InvalidContext):
            await execution.update_context({"charge": 1})

    virtually(scenario)


def test_what_does_not_exist_is_not_found() -> None:
    """Executions and workflows alike."""

    async def scenario(runtime: Runtime) -> None:
        with pytest.raises(NotFound):
            await runtime.execution("nobody")
        with pytest.raises(NotFound):
            await runtime.start("nothing")
        with pytest.raises(NotFound):
            await runtime.find("zzz")

    virtually(scenario)


@pytest.mark.parametrize("text", ["", " "])
def test_an_empty_id_is_refused_and_never_stands_for_the_only_execution(text: str) -> None:
    """A variable that is not set must not cancel what happens to be there."""

    async def scenario(runtime: Runtime) -> None:
        await (await runtime.start(order(), {"item": "lamp"})).result()
        with pytest.raises(InvalidArgument, match="ID is empty"):
            await runtime.find(text)

    virtually(scenario)


def test_a_pause_in_a_mode_nobody_knows_names_those_there_are() -> None:
    """Instead of a bare ValueError."""

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(order(), {"item": "lamp"})
        with pytest.raises(InvalidArgument, match="'hard': it is one of drain, interrupt"):
            await execution.pause(mode="hard")
        assert (await execution.result()).status is Status.COMPLETED

    virtually(scenario)


def test_what_is_no_workflow_is_neither_started_nor_published() -> None:
    """A number, or a file that nobody has read yet."""

    async def scenario(runtime: Runtime) -> None:
        for wrong in (3, Path("order.yaml")):
            with pytest.raises(InvalidArgument, match="is no workflow: give a Workflow"):
                await runtime.start(wrong)  # type: ignore[arg-type]
            with pytest.raises(InvalidArgument, match="is no workflow"):
                await runtime.publish(wrong)  # type: ignore[arg-type]

    virtually(scenario)


def test_inputs_that_are_no_mapping_are_refused_in_words() -> None:
    """Of a start, a resume and a patch."""

    async def scenario(runtime: Runtime) -> None:
        for wrong in ([1], "lamp", 3):
            with pytest.raises(InvalidArgument, match="give a mapping of names to values"):
                await runtime.start(order(), wrong)  # type: ignore[arg-type]
        execution = await runtime.start(order(), {"item": "lamp"})
        with pytest.raises(InvalidArgument, match="the context patch is of type list"):
            await execution.update_context([1])  # type: ignore[arg-type]

    virtually(scenario)


@pytest.mark.parametrize(
    "options",
    [
        {"timeout": float("nan")},
        {"timeout": float("inf")},
        {"timeout": 0},
        {"timeout": 1e18},
        {"priority": "high"},
        {"priority": 10**20},
        {"triggered_by": "x" * 10_000},
        {"triggered_by": ""},
        {"id": 5},
    ],
)
def test_an_argument_that_cannot_be_is_refused_and_nothing_is_written(options: dict[str, Any]) -> None:
    """At once, in words, typed."""

    async def scenario(runtime: Runtime) -> None:
        with pytest.raises(InvalidArgument):
            await runtime.start(order(), {"item": "lamp"}, **options)
        assert await runtime.list() == []

    virtually(scenario)


@pytest.mark.parametrize(
    "options",
    [
        {"workflows": order()},
        {"workflows": 3},
        {"workflows": ["order"]},
        {"on_step_start": 3},
        {"keys": b"k" * 32},
    ],
    ids=str,
)
def test_what_a_runtime_cannot_be_made_of_is_refused_in_words(options: dict[str, Any]) -> None:
    """One workflow is no list of them, and what is to be called has to be a function."""
    with pytest.raises(InvalidArgument, match="give a"):
        Runtime(":memory:", **options)


def test_patience_of_a_wrong_type_is_refused_in_words() -> None:
    """A wait of no length is one, and so is one whose end has passed, as a program may have reckoned."""

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(order(), {"item": "lamp"})
        with pytest.raises(InvalidArgument, match="timeout is 'a': give a length of time such as"):
            await execution.result(timeout="a")  # type: ignore[arg-type]
        for passed in (0, -1.5):
            with pytest.raises(TimeoutError):
                await execution.result(timeout=passed)

    virtually(scenario)


def test_a_runtime_answers_only_in_its_own_event_loop() -> None:
    """In another, as a second thread has, whoever asks would wait for ever; a coroutine may be sent over."""

    async def main() -> None:
        async with Runtime(":memory:", workflows=[order()]) as runtime:
            execution = await runtime.start("order", {"item": "lamp"}, id="o-1")
            for call in (lambda: runtime.start("order", {"item": "lamp"}), execution.result, runtime.list):
                with pytest.raises(RuntimeClosed, match="not open in this event loop"):
                    await asyncio.to_thread(asyncio.run, call())
            loop = asyncio.get_running_loop()
            sent = await asyncio.to_thread(asyncio.run_coroutine_threadsafe, runtime.schedules.list(), loop)
            assert await asyncio.wrap_future(sent) == []

    asyncio.run(main())


def test_a_runtime_is_left_in_the_task_that_has_entered_it() -> None:
    """Else it says so, and can still be left there."""

    async def main() -> None:
        runtime = Runtime(":memory:", workflows=[order()])
        async with runtime:
            with pytest.raises(RuntimeError, match="left in the task that has entered it"):
                await asyncio.create_task(runtime.__aexit__(None, None, None))
            execution = await runtime.start("order", {"item": "lamp"})
            assert await execution.cancel() is State.CANCELLED

    asyncio.run(main())


@pytest.mark.parametrize("place", [None, 3, "", b"x.db", "a\0b"])
def test_a_store_is_never_made_in_a_file_called_none(place: Any) -> None:
    """What no setting gave is no place; neither for a store, nor for a copy of one."""
    with pytest.raises(InvalidArgument, match=r"location is .*: give the path of a file"):
        Runtime(place)

    async def scenario(runtime: Runtime) -> None:
        with pytest.raises(InvalidArgument, match=r"target is .*: give the path of a file"):
            await runtime.backup(place)

    virtually(scenario)


def test_agents_that_are_no_registry_are_refused() -> None:
    """A mapping of functions, say."""
    with pytest.raises(InvalidArgument, match="agents is of type dict: give an Agents registry"):
        Runtime(":memory:", agents={"a": print})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong",
    [{"by": 3}, {"by": ["ada"]}, {"by": ""}, {"by": "a\0b"}, {"by": "\ud800"}, {"expected_version": "3"}],
)
def test_every_command_says_by_whom_in_a_text_and_of_which_version_in_a_number(wrong: dict[str, Any]) -> None:
    """Before anything is written; a number as the name would be kept as a text."""

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(order(seconds=10), {"item": "lamp"})
        for command in (execution.pause, execution.resume, execution.cancel, execution.checkpoint):
            with pytest.raises(InvalidArgument, match=next(iter(wrong))):
                await command(**wrong)
        assert [event.type for event in await runtime.events()] == ["workflow_started", "step_started"]

    virtually(scenario)


@pytest.mark.parametrize("label", ["7", "", " ", 7, "x" * 1_001])
def test_a_label_that_would_mean_another_checkpoint_is_refused(label: Any) -> None:
    """A number is a version: `resume --from 7` would go back to somewhere else."""

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(order(seconds=10), {"item": "lamp"})
        with pytest.raises(InvalidArgument, match="label"):
            await execution.checkpoint(label=label)
        assert (await execution.checkpoint(label="v7")).label == "v7"

    virtually(scenario)
