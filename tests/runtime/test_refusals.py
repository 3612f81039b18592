"""What cannot be is refused in words, before anything is written."""

from __future__ import annotations

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
