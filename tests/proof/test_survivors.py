"""Of two runners that share an agent's slots one is killed anywhere: the other gets the slots, none twice.

`PERDURE_PROOF_SCALE` multiplies the fault points that are tried, `PERDURE_PROOF_SEED` draws others.
"""

from __future__ import annotations

import os
import random
from collections import defaultdict
from contextlib import suppress
from pathlib import Path

import anyio
import pytest
from crash_points import sample

from perdure.actors.kernel import faults
from perdure.actors.kernel.processes import CURRENT, ProcessDied, VirtualProcess
from perdure.runtime import Agents, Runtime, Workflow
from perdure.runtime.testing import Acknowledged, RuntimeProcess, check_store, run_virtual

SLOTS = 2
POINTS_MAX = 30
CALL_S = 0.6  # so long that some of those in line become rows
EXECUTIONS = ("e0", "e1", "e2", "e3")
SEED = os.environ.get("PERDURE_PROOF_SEED", "0")

pytestmark = pytest.mark.integration


class Shared:
    """Two runners, four executions of two steps each, and an agent with two slots."""

    def __init__(self, path: Path, *, dies_at: int | None) -> None:
        """The first of them is killed at that fault point of its own."""
        self._path = path
        self._dies_at = dies_at
        self.points: list[str] = []
        self._told: list[Acknowledged] = []
        self._inside: defaultdict[VirtualProcess | None, int] = defaultdict(int)
        self._first: RuntimeProcess

    def live(self) -> None:
        """From the first start to the last end, which the second runner sees."""
        with faults.installed(self._hit):
            run_virtual(self._main)

    def _hit(self, point: str) -> None:
        if CURRENT.get() is not self._first.process or not self._first.is_alive:
            return
        self.points.append(point)
        if len(self.points) == self._dies_at:
            self._inside.pop(self._first.process, None)
            self._first.kill()

    async def _press(self) -> int:
        me = CURRENT.get()
        self._inside[me] += 1
        assert sum(self._inside.values()) <= SLOTS, f"{dict(self._inside)} at once"
        try:
            await anyio.sleep(CALL_S)
        finally:
            if me in self._inside:
                self._inside[me] -= 1
        return 1

    async def _main(self) -> None:
        agents = Agents()
        agents.agent("press", max_concurrency=SLOTS)(self._press)
        workflow = Workflow("shared").agent_step("one", agent="press").agent_step("two", agent="press")
        self._first, second = (
            RuntimeProcess(self._path, name=name, seed=name, agents=agents) for name in ("first", "second")
        )
        await second.open()
        with suppress(ProcessDied):
            await self._first.open()
        for no, id_ in enumerate(EXECUTIONS):
            for process in (self._first, second) if no % 2 else (second,):
                with suppress(ProcessDied):
                    await process.run(lambda runtime, id_=id_: runtime.start(workflow, id=id_))
                    self._told.append(Acknowledged(execution_id=id_))
        await second.run(self._end)
        with suppress(ProcessDied):
            await self._first.close()
        await second.close()

    async def _end(self, runtime: Runtime) -> None:
        for id_ in EXECUTIONS:
            result = await (await runtime.execution(id_)).result()
            assert result.outputs == {"one": 1, "two": 1}
        await anyio.sleep(1)
        assert [guard.slots_taken for guard in await runtime.store.guards()] == [0]
        assert await check_store(runtime.store, acknowledged=self._told) == []


def test_whoever_survives_gets_the_slots_of_whoever_is_killed(fast_folder: Path, scale: float) -> None:
    """At every fault point, or an even sample of them."""
    whole = Shared(fast_folder / "whole.db", dies_at=None)
    whole.live()
    chosen = sample(len(whole.points), int(POINTS_MAX * scale), random.Random(SEED))
    for dies_at in chosen:
        shared = Shared(fast_folder / f"{dies_at}.db", dies_at=dies_at)
        try:
            shared.live()
        except BaseException as error:
            error.add_note(f"killed at {dies_at} {shared.points[-1]}, PERDURE_PROOF_SEED={SEED}")
            raise
        assert len(shared.points) == dies_at
