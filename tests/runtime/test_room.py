"""More to do than there is room for: what had to wait goes on as soon as something has ended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest

from perdure.actors.dispatch import recovery
from perdure.runtime import Workflow
from perdure.runtime.testing import VirtualRuntime, run_virtual

CLAIM_S = 0.05
COUNT = 300


def work(*, seconds: float) -> Workflow:
    """A step that takes at most so long, now much and now little."""
    workflow = Workflow("work")

    @workflow.step
    async def step(number: int) -> None:
        await anyio.sleep(seconds * (number % 7 + 1) / 7)

    return workflow


@pytest.mark.parametrize("room", [5, 50, 200])
def test_room_that_comes_while_others_are_claimed_is_used_at_once(
    tmp_path: Path, room: int, monkeypatch: pytest.MonkeyPatch
):
    """Nothing waits for a look that nobody has asked for, whoever was passed by in the last one."""
    path = str(tmp_path / "store.db")
    claim_free = recovery.claim_free

    async def claim_slowly(*given: Any) -> Any:
        await anyio.sleep(CLAIM_S)
        return await claim_free(*given)

    async def main() -> None:
        async with VirtualRuntime(path, workflows=[work(seconds=1_000)]) as runtime:
            executions = [await runtime.start("work", {"number": n}) for n in range(COUNT)]
            await anyio.sleep(1)
        monkeypatch.setattr(recovery, "claim_free", claim_slowly)
        async with VirtualRuntime(
            path, workflows=[work(seconds=CLAIM_S)], max_active=room, seed=1
        ) as runtime:
            begun = anyio.current_time()
            for execution in executions:
                await (await runtime.execution(execution.id)).result()
            assert anyio.current_time() - begun < 3 * CLAIM_S * (COUNT / room + 1)

    run_virtual(main)
