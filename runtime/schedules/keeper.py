"""Starts what is due: looks at the schedules whenever one has something to decide, and acts on it.

The execution is started first, under an id made of the schedule and the moment, and the decision
written down after it. A crash in between leads to the same decision again, whose start joins the
execution that is there. So nothing fires twice and nothing is lost, also where several runners keep
the same schedules: the second to write finds that the schedule has moved, and that all is done.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec

from perdure.actors.errors import RuntimeClosed
from perdure.actors.kernel import Alarms, Wakeup
from perdure.actors.log import get_logger
from perdure.actors.writer import Writer
from perdure.runtime.language.errors import DefinitionError
from perdure.runtime.schedules.policy import Decision, Standing, decide, execution_id
from perdure.runtime.schedules.rule import Rule, stored_rule
from perdure.store.errors import Conflict, NotFound, PerdureError, StoreError
from perdure.store.protocol import Store
from perdure.store.records import Schedule
from perdure.store.schedule_writes import FiringWrite, MoveSchedule
from perdure.store.scripts.rows import milliseconds

LOOK_S: Final = 60.0  # how often the clock is looked at though nothing is due: it may have jumped
REST_S: Final = 5.0  # after a failure of the store
TRIES: Final = 5  # of writing a decision down while the schedule is paused and resumed again and again
PAGE: Final = 100  # schedules decided in one round
REASON_MAX: Final = 1_000  # characters of why a start was refused; an error may name every input

StartExecution = Callable[[Schedule, Rule, str], Awaitable[None]]
CancelExecution = Callable[[str, str], Awaitable[None]]

log = get_logger("perdure.schedule")


class Keeper:
    """`run` is its task. `start` and `cancel` are the runtime's doors."""

    def __init__(
        self,
        store: Store,
        writer: Writer,
        alarms: Alarms,
        *,
        now_ms: Callable[[], int],
        start: StartExecution,
        cancel: CancelExecution,
        look_s: float = LOOK_S,
    ) -> None:
        """Keep the schedules of that store."""
        self._look_s = look_s
        self._store = store
        self._writer = writer
        self._now_ms = now_ms
        self._start = start
        self._cancel = cancel
        self._wakeup = Wakeup(alarms)
        self._not_understood: dict[str, int] = {}  # the version of each that was told

    def ask(self) -> None:
        """Look now: a schedule was added or changed."""
        self._wakeup.set()

    async def run(self) -> None:
        """Decide whatever is due, then rest until the next is; to the end of the runtime."""
        while True:
            self._wakeup.clear()
            try:
                rest_s = await self.look()
            except RuntimeClosed:
                return  # what was not decided is decided by who opens the store next
            except StoreError as error:
                log.warning("schedules_not_kept", error=str(error))
                rest_s = REST_S
            await self._wakeup.wait(rest_s)

    async def look(self) -> float:
        """Decide what is due; answer the seconds until something is again."""
        limit = PAGE + len(self._not_understood)  # those stay due, and are not to keep the others out
        due = await self._store.schedules_due(before=self._now_ms(), limit=limit)
        kept = [await self._try_to_keep(schedule) for schedule in due]
        rest_s = 0.0 if all(kept) else REST_S
        if len(due) == limit:
            return rest_s
        next_due = await self._store.next_schedule_due()
        if next_due is None:
            return self._look_s
        return min(self._look_s, max(rest_s, (next_due - self._now_ms()) / 1000))

    async def _try_to_keep(self, schedule: Schedule) -> bool:
        """Keep it, unless this process cannot: it lacks the library, or does not know the time zone."""
        try:
            await self.keep(schedule)
        except (StoreError, RuntimeClosed):
            raise
        except PerdureError as error:
            if self._not_understood.get(schedule.id) != schedule.version:
                log.warning("schedule_not_understood", schedule=schedule.id, error=str(error))
            self._not_understood[schedule.id] = schedule.version
            return False
        return True

    async def keep(self, schedule: Schedule) -> None:
        """Decide one schedule's moments, act, and write it down."""
        rule = stored_rule(schedule.rule)
        standing = Standing(
            id=schedule.id,
            considered_at=milliseconds(schedule.considered_at),
            pending=schedule.pending,
            is_last_active=await self._is_active(schedule.last_execution),
        )
        now = self._now_ms()
        decision = decide(rule, standing, now=now)
        refused = await self._act(schedule, rule, decision)
        firings = tuple(_as_done(firing, refused) for firing in decision.firings)
        started = [one.execution_id for one in firings if one.decision == "started"]
        move = MoveSchedule(
            id=schedule.id,
            version=schedule.version,
            considered_at=decision.considered_at,
            next_at=decision.next_at,
            is_paused=False,
            pending=decision.pending,
            last_execution=started[-1] if started else None,
            firings=firings,
            at=now,
        )
        if not await self._write_down(move, schedule):
            log.debug("schedule_moved_meanwhile", schedule=schedule.id)
            return
        for firing in firings:
            _tell(schedule.id, firing)

    async def _write_down(self, move: MoveSchedule, decided: Schedule) -> bool:
        """Write a decision down, unless somebody else has decided the same moments.

        A schedule that was paused meanwhile is paused; what has been started is written down all the same.
        """
        for _ in range(TRIES):
            try:
                await self._writer.write(move)
            except NotFound:
                return False
            except Conflict:
                current = await self._store.schedule(decided.id)
                if current is None or _standing(current) != _standing(decided):
                    return False
                changes: dict[str, Any] = {"version": current.version, "is_paused": current.is_paused}
                move = msgspec.structs.replace(move, **changes)
            else:
                return True
        return False

    async def _act(self, schedule: Schedule, rule: Rule, decision: Decision) -> dict[int, str]:
        """Start what is to be started; answers the moments whose start was refused, and why."""
        if decision.cancels_last and schedule.last_execution is not None:
            await self._cancel(schedule.last_execution, schedule.id)
        refused = {}
        for moment in decision.start:
            try:
                await self._start(schedule, rule, execution_id(schedule.id, moment))
            except (StoreError, RuntimeClosed, DefinitionError):
                raise  # the last for a workflow that only a newer release can read, which may start it
            except PerdureError as error:
                refused[moment] = str(error)
        return refused

    async def _is_active(self, id_: str | None) -> bool:
        execution = None if id_ is None else await self._store.execution(id_)
        return execution is not None and not execution.is_terminal


def _standing(schedule: Schedule) -> tuple[Any, ...]:
    """What a decision is made of."""
    return schedule.no, schedule.rule, schedule.considered_at, schedule.pending


def _as_done(firing: FiringWrite, refused: Mapping[int, str]) -> FiringWrite:
    """A start that was refused is written down as such."""
    if firing.decision == "started" and firing.due_at in refused:
        return FiringWrite(firing.due_at, "refused", reason=refused[firing.due_at][:REASON_MAX])
    return firing


def _tell(id_: str, firing: FiringWrite) -> None:
    words: dict[str, Any] = {"schedule": id_, "due_at": firing.due_at, "count": firing.count}
    if firing.reason is not None:
        words["error"] = firing.reason
    tell = log.info if firing.decision in {"started", "queued"} else log.warning
    tell(f"schedule_{firing.decision}", **words)
