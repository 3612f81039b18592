"""Graphs of real pipelines through the real engine, in virtual time: the right number, the right time.

Task i becomes step `t{i}`: it sleeps its run time, writes one row into a ledger outside the store
and returns the sum of its needs' outputs plus one, modulo 2^31. A step lost, doubled or started too
early changes the last number, the ledger or the makespan.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio
import pytest

from perdure.runtime import Agents, StepContext, Workflow
from perdure.runtime.testing import VirtualRuntime, run_virtual

MODULUS = 2**31
Graph = dict[str, Any]
Ledger = list[tuple[str, str, int]]


def graphs(cases: Path) -> list[Graph]:
    """Every graph of the three collections."""
    return [
        json.loads(line)
        for name in ("wfinstances", "shapes", "recipes-huge")
        for line in (cases / name / "dags.jsonl").read_text().splitlines()
    ]


def expected_outputs(graph: Graph) -> list[int]:
    """What each task returns, computed without an engine."""
    outputs: list[int | None] = [None] * graph["n"]
    work = list(range(graph["n"]))
    while work:
        task = work[-1]
        open_needs = [need for need in graph["deps"][task] if outputs[need] is None]
        if open_needs:
            work.extend(open_needs)
            continue
        work.pop()
        outputs[task] = (sum(outputs[need] or 0 for need in graph["deps"][task]) + 1) % MODULUS
    return [output or 0 for output in outputs]


async def perform(graph: Graph, scheduling: str) -> tuple[dict[str, int], float, Ledger]:
    """Run one graph; return its outputs, its virtual makespan in ms, and the ledger."""
    ledger: Ledger = []
    agents = Agents()

    @agents.agent("task")
    async def task(context: StepContext) -> int:
        number = int(context.step[1:])
        await anyio.sleep(graph["rt_ms"][number] / 1000)
        ledger.append((context.execution_id, context.step, context.attempt))
        return (sum(context.needs.values()) + 1) % MODULUS

    workflow = Workflow(graph["id"], scheduling=scheduling)
    for number, needs in enumerate(graph["deps"]):
        workflow.agent_step(f"t{number}", agent="task", after=[f"t{need}" for need in needs])
    async with VirtualRuntime(agents=agents) as runtime:
        began = anyio.current_time()
        execution = await runtime.start(workflow)
        result = await execution.result()
        return result.outputs, (anyio.current_time() - began) * 1000, ledger


@pytest.mark.integration
@pytest.mark.parametrize(
    ("scheduling", "makespan"), [("level", "level_barrier_ms"), ("eager", "critical_path_ms")]
)
def test_a_real_graph_gives_the_right_number_in_exactly_the_right_time(
    cases: Path, scheduling: str, makespan: str
) -> None:
    """Level by level the makespan is the sum of the slowest of each level, eager the critical path."""
    for graph in graphs(cases):
        outputs, took_ms, ledger = run_virtual(lambda graph=graph: perform(graph, scheduling))
        assert took_ms == pytest.approx(graph[makespan], abs=0.01), graph["id"]
        expected = {f"t{task}": output for task, output in enumerate(expected_outputs(graph))}
        assert outputs == expected, graph["id"]
        assert len(ledger) == len(set(ledger)) == graph["n"], graph["id"]
