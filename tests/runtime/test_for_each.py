"""Steps that go over items through the whole runtime: what bodies see, cold waits, pages, commands."""

from __future__ import annotations

from typing import Any

import anyio
import msgspec
import pytest
from scenarios import virtually

from perdure.actors.kernel import faults
from perdure.runtime import (
    Agents,
    ExecutionFailed,
    ForEach,
    NotFound,
    Retry,
    Runtime,
    State,
    StepContext,
    Workflow,
)

MANY = 20_000


@pytest.mark.parametrize("scheduling", ["level", "eager"])
@pytest.mark.parametrize("items", ["{{scan.files}}", "steps.scan.output.files", lambda scan: scan["files"]])
def test_a_body_sees_its_item_its_number_and_what_every_step_sees(scheduling: Any, items: Any):
    """Whether the list comes from a template, an expression or a function."""
    workflow = Workflow("w", scheduling=scheduling)
    seen: list[tuple[Any, ...]] = []

    @workflow.step
    async def scan() -> dict[str, list[dict[str, str]]]:
        return {"files": [{"name": "a"}, {"name": "b"}]}

    @workflow.step(for_each=ForEach(items=items, as_="file", index="no"), after=scan)
    async def read(file: dict[str, str], no: int, folder: str, context: StepContext) -> str:
        seen.append((context.step, context.index, context.idempotency_key))
        return f"{folder}/{file['name']}{no}"

    @workflow.step
    async def last(read: list[str]) -> str:
        return ",".join(read)

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(workflow, {"folder": "x"})
        assert (await execution.result()).outputs["last"] == "x/a0,x/b1"
        keys = [f"{execution.id}:read:0:{no}" for no in (0, 1)]
        assert seen == [("read[0]", 0, keys[0]), ("read[1]", 1, keys[1])]

    virtually(scenario)


def test_an_agent_is_told_of_its_item_in_the_prompt():
    """As a template finds it."""
    agents = Agents()

    @agents.agent("echo")
    async def echo(prompt: str) -> str:
        return prompt

    workflow = Workflow.parse(
        'name: w\nsteps:\n  - {key: each, agent: echo, prompt: "{{index}}: {{animal.name}}",'
        " forEach: {items: [{name: ant}, {name: bee}], as: animal}}\n"
    )

    async def scenario(runtime: Runtime) -> None:
        result = await (await runtime.start(workflow)).result()
        assert result.outputs == {"each": ["0: ant", "1: bee"]}

    virtually(scenario, agents=agents)


def test_while_all_items_wait_for_their_next_attempts_nothing_is_hot():
    """An hour later the execution goes on by itself."""
    workflow = Workflow("w")

    @workflow.step(
        for_each=ForEach(items=3), retry=Retry(max_retries=1, delay=3_600, max_delay=3_600, jitter=False)
    )
    async def each(item: int, context: StepContext) -> int:
        if context.attempt == 1:
            raise OSError("later")
        return item

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(workflow)
        await anyio.sleep(60)
        assert runtime.machine.executions.is_idle
        summary = await execution.status()
        assert (summary.state, summary.runner) == (State.AWAITING_COMPLETION, None)
        described = (await execution.query())["steps"]["each"]["items"]
        assert (described["total"], described["waiting"]) == (3, 3)
        begun = anyio.current_time()
        assert (await execution.result()).outputs == {"each": [0, 1, 2]}
        assert 3_500 < anyio.current_time() - begun <= 3_600

    virtually(scenario)


def test_a_list_too_long_for_one_payload_is_read_in_pages():
    """By the step that follows, and from outside."""
    workflow = Workflow("w")

    @workflow.step(for_each=ForEach(items=MANY, max_concurrency=1_000, continue_on_error=True))
    async def each(item: int) -> str:
        if item == 7:
            raise ValueError("seven")
        return "x" * 60

    @workflow.step
    async def size(each: dict[str, Any], context: StepContext) -> list[int]:
        outputs = [output async for output in context.items("each")]
        return [each["total"], each["failed"], len(outputs), outputs.index(None)]

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(workflow)
        result = await execution.result()
        assert result.outputs["size"] == [MANY, 1, MANY, 7]
        items = [item async for item in execution.items("each")]
        assert [item.item for item in items] == list(range(MANY))
        assert msgspec.json.decode(items[8].output) == "x" * 60
        failed = [item async for item in execution.items("each", failed=True)]
        assert [(item.item, item.error.message) for item in failed] == [(7, "seven")]
        with pytest.raises(NotFound, match="step with items"):
            _ = [item async for item in execution.items("size")]

    virtually(scenario)


def test_a_pause_in_the_middle_of_many_items_costs_none_of_them():
    """Each is performed once."""
    workflow = Workflow("w")
    performed: list[int] = []

    @workflow.step(for_each=ForEach(items=200, max_concurrency=10))
    async def each(item: int) -> int:
        await anyio.sleep(1)
        performed.append(item)
        return item

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(workflow)
        await anyio.sleep(5.5)
        assert await execution.pause() is State.PAUSED
        assert len(performed) == 60
        assert (await execution.query())["steps"]["each"]["items"]["begun"] == 60
        await anyio.sleep(60)
        await execution.resume()
        assert (await execution.result()).outputs["each"] == list(range(200))
        assert sorted(performed) == list(range(200))

    virtually(scenario)


def test_the_error_of_a_step_names_the_item_that_failed():
    """With its error and its stack."""
    workflow = Workflow("w")

    @workflow.step(for_each=ForEach(items=["ant", "bee"]))
    async def each(item: str) -> str:
        if item == "bee":
            raise ValueError("it flew away")
        return item

    async def scenario(runtime: Runtime) -> None:
        with pytest.raises(ExecutionFailed) as caught:
            await (await runtime.start(workflow)).result()
        assert "item 1 of step 'each' failed after 1 attempt: ValueError: it flew away" in str(caught.value)
        assert caught.value.error.stack is not None

    virtually(scenario)


def test_statements_of_an_item_are_executed_with_its_outcome():
    """Once for each item."""
    workflow = Workflow("w")

    @workflow.step
    async def table(context: StepContext) -> None:
        with context.transaction() as tx:
            tx.execute("CREATE TABLE marks (no INTEGER PRIMARY KEY CHECK (no <> 2))")

    @workflow.step(for_each=ForEach(items=4, continue_on_error=True), after=table)
    async def each(item: int, context: StepContext) -> int:
        with context.transaction() as tx:
            tx.execute("INSERT INTO marks (no) VALUES (?)", (item,))
        return item

    async def scenario(runtime: Runtime) -> None:
        result = await (await runtime.start(workflow)).result()
        assert result.outputs["each"] == [0, 1, None, 3]

    virtually(scenario)


def test_what_falls_due_while_the_runtime_closes_wakes_nobody_again_and_again():
    """Nothing starts any more: else the loop would turn at full speed until the slowest body has ended."""
    workflow = Workflow("w")
    alarms: list[str] = []

    @workflow.step(
        for_each=ForEach(items=2, max_concurrency=2), retry=Retry(max_retries=1, delay=1, jitter=False)
    )
    async def each(item: int) -> None:
        if item == 0:
            raise OSError("later")
        with anyio.CancelScope(shield=True):
            await anyio.sleep(5)

    def count(point: str) -> None:
        if point == "timer:before":
            alarms.append(point)
            assert len(alarms) < 100, "it turns round and round"

    async def scenario(runtime: Runtime) -> None:
        await runtime.start(workflow)
        await anyio.sleep(0.5)

    with faults.installed(count):
        virtually(scenario)
    assert len(alarms) < 100
