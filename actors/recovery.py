"""Takes up what nobody works on: at start, when somebody rings, when time has come, when there is room.

Recovery is a sweep that repeats, not an act at the start: dead runners are buried, what they owned
is free, and whatever is free and can be performed here is taken up, highest priority first, as far
as there is room. What cannot be performed here stays where it is, and is told apart.
"""

from __future__ import annotations

import asyncio
from typing import Final

from perdure.actors.executions import Executions
from perdure.actors.kernel import Alarm
from perdure.actors.log import get_logger
from perdure.actors.membership import Membership
from perdure.actors.services import Services
from perdure.store.errors import PerdureError, StoreError
from perdure.store.records import Execution

SWEEP_S: Final = 15.0  # the safety net: how often a sweep happens though nothing called for one
SWEEP_PAGE: Final = 200  # executions looked at in one read
REST_S: Final = 1.0  # after a sweep that failed: the store gets time to come back

log = get_logger("perdure.recovery")


class Recovery:
    """`run` is its task; everything else asks it for a sweep."""

    def __init__(self, services: Services, executions: Executions, membership: Membership) -> None:
        """Take up into `executions`."""
        self._services = services
        self._executions = executions
        self._membership = membership
        self._wakeup: asyncio.Future[None] | None = None
        self._is_asked = True
        self._alarm: Alarm | None = None
        self.waiting_for_code: dict[str, tuple[str, ...]] = {}

    def ask(self) -> None:
        """Ask for a sweep soon."""
        self._is_asked = True
        if self._wakeup is not None and not self._wakeup.done():
            self._wakeup.set_result(None)

    async def run(self) -> None:
        """Sweep whenever asked, when a stored timer is due, and every SWEEP_S."""
        while True:
            self._is_asked = False
            pause_s = SWEEP_S
            try:
                pause_s = await self.sweep()
            except StoreError as error:
                log.warning("sweep_failed", error=str(error))
                pause_s = REST_S
            await self._rest(pause_s)

    async def sweep(self) -> float:
        """Take up what is free; return the seconds until something stored falls due."""
        await self._membership.living()
        await self._take_up_free()
        return await self._take_up_due()

    async def _take_up_free(self) -> None:
        waiting: dict[str, tuple[str, ...]] = {}
        after_no = 0
        while self._executions.has_room:
            page = await self._services.store.claimable(limit=SWEEP_PAGE, after_no=after_no)
            for execution in page:
                missing = await self._missing(execution)
                if missing:
                    waiting[execution.id] = missing
                elif self._executions.has_room:
                    self._executions.take_up(execution.id)
            if len(page) < SWEEP_PAGE:
                break
            after_no = page[-1].no
        self._tell_waiting(waiting)

    async def _missing(self, execution: Execution) -> tuple[str, ...]:
        """What the execution needs and this process does not have; all of it when it cannot be compiled."""
        try:
            plan = await self._services.plans.plan(execution.workflow_no)
        except StoreError:
            raise
        except PerdureError as error:
            return (str(error),)
        return plan.missing

    async def _take_up_due(self) -> float:
        services = self._services
        now = services.now_ms()
        for execution_id in await services.store.due(before=now, limit=SWEEP_PAGE):
            if self._executions.has_room:
                self._executions.take_up(execution_id)
        due_at = await services.store.next_due(after=now)
        return SWEEP_S if due_at is None else min(SWEEP_S, max(0.0, (due_at - now) / 1000))

    async def _rest(self, seconds: float) -> None:
        if self._is_asked:
            return
        loop = asyncio.get_running_loop()
        self._wakeup = loop.create_future()
        alarm = self._services.alarms.add(loop.time() + seconds, self.ask)
        try:
            await self._wakeup
        finally:
            alarm.cancel()

    def _tell_waiting(self, waiting: dict[str, tuple[str, ...]]) -> None:
        """Say once of each execution that it waits for code, and for which."""
        for execution_id, missing in waiting.items():
            if execution_id not in self.waiting_for_code:
                log.warning("waiting_for_code", execution_id=execution_id, missing=list(missing))
        self.waiting_for_code = waiting
