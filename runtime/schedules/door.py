"""The door to schedules: `runtime.schedules.add("nightly", "report", cron="0 2 * * *")` and the rest."""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import datetime
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Any, Final

import anyio
import msgspec

from perdure.runtime import arguments
from perdure.runtime.arguments import InvalidArgument
from perdure.runtime.language.inputs import filled
from perdure.runtime.schedules.declaring import put
from perdure.runtime.schedules.keeper import LOOK_S, Keeper
from perdure.runtime.schedules.policy import MOMENTS_MAX, execution_id, next_at
from perdure.runtime.schedules.rule import ID_RULE, Rule, is_schedule_id, rule_of, stored_rule
from perdure.runtime.schedules.timetable import EPOCH, delayed, moments
from perdure.store.errors import Conflict, IdTaken, IllegalTransition, NotFound
from perdure.store.records import Firing, Schedule
from perdure.store.schedule_writes import DeleteSchedule, FiringWrite, MoveSchedule, PutSchedule
from perdure.store.scripts.rows import milliseconds, moment

if TYPE_CHECKING:
    from perdure.runtime.execution import Execution
    from perdure.runtime.runtime import Runtime

TRIES: Final = 20  # a schedule that fires all the time may move just as it is being changed


class Schedules:
    """All schedules of a store. Every change is durable when it returns."""

    def __init__(self, runtime: Runtime) -> None:
        """Made by `Runtime.schedules`."""
        self._runtime = runtime

    async def add(self, id: str, workflow: str, **rule: Any) -> Schedule:
        """Start the active revision of `workflow` by itself; a schedule of that id gets the new rule.

        `cron` with `timezone` (default UTC), or `every`; `missed` (`skip`, `latest`, `all`) within
        `missedWindow` (default one day); `overlap` (`skip`, `queue`, `replace`, `allow`); `jitter`;
        `input`, the context. Lengths of time are texts such as `15m`, milliseconds or timedeltas.

        Raises InvalidArgument, NotFound when no such workflow is published, InputError and TemplateError
        for an input with which no execution could be started.
        """
        if not is_schedule_id(id):
            raise InvalidArgument(f"a schedule may not be called {id!r:.99}: give {ID_RULE}")
        parsed = rule_of(rule)
        revision = await self._runtime.machine.plans.active(workflow)
        revision.contexts.check(filled(revision.definition.inputs, parsed.input or {}), self._runtime.agents)
        now = self._now_ms()
        await self._write(put(id, workflow, parsed, is_declared=False, now=now))
        await self._runtime.ring_workers()
        return await self.get(id)

    async def list(self, *, workflow: str | None = None) -> list[Schedule]:
        """Schedules by id, of one workflow or all."""
        return await self._runtime.store.schedules(workflow=workflow)

    async def get(self, id: str) -> Schedule:
        """One schedule. Raises NotFound."""
        found = await self._runtime.store.schedule(id)
        if found is None:
            known = [one.id for one in await self.list()]
            hint = f"there are: {', '.join(known[:10])}" if known else "there is none yet"
            raise NotFound("schedule", id, hint=hint)
        return found

    async def next(self, id: str, *, count: int = 10) -> builtins.list[datetime]:
        """When it will start the next `count` executions.

        Raises NotFound, InvalidArgument when they are more than MOMENTS_MAX.
        """
        if arguments.at_least_one(count, what="count") > MOMENTS_MAX:
            raise InvalidArgument(f"count is {count:,}: give at most {MOMENTS_MAX:,}")
        schedule = await self.get(id)
        rule, now = stored_rule(schedule.rule), self._now_ms()
        after = now if schedule.is_paused else max(milliseconds(schedule.considered_at), now - rule.jitter_ms)
        starts = (delayed(rule, one, schedule_id=id) for one in moments(rule, after=after))
        return [moment(ms) for ms in islice((ms for ms in starts if ms > now), count)]

    async def history(self, id: str, *, limit: int = 50) -> builtins.list[Firing]:
        """What became of its moments, newest first. Raises NotFound."""
        await self.get(id)
        arguments.at_least_one(limit, what="limit")
        return await self._runtime.store.firings(id, limit=limit)

    async def pause(self, id: str) -> None:
        """Let it start nothing until it is resumed; paused already is paused. Raises NotFound."""
        await self._set_paused(id, is_paused=True)

    async def resume(self, id: str) -> None:
        """Let it go on from now: what fell into the pause is recorded as skipped. Raises NotFound."""
        await self._set_paused(id, is_paused=False)
        await self._runtime.ring_workers()

    async def trigger(self, id: str) -> Execution:
        """Start an execution now, beside the moments of the rule. Raises NotFound."""
        schedule = await self.get(id)
        wanted = f"{id[:60]}.{self._runtime.seams.new_id()}"
        return await _start(self._runtime, schedule, stored_rule(schedule.rule), wanted)

    async def backfill(self, id: str, *, start: datetime, end: datetime) -> builtins.list[Execution]:
        """Start an execution for each moment from `start` to `end`; a moment that has one keeps it.

        Raises NotFound, InvalidArgument when there are more than MOMENTS_MAX of them, or they begin before
        1970.
        """
        schedule = await self.get(id)
        rule = stored_rule(schedule.rule)
        first, last = arguments.zoned(start, what="start"), arguments.zoned(end, what="end")
        if first < EPOCH:
            raise InvalidArgument(f"start is {start}: give a moment since 1970")
        found = list(_between(rule, start=milliseconds(first), end=milliseconds(last)))
        if len(found) > MOMENTS_MAX:
            raise InvalidArgument(f"there are more than {MOMENTS_MAX:,} moments in between: take a part")
        return [await _start(self._runtime, schedule, rule, execution_id(id, one)) for one in found]

    async def remove(self, id: str) -> None:
        """Delete it; what it has started goes on. Raises NotFound."""
        await self.get(id)
        await self._write(DeleteSchedule(id=id))

    async def _set_paused(self, id_: str, *, is_paused: bool) -> None:
        for _ in range(TRIES):
            schedule = await self.get(id_)
            if schedule.is_paused == is_paused:
                return
            try:
                await self._write(_pause(schedule, is_paused=is_paused, now=self._now_ms()))
            except Conflict:
                continue
            return
        command = "pause" if is_paused else "resume"
        raise IllegalTransition(id_, kind="schedule", state="moving all the time", command=command)

    async def _write(self, write: PutSchedule | MoveSchedule | DeleteSchedule) -> None:
        await self._runtime.machine.services.writer.write(write)

    def _now_ms(self) -> int:
        return self._runtime.machine.services.now_ms()


