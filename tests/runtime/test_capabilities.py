"""Steps that ask for capabilities: as they are written, chosen for, waited for, performed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from perdure.runtime import Agents, DefinitionError, Runtime, State, UnknownAgent, Workflow
from perdure.runtime.language import check_agents
from perdure.runtime.testing import VirtualRuntime, check_store, run_virtual


def crew(*names: str, capabilities: tuple[str, ...] = ("draw", "ink"), seconds: float = 1.0) -> Agents:
    """Agents that say who they are."""
    agents = Agents()
    for name in names:

        async def perform(prompt: str, *, name: str = name) -> str:
            await anyio.sleep(seconds)
            return f"{name}: {prompt}"

        agents.add(name, perform, capabilities=capabilities)
    return agents


def drawing(**options: Any) -> Workflow:
    """Draw two pictures at once."""
    workflow = Workflow("drawing", **options)
    for no in range(2):
        workflow.agent_step(f"p{no}", capabilities=["draw"], prompt="{{subject}} " + str(no))
    return workflow


@pytest.mark.parametrize("scheduling", ["level", "eager"])
def test_the_work_is_shared_among_the_capable(scheduling: str):
    """The least busy one, then the first by name; the log says why."""

    async def main() -> None:
        agents = crew("bea", "abe").merge(crew("zed", capabilities=("paint",)))
        async with VirtualRuntime(agents=agents) as runtime:
            execution = await runtime.start(drawing(scheduling=scheduling), {"subject": "cat"})
            assert (await execution.result()).outputs == {"p0": "abe: cat 0", "p1": "bea: cat 1"}
            told = [event async for event in execution.events() if event.type == "agent_chosen"]
            assert [event.data["agent"] for event in told] == ["abe", "bea"]
            assert set(told[0].data["candidates"]) == {"abe", "bea"}
            assert await check_store(runtime.store) == []

    run_virtual(main)


def test_what_other_executions_have_in_flight_counts_and_what_has_ended_does_not():
    """In this process; also of those that are started at the same moment."""

    async def main() -> None:
        async with VirtualRuntime(agents=crew("abe", "bea", "cas")) as runtime:
            one = Workflow("one").agent_step("p", capabilities=["draw"], prompt="x")
            for _ in range(2):
                executions = [await runtime.start(one) for _ in range(6)]
                outputs = [(await execution.result()).outputs["p"] for execution in executions]
                assert sorted(outputs) == sorted(["abe: x", "bea: x", "cas: x"] * 2)
            assert [runtime.machine.services.workload.of(name) for name in ("abe", "bea", "cas")] == [0, 0, 0]

    run_virtual(main)


def test_what_nobody_here_is_capable_of_waits_until_somebody_is(tmp_path: Path):
    """Not failed: it is listed with what it waits for, and goes on where there is one."""

    async def main() -> None:
        path = tmp_path / "w.db"
        async with VirtualRuntime(path, agents=crew("abe")) as runtime:
            with pytest.raises(UnknownAgent, match=r"no agent capable of etch is registered; register it"):
                await runtime.start(Workflow("e").agent_step("p", capabilities=["etch"]))
        async with VirtualRuntime(path, kind="client") as client:
            await client.start(drawing(), {"subject": "cat"}, id="x", detach=True)
        async with VirtualRuntime(path, agents=crew("zed", capabilities=("ink",))) as runtime:
            await anyio.sleep(60)
            assert runtime.waiting_for_code == {"x": ("any agent capable of draw",)}
            assert (await runtime.list())[0].state is State.IDLE
        async with VirtualRuntime(path, agents=crew("abe")) as runtime:
            execution = await runtime.execution("x")
            assert (await execution.result()).outputs["p0"] == "abe: cat 0"

    run_virtual(main)


def test_who_is_registered_later_is_a_candidate_from_then_on():
    """The choice is made when an attempt starts."""

    async def main() -> None:
        agents = crew("bea")
        async with VirtualRuntime(agents=agents) as runtime:
            assert (await (await runtime.start(drawing(), {"subject": "a"})).result()).outputs["p0"][
                :3
            ] == "bea"
            agents.merge(crew("abe"))
            assert (await (await runtime.start(drawing(), {"subject": "a"})).result()).outputs["p0"][
                :3
            ] == "abe"

    run_virtual(main)


def test_the_three_forms_are_one_revision():
    """YAML, JSON and Python."""
    text = (
        "name: w\nsteps:\n  - {key: a, capabilities: [draw, ink], prompt: x, timeoutMs: 5}\n"
        "  - {key: b, agent: me, dependencies: [a]}\n"
    )
    made = Workflow("w").agent_step("a", capabilities=["draw", "ink"], prompt="x", timeout=0.005)
    made.agent_step("b", agent="me", after="a")
    assert Workflow.parse(text).revision == made.revision
    assert Workflow.parse(made.to_json()).to_yaml() == made.to_yaml()


@pytest.mark.parametrize(
    ("step", "told"),
    [
        (
            "{key: a, agent: '{{who}}'}",
            "w.yaml:3:21: steps[0].agent: '{{who}}' is a template, and an agent is a name",
        ),
        (
            "{key: a, agent: me, compensate: {agent: '{{who}}'}}",
            "w.yaml:3:45: steps[0].compensate.agent: '{{who}}' is a template, and an agent is a name",
        ),
        ("{key: a, agent: me, capabilities: [x]}", "has agent and capabilities: a step is one of them"),
        ("{key: a, capabilities: [x, x]}", "steps[0].capabilities[1]: 'x' is there twice"),
        ("{key: a, capabilities: []}", "capabilities has 0 items, expected 1 to 20 of them"),
        ("{key: a, capabilities: [x], sleep: 3d}", "has capabilities and sleep: a step is one of them"),
    ],
)
def test_what_is_wrong_is_told_when_it_is_read(step: str, told: str):
    """With its place."""
    with pytest.raises(DefinitionError) as caught:
        _ = Workflow.parse(f"name: w\nsteps:\n  - {step}\n", source="w.yaml").definition
    assert told in str(caught.value)


def test_who_can_do_some_of_it_is_named_and_whom_it_does_not_fit():
    """Before anything runs."""
    definition = Workflow("w").agent_step("a", capabilities=["draw", "etch"], prompt="x").definition
    [problem] = check_agents(definition, crew("abe", "bea"))
    assert problem.path == "steps[0].capabilities"
    assert (
        "no agent capable of draw, etch is registered: in part are abe (draw), bea (draw)" in problem.message
    )

    def wants(prompt: str, a: Callable[..., Any], other: int) -> None: ...

    agents = Agents()
    agents.add("odd", wants, capabilities={"draw"})
    two = Workflow("w").agent_step("other", agent="odd").agent_step("a", capabilities=["draw"], prompt="x")
    assert any("takes the output of 'other'" in each.message for each in check_agents(two.definition, agents))


def test_an_agent_with_a_body_of_its_own_kind_is_run_where_it_belongs():
    """A plain function in a thread, whatever the others are."""

    async def main() -> None:
        agents = Agents()

        @agents.agent("plain", capabilities={"draw"})
        def plain(prompt: str) -> str:
            return f"plain: {prompt}"

        async with Runtime(":memory:", agents=agents) as runtime:
            result = await (await runtime.start(drawing(), {"subject": "cat"})).result()
            assert result.outputs["p1"] == "plain: cat 1"

    anyio.run(main)
