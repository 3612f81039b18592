"""A scenario: what a test does with a runtime in virtual time, with the store checked after it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from perdure.runtime import Runtime
from perdure.runtime.testing import VirtualRuntime, check_store, run_virtual

Scenario = Callable[[Runtime], Coroutine[Any, Any, Any]]


def virtually(scenario: Scenario, **options: Any) -> Any:
    """Run a scenario on a runtime of its own, made with those options, and answer what it does."""

    async def main() -> Any:
        async with VirtualRuntime(**options) as runtime:
            answer = await scenario(runtime)
            assert await check_store(runtime.store) == []
            return answer

    return run_virtual(main)