@asynccontextmanager
async def kept(runtime: Runtime, *, is_keeping: bool) -> AsyncIterator[Keeper]:
    """Keep the schedules of that runtime's store, where `is_keeping`; its machine has been assembled."""
    keeper, services = _keeper_of(runtime), runtime.machine.services
    async with anyio.create_task_group() as group:
        if is_keeping:
            runtime.machine.listen(keeper.ask)
            services.helpers(group).keep(keeper.run, name="schedules")
        yield keeper
        group.cancel_scope.cancel()


def _keeper_of(runtime: Runtime) -> Keeper:
    services = runtime.machine.services

    async def start(schedule: Schedule, rule: Rule, id_: str) -> None:
        await _start(runtime, schedule, rule, id_)

    async def cancel(id_: str, schedule_id: str) -> None:
        execution = await runtime.execution(id_)
        try:
            await execution.cancel(by=f"schedule:{schedule_id}", reason="replaced by the next one")
        except IllegalTransition:
            return  # it has ended by itself

    return Keeper(
        services.store,
        services.writer,
        services.alarms,
        now_ms=services.now_ms,
        start=start,
        cancel=cancel,
        look_s=LOOK_S * runtime.seams.patience,
    )


async def _start(runtime: Runtime, schedule: Schedule, rule: Rule, id_: str) -> Execution:
    """Start it here, or leave it to a runner that has the code.

    A moment that has an execution keeps it, also where the schedule has started another workflow then.
    """
    revision = await runtime.machine.plans.active(schedule.workflow)
    try:
        return await runtime.start(
            schedule.workflow,
            rule.input,
            id=id_,
            triggered_by=f"schedule:{schedule.id}",
            detach=not revision.plan.is_performable,
        )
    except IdTaken:
        return await runtime.execution(id_)


def _pause(schedule: Schedule, *, is_paused: bool, now: int) -> MoveSchedule:
    """The move that pauses or resumes it; what fell into the pause is decided with it."""
    rule = stored_rule(schedule.rule)
    considered_at = milliseconds(schedule.considered_at)
    is_turn = bool(schedule.pending) and not is_paused  # of what was queued before
    skipped = [] if is_paused else list(_between(rule, start=considered_at + 1, end=now))
    return MoveSchedule(
        id=schedule.id,
        version=schedule.version,
        considered_at=considered_at if is_paused else now,
        next_at=now if is_turn else next_at(rule, schedule_id=schedule.id, after=now),
        is_paused=is_paused,
        pending=schedule.pending,
        last_execution=None,
        firings=(FiringWrite(skipped[0], "skipped", None, len(skipped)),) if skipped else (),
        at=now,
    )


def _between(rule: Rule, *, start: int, end: int) -> Iterator[int]:
    """The moments from `start` to `end`, at most one more than MOMENTS_MAX."""
    for count, one in enumerate(takewhile(lambda ms: ms <= end, moments(rule, after=start - 1))):
        if count > MOMENTS_MAX:
            return
        yield one


def shown(schedule: Schedule) -> Schedule:
    """The schedule as a list shows it: the moments of its rule in one line, too, as `text`."""
    return msgspec.structs.replace(schedule, rule={**schedule.rule, "text": stored_rule(schedule.rule).text})
