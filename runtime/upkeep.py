"""Keeps the store beside all other work: takes away what ended long ago, indexes and tallies what ended.

A pruning is many small transactions, each of which takes a few milliseconds of the write connection,
and after each it rests for many times as long: whoever writes meanwhile waits for one of them at most.
Several runners may prune one store: what one has taken the other does not find.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import anyio

from perdure.actors.errors import RuntimeClosed
from perdure.actors.kernel import Alarms, Wakeup
from perdure.actors.log import get_logger
from perdure.actors.writer import OUTAGES, Writer
from perdure.store.errors import StoreClosed, StoreError
from perdure.store.protocol import Store
from perdure.store.scripts.compaction import Compact, Compacted
from perdure.store.scripts.retention import Prune, Pruned
from perdure.store.scripts.search import DUE_EVENTS, Index
from perdure.store.scripts.tallies import Tally

if TYPE_CHECKING:
    from perdure.runtime.runtime import Runtime

FIRST_S: Final = 5.0  # a start is for what is to be done, and not for what was
INDEX_S: Final = 10.0  # how soon what has ended can be found
INDEX_EVENTS: Final = DUE_EVENTS  # lines of the log that one transaction looks at: some milliseconds
LOOK_S: Final = 6 * 3_600.0  # a day is what people mean by a retention; four looks keep close to it
COMPACT_MS: Final = 7 * 86_400_000  # a week after its end nobody follows an execution's log any more
TALLY_MS: Final = 86_400_000  # most has ended after a day, and what one day brings is soon counted
BATCH: Final = 20  # executions of one transaction: some milliseconds
REST_SHARE: Final = 9  # times as long as a transaction took: a tenth of the writer's time at most
INDEX_REST_SHARE: Final = 19  # the same of an indexing, which is not as urgent: a twentieth

log = get_logger("perdure.upkeep")


class Upkeep:
    """Prunes and indexes a store: on demand, or again and again (`run` is that task)."""

    def __init__(self, store: Store, writer: Writer, alarms: Alarms, *, now_ms: Callable[[], int]) -> None:
        """Prune that store through that writer."""
        self._store = store
        self._writer = writer
        self._alarms = alarms
        self.now_ms = now_ms

    async def run(self, *, keep_ms: int | None, patience: float) -> None:
        """Prune and index, now and then, to the end of the runtime."""
        await self._rest(FIRST_S)
        looked_at = -math.inf
        while True:
            await self._writer.outage.over()
            now = asyncio.get_running_loop().time()
            try:
                if now - looked_at >= LOOK_S * patience:
                    if keep_ms is not None:
                        await self.look(keep_ms=keep_ms)
                    await self.tally(before=self.now_ms() - TALLY_MS)
                    looked_at = now
                await self.index(of_workflows=False)  # who searches asks for those
            except (RuntimeClosed, StoreClosed):
                return
            except OUTAGES:
                pass  # the writer tells of it, once
            except StoreError as error:
                log.warning("store_not_kept", error=str(error))
            await self._rest(INDEX_S * patience)

    async def index(self, *, share: float = INDEX_REST_SHARE, of_workflows: bool = True) -> None:
        """Let all that has ended by now be found, resting for `share` times as long as each step took."""
        loop = asyncio.get_running_loop()
        while await self._store.is_search_behind(of_workflows=of_workflows):
            began_at = loop.time()
            await self._writer.write(Index(events=INDEX_EVENTS))
            await self._rest(share * (loop.time() - began_at))

    async def look(self, *, keep_ms: int) -> int:
        """Prune what ended so long ago.

        Where there is nothing so old looking costs a row or two, and one for each schedule.
        """
        await self.compact(before=self.now_ms() - min(keep_ms, COMPACT_MS))
        before = self.now_ms() - keep_ms
        if not await self._store.is_pruning_due(before=before):
            return 0
        count = await self.prune(before=before)
        if count:
            log.info("executions_pruned", count=count, before=before)
        return count

    async def compact(self, *, before: int) -> int:
        """Take out of the logs of what ended before then what other tables say, too; how many lines."""
        count = 0
        loop = asyncio.get_running_loop()
        while await self._store.is_compaction_due(before=before):
            began_at = loop.time()
            done = await self._writer.write(Compact(before=before, limit=BATCH))
            assert isinstance(done, Compacted)
            count += done.events
            await self._rest(REST_SHARE * (loop.time() - began_at))
        return count

    async def tally(self, *, before: int) -> None:
        """Count what was created before then and has ended, for statistics not to read it every time."""
        loop = asyncio.get_running_loop()
        for block in await self._store.tallies_due(before=before):
            began_at = loop.time()
            await self._writer.write(Tally(block=block))
            await self._rest(REST_SHARE * (loop.time() - began_at))

    async def prune(self, *, before: int, keep_failed: bool = False) -> int:
        """Take away everything that ended before then; answers how many executions went."""
        count, after_no = 0, 0
        loop = asyncio.get_running_loop()
        while True:
            began_at = loop.time()
            done = await self._writer.write(
                Prune(before=before, after_no=after_no, limit=BATCH, keep_failed=keep_failed)
            )
            assert isinstance(done, Pruned)
            count += done.executions
            after_no = done.after_no
            if done.is_done:
                return count
            await self._rest(REST_SHARE * (loop.time() - began_at))

    async def _rest(self, seconds: float) -> None:
        await Wakeup(self._alarms).wait(seconds)


@asynccontextmanager
async def upkeep_of(runtime: Runtime, *, keep_ms: int | None, is_keeping: bool) -> AsyncIterator[Upkeep]:
    """Keep the store of that runtime, where `is_keeping`; its machine has been assembled."""
    services = runtime.machine.services
    upkeep = Upkeep(services.store, services.writer, services.alarms, now_ms=services.now_ms)
    async with anyio.create_task_group() as group:
        if is_keeping:
            patience = runtime.seams.patience
            services.helpers(group).keep(
                lambda: upkeep.run(keep_ms=keep_ms, patience=patience), name="upkeep"
            )
        yield upkeep
        group.cancel_scope.cancel()
