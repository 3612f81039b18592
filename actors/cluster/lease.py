"""The heartbeat of this process, and its ear for the heartbeats of others.

A process that has died is told by its lock; one that is stopped, or whose loop is blocked, still
holds it. So whoever owns executions renews a lease on them: one row, twice per lease, and only while
somebody is there to see it. Those who see a heartbeat stay away for a whole lease take its executions
over, which raises their epoch; when it comes back each of its writes is refused, it learns here that
it is off the list, drops what it had, and goes on as a new runner.

Nobody is judged by what the observer slept through; nor while the store takes no writes: then nobody
can renew, and the silence is not the runner's. So whoever hears silence first renews its own lease,
and counts only where that went well.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from perdure.actors.cluster.membership import Membership
from perdure.actors.cluster.silence import Silences
from perdure.actors.kernel import Alarms, Wakeup
from perdure.actors.log import get_logger
from perdure.store.errors import StoreError
from perdure.store.protocol import Store
from perdure.store.records import Runner

log = get_logger("perdure.runner")


class Lease:
    """`run` is its task. Alone on the list, with a bell by which newcomers are heard, it sets no timer."""

    def __init__(
        self,
        store: Store,
        membership: Membership,
        *,
        alarms: Alarms,
        owns: Callable[[], bool],
        on_freed: Callable[[], None],
    ) -> None:
        """`owns`: whether anything is owned here. `on_freed`: executions have become free to take."""
        self._store = store
        self._membership = membership
        self._owns = owns
        self._on_freed = on_freed
        self._pause_s = membership.lease_ms / 2000
        self._silences = Silences()
        self._heard_at = 0.0
        self._wakeup = Wakeup(alarms)
        self._is_alone = False

    def wake(self) -> None:
        """Look at the list soon: somebody has joined, or an execution was lost."""
        self._wakeup.set()

    def note_company(self) -> None:
        """Somebody is on the list: begin to beat, unless that has begun."""
        if self._is_alone:
            self.wake()

    async def run(self) -> None:
        """Beat twice per lease as long as there is somebody to hear it, or to be heard."""
        while True:
            self._wakeup.clear()
            self._is_alone = False
            try:
                self._is_alone = not await self.beat()
            except StoreError as error:
                log.debug("heartbeat_failed", runner=self._membership.id, error=str(error))
            await self._wakeup.wait(None if self._is_alone else self._pause_s)

    async def beat(self) -> bool:
        """Renew the lease, take the executions of the silent; tell whether to go on beating."""
        membership = self._membership
        others = await membership.living()
        if not membership.is_listed:
            await membership.rejoin(membership.no)
            self._on_freed()
        if not others:
            self._silences.listen(())
            return membership.may_miss_newcomers
        held = await self._store.held()
        now = asyncio.get_running_loop().time()
        seconds, self._heard_at = now - self._heard_at, now
        if seconds > 2 * self._pause_s:
            self._silences = Silences()
        late = self._silences.listen(runner for runner in others if runner.no in held)
        if (late or self._owns()) and await self._has_renewed():
            for runner in self._silences.lapsed(late, seconds=seconds):
                await self._take_over(runner)
        return True

    async def _has_renewed(self) -> bool:
        """Renew; whether the store took it as fast as it takes writes when nothing is in the way."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        await self._membership.renew()
        return loop.time() - begun < self._pause_s

    async def _take_over(self, runner: Runner) -> None:
        """Take a silent runner off the list, and tell everybody that what it had is free."""
        if await self._membership.bury(runner, is_silent=True):
            await self._membership.ring_workers()
            self._on_freed()
