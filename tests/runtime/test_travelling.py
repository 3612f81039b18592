"""Going back and moving on through the whole runtime, in virtual time, the store checked after it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from perdure.runtime import InvalidArgument, NotFound, Runtime, State, StepContext, Workflow
from perdure.runtime.testing import VirtualRuntime, check_store, run_virtual

Scenario = Callable[[Runtime], Coroutine[Any, Any, None]]
both = pytest.mark.parametrize("scheduling", ["level", "eager"])


def virtually(scenario: Scenario) -> None:
    """Run a scenario, and check the store after it."""

    async def main() -> None:
        async with VirtualRuntime() as runtime:
            await scenario(runtime)
            assert await check_store(runtime.store) == []

    run_virtual(main)


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


# ---- retry ---------------------------------------------------------------------------------------


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
