"""Admits executions that wait in the queues of their workflows, as soon as one before them has ended.

Where many queues have room they take turns: each round admits one of each, beginning behind the one that
was admitted last. A process that sweeps admits for everybody; one that performs only what it was given
(`perdure run`) asks for its own, again and again, as nobody else may be there.
"""

from __future__ import annotations

from typing import Final

from perdure.actors.execution.services import Missing, Services
from perdure.actors.execution.supervisor import Executions
from perdure.actors.kernel import Wakeup
from perdure.actors.log import get_logger
from perdure.store.errors import PerdureError
from perdure.store.scripts import queueing
from perdure.store.scripts.queueing import Admit, Queue
from perdure.store.states import State

LOOK_S: Final = 15.0  # how often a look is taken though nobody is known to wait
WATCH_S: Final = 1.0  # how often while somebody waits: what ends elsewhere is not told

log = get_logger("perdure.queueing")


class Admissions:
    """`run` is its task; `ask` is called whenever there may be room, or somebody who wants it."""

    def __init__(
        self, services: Services, executions: Executions, *, admits_all: bool, patience: float = 1.0
    ) -> None:
        """`admits_all`: this process takes up what it finds; else it admits only what is `own`.

        `patience` is how many times as long as usual it waits until it looks though nobody asked.
        """
        self._services = services
        self._executions = executions
        self._admits_all = admits_all
        self._look_s = LOOK_S * patience
        self._own: dict[str, str] = {}
        self._last = ""
        self._somebody_waits = True  # nobody has looked yet
        self._wakeup = Wakeup(services.alarms)

    def ask(self) -> None:
        """There may be room; without anybody who waits for it this costs nothing."""
        if self._somebody_waits:
            self._wakeup.set()

    def expect(self) -> None:
        """Somebody may have begun to wait."""
        self._somebody_waits = True
        self._wakeup.set()

    def own(self, execution_id: str, queue: str) -> None:
        """An execution of this process's begins to wait in that queue."""
        if not self._admits_all:
            self._own[execution_id] = queue
        self.expect()

    async def run(self) -> None:
        """Admit whenever asked, and every so often."""
        while True:
            self._wakeup.clear()
            try:
                await (self._admit_all() if self._admits_all else self._admit_own())
            except PerdureError as error:
                log.warning("admission_failed", error=str(error))
            await self._wakeup.wait(WATCH_S if self._somebody_waits else self._look_s)

    async def _admit_all(self) -> None:
        self._somebody_waits = True
        is_going_on = True
        while is_going_on and self._executions.has_room:
            queues = await self._with_room(self._executions.room)
            admitted = [await self._admit(queue.name) for queue in queues[: self._executions.room]]
            is_going_on = any(admitted)
        self._somebody_waits = await self._services.store.is_anybody_queued()

    async def _with_room(self, most: int) -> list[Queue]:
        """So many queues with room for one that can be performed here, behind the one that was last first.

        The store tells of some queues at a time, and all of those may be for other processes. Which of two
        names comes first only the store knows: a database may have an order of its own.
        """
        store, missing = self._services.store, Missing(self._services)
        found: dict[str, Queue] = {}
        for behind in dict.fromkeys((self._last, "")):
            after: str | None = behind
            while after is not None and len(found) < most:
                page = await store.queues(after=after)
                found |= {queue.name: queue for queue in page if not await missing.of(queue.workflow_no)}
                after = page[-1].name if len(page) >= queueing.QUEUES_MAX else None
        return list(found.values())

    async def _admit_own(self) -> None:
        for execution_id, queue in list(self._own.items()):
            await self._admit(queue, execution_id)
            execution = await self._services.store.execution(execution_id)
            if execution is not None and execution.queue is not None:
                continue
            del self._own[execution_id]
            if execution is not None and execution.state is State.IDLE:
                self._executions.take_up(execution_id)  # also where nobody could tell that it was admitted
        self._somebody_waits = bool(self._own)

    async def _admit(self, queue: str, execution_id: str | None = None) -> bool:
        """Admit the next of a queue, or the one that is named, and take it up."""
        wish = Admit(queue=queue, execution_id=execution_id, at=self._services.now_ms())
        admitted = await self._services.writer.write(wish, is_patient=True)
        if not isinstance(admitted, str):
            return False
        self._last = queue
        self._executions.take_up(admitted)
        return True
