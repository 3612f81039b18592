"""Going back and moving on through the whole runtime, in virtual time, the store checked after it."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from scenarios import virtually

from perdure.runtime import (
    Execution,
    ForEach,
    IdTaken,
    InvalidArgument,
    NotFound,
    Runtime,
    State,
    StepContext,
    Workflow,
)

both = pytest.mark.parametrize("scheduling", ["level", "eager"])


class Kitchen:
    """A workflow of four steps that notes what it does; `serve` fails as long as the dish is cold."""

    def __init__(self, scheduling: Any = "level") -> None:
        """Nothing has been cooked yet."""
        self.did: list[str] = []
        self.keys: list[str] = []
        self.workflow = workflow = Workflow("kitchen", scheduling=scheduling)

        @workflow.step
        async def shop(context: StepContext, dish: str) -> str:
            self.keys.append(context.idempotency_key)
            self.did.append("shop")
            return f"{dish} bought"

        @workflow.step
        async def heat(shop: str, degrees: int = 20) -> int:
            self.did.append("heat")
            return degrees

        @workflow.step
        async def lay() -> str:
            self.did.append("lay")
            return "laid"

        @workflow.step(after=[lay])
        async def serve(shop: str, heat: int) -> str:
            self.did.append("serve")
            if heat < 60:
                raise ValueError("cold")
            return f"{shop}, {heat} degrees"


@both
def test_a_retry_from_a_step_with_another_input_does_that_step_anew(scheduling: str):
    """What it does not depend on stays as it was."""

    async def scenario(runtime: Runtime) -> None:
        kitchen = Kitchen(scheduling)
        execution = await runtime.start(kitchen.workflow, {"dish": "soup"})
        await execution.result(check=False)
        kitchen.did.clear()
        await execution.retry(from_step="heat", data={"degrees": 80})
        result = await execution.result()
        assert kitchen.did == ["heat", "serve"]
        assert result.outputs["serve"] == "soup bought, 80 degrees"

    virtually(scenario)


def test_a_retry_that_contradicts_itself_is_refused_before_anything_is_written():
    """So is one from a step that is not there."""

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(Kitchen().workflow, {"dish": "soup"})
        await execution.result(check=False)
        version = (await execution.status()).version
        with pytest.raises(InvalidArgument, match="from_step"):
            await execution.retry(only=True)
        with pytest.raises(InvalidArgument, match="exclude"):
            await execution.retry(from_step="heat", only=True, with_downstream=True)
        with pytest.raises(NotFound, match="shop, heat, lay, serve"):
            await execution.retry(from_step="eat")
        assert (await execution.status()).version == version
        assert (await execution.status()).state is State.FAILED

    virtually(scenario)


async def told(execution: Execution, kind: str) -> list[Any]:
    """What the lines of that kind in its log say."""
    return [event.data async for event in execution.events() if event.type == kind]


@both
def test_a_fork_from_a_step_runs_that_step_and_what_depends_on_it(scheduling: str):
    """The source stays as it is; both logs tell of the other, and no key is used twice."""

    async def scenario(runtime: Runtime) -> None:
        kitchen = Kitchen(scheduling)
        source = await runtime.start(kitchen.workflow, {"dish": "soup"}, id="source")
        await source.result(check=False)
        before = await source.status()
        kitchen.did.clear()
        fork = await source.fork(from_step="heat", edit={"degrees": 80}, id="fork", by="ada")
        result = await fork.result()
        assert kitchen.did == ["heat", "serve"]
        assert result.outputs == {
            "shop": "soup bought",
            "heat": 80,
            "lay": "laid",
            "serve": "soup bought, 80 degrees",
        }
        assert await told(fork, "forked_from") == [
            {"execution": "source", "version": before.version, "from": "heat"}
        ]
        assert await told(source, "forked_to") == [{"execution": "fork", "version": before.version}]
        assert await source.status() == before
        assert (await fork.status()).triggered_by == "fork:source"

    virtually(scenario)


def test_a_fork_joins_itself_and_nothing_else():
    """The same id again is the same fork; what began otherwise is not told to go on from here."""

    async def scenario(runtime: Runtime) -> None:
        kitchen = Kitchen()
        source = await runtime.start(kitchen.workflow, {"dish": "soup"}, id="source")
        await source.result(check=False)
        fork = await source.fork(from_step="heat", edit={"degrees": 80}, id="fork")
        await fork.result()
        kitchen.did.clear()
        assert (await source.fork(edit={"degrees": 80}, id="fork")).id == "fork"
        with pytest.raises(IdTaken, match="not forked from fork"):
            await fork.fork(id="source")
        assert kitchen.did == []

    virtually(scenario)


def test_a_fork_of_one_that_runs_shares_what_has_settled_by_now():
    """What is in flight there runs here, too, and neither disturbs the other."""

    async def scenario(runtime: Runtime) -> None:
        did: list[str] = []
        workflow = Workflow("slow")

        @workflow.step
        async def first() -> int:
            did.append("first")
            return 1

        @workflow.step
        async def second(first: int) -> int:
            did.append("second")
            await anyio.sleep(60)
            return first + 1

        source = await runtime.start(workflow, {})
        await anyio.sleep(1)
        fork = await source.fork()
        again = await source.fork(id=fork.id)
        assert again.id == fork.id
        assert (await fork.result()).outputs == (await source.result()).outputs == {"first": 1, "second": 2}
        assert did == ["first", "second", "second"]

    virtually(scenario)


def test_a_fork_from_a_checkpoint_knows_nothing_of_what_came_later():
    """Neither outputs nor the context; a checkpoint that is not there is refused."""

    async def scenario(runtime: Runtime) -> None:
        kitchen = Kitchen()
        source = await runtime.start(kitchen.workflow, {"dish": "soup", "degrees": 80})
        await source.result()
        first, *_ = sorted(await source.checkpoints(), key=lambda point: point.version)
        kitchen.did.clear()
        fork = await source.fork(from_checkpoint=first)
        await fork.result()
        assert kitchen.did == ["heat", "serve"]
        with pytest.raises(NotFound, match="checkpoint"):
            await source.fork(from_checkpoint="nowhere")
        with pytest.raises(InvalidArgument, match="exclude"):
            await source.fork(from_checkpoint=first, from_step="shop")

    virtually(scenario)


def test_a_fork_that_is_left_to_others_has_its_past_from_the_beginning():
    """It is a row that nobody has begun, with the outcomes it shares."""

    async def scenario(runtime: Runtime) -> None:
        kitchen = Kitchen()
        source = await runtime.start(kitchen.workflow, {"dish": "soup"})
        await source.result(check=False)
        kitchen.did.clear()
        fork = await source.fork(edit={"degrees": 80}, from_step="heat", detach=True)
        assert (await fork.result()).outputs["heat"] == 80
        assert kitchen.did == ["heat", "serve"]

    virtually(scenario)


def test_a_fork_of_a_completed_execution_without_a_step_is_complete_at_once():
    """It shares everything there is."""

    async def scenario(runtime: Runtime) -> None:
        kitchen = Kitchen()
        source = await runtime.start(kitchen.workflow, {"dish": "soup", "degrees": 90})
        outputs = (await source.result()).outputs
        kitchen.did.clear()
        assert (await (await source.fork()).result()).outputs == outputs
        assert kitchen.did == []

    virtually(scenario)


def test_a_fork_survives_the_deletion_of_its_source():
    """What it shares is its own."""

    async def scenario(runtime: Runtime) -> None:
        source = await runtime.start(Kitchen().workflow, {"dish": "soup", "degrees": 90})
        await source.result()
        fork = await source.fork()
        await runtime.delete(source.id)
        assert (await fork.result()).outputs["shop"] == "soup bought"
        await runtime.delete(fork.id)

    virtually(scenario)


@pytest.mark.parametrize("way", ["retry", "only", "restore"])
def test_what_was_cut_off_and_what_has_its_items_are_done_anew(way: str):
    """Where somebody goes back behind them; neither has come to an outcome."""
    workflow = Workflow("many", parallelism=1)
    lists: list[list[str]] = [["old"], ["new", "newer"]]
    keys: list[str] = []

    @workflow.step
    async def scan() -> list[str]:
        await anyio.sleep(1)
        return lists[0]

    @workflow.step
    async def check(scan: list[str], context: StepContext) -> int:
        keys.append(context.idempotency_key)
        await anyio.sleep(10)
        return len(scan)

    @workflow.step(for_each=ForEach(items=lambda scan: scan, as_="path"))
    async def shrink(path: str) -> str:
        return path

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(workflow)
        await execution.checkpoint(label="first")
        await anyio.sleep(5)
        await execution.pause(mode="interrupt")
        if way == "restore":
            await execution.restore("first")
        else:
            await execution.cancel()
        if way != "only":
            lists.pop(0)
        if way == "restore":
            await execution.resume()
        else:
            await execution.retry(from_step="scan" if way == "retry" else "check", only=way == "only")
        assert (await execution.result()).outputs["shrink"] == lists[0]
        assert len(set(keys)) == 2

    virtually(scenario)
