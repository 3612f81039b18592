"""Takes up what nobody works on: at start, when somebody rings, when time has come, when there is room.

Recovery is a sweep that repeats, not an act at the start: dead runners are buried, what they owned
is free, and whatever is free and can be performed here is taken up, highest priority first, as far
as there is room. What cannot be performed here stays where it is, and is told apart.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import Final, TypeVar

import anyio

from perdure.actors.cluster.doorbell import call
from perdure.actors.cluster.membership import Membership
from perdure.actors.dispatch.room import Room
from perdure.actors.dispatch.routing import Routing
from perdure.actors.execution.claiming import claim_free
from perdure.actors.execution.services import Missing, Services
from perdure.actors.execution.supervisor import Executions
from perdure.actors.kernel import Wakeup
from perdure.actors.log import get_logger
from perdure.actors.state import code
from perdure.actors.state.execution import ExecutionState
from perdure.actors.state.trial import SUSPECT_DEATHS, groups, rounds, seconds, worst
from perdure.actors.writer import OUTAGES
from perdure.store.claims import CLAIM_MAX, Claimable
from perdure.store.errors import OutcomeUnknown, PerdureError, StoreCorrupt, StoreError
from perdure.store.records import Due, Execution, Runner, Suspect

SWEEP_S: Final = 15.0  # the safety net: how often a sweep happens though nothing called for one
SWEEP_PAGE: Final = CLAIM_MAX  # executions looked at in one read, and claimed in one write
SUSPECTS_MAX: Final = 10_000  # steps put on trial; as many as are in flight in one process by default
OUTCOMES: Final = frozenset(
    {
        "step_completed",
        "step_failed",
        "hook_completed",
        "hook_failed",
        "step_compensated",
        "step_compensation_failed",
    }
)
RESTS: Final = frozenset({"workflow_paused", "workflow_cancelled"})
REST_S: Final = 1.0  # after a sweep that failed: the store gets time to come back
CODE_HINT: Final = (
    "a process that has it goes on; where a function has changed: run the old one, too, give its new "
    "parameter a default, or `perdure migrate ID --to VERSION`"
)

log = get_logger("perdure.recovery")
T = TypeVar("T")


class Recovery:
    """`run` is its task; everything else asks it for a sweep."""

    def __init__(
        self,
        services: Services,
        executions: Executions,
        routing: Routing,
        membership: Membership,
        *,
        sweep_s: float = SWEEP_S,
    ) -> None:
        """Take up into `executions`, at the latest every `sweep_s`."""
        self._sweep_s = sweep_s
        self._services = services
        self._executions = executions
        self._routing = routing
        self._membership = membership
        self._wakeup = Wakeup(services.alarms)
        self._is_unsure = False
        self._passed_by = False
        self.room = Room(executions, services.alarms, self.ask)
        self._watched: set[str] = set()
        self._unwatched: list[Runner] = []
        self.waiting_for_code: dict[str, tuple[str, ...]] = {}

    def ask(self) -> None:
        """Ask for a sweep soon."""
        self._wakeup.set()

    async def look_for_mail(self) -> None:
        """Hand over what waits for executions that are performed here, should its ring have gone unheard.

        One that was set aside is begun again by a ring alone: what it crashed of may be there still.
        """
        try:
            for execution_id in await self._mail(self._membership.no):
                if not self._executions.is_set_aside(execution_id):
                    await self._routing.ring(execution_id)
        except PerdureError as error:
            log.warning("mail_not_seen", error=str(error))

    async def run(self) -> None:
        """Sweep whenever asked, when a stored timer is due, when a runner dies, and every so often."""
        self._watched.clear()  # whoever watched before a crash has ended with it
        self._unwatched.clear()
        async with anyio.create_task_group() as watchers:
            while True:
                self._wakeup.clear()
                pause_s = self._sweep_s
                try:
                    pause_s = await self.sweep()
                    for runner in self._unwatched:
                        watchers.start_soon(self._watch, runner)
                    self._unwatched.clear()
                except OUTAGES as error:
                    self._services.writer.suspect(error)
                    await self._services.writer.outage.over()
                    pause_s = REST_S
                except StoreError as error:
                    log.warning("sweep_failed", error=str(error))
                    pause_s = REST_S
                await self._wakeup.wait(pause_s)

    async def _watch(self, runner: Runner) -> None:
        """Hold a line to another runner's bell: when it breaks off, the runner is gone."""
        async with call(runner.doorbell) as line:
            was_heard = line.is_connected
            await line.broken()
        self._watched.discard(runner.id)
        is_gone = self._membership.clear_away(runner)
        if was_heard or is_gone:  # one that lives where it cannot be heard is called again by the next sweep
            self.ask()

    async def sweep(self) -> float:
        """Take up what is free; return the seconds until something stored falls due."""
        self.room.forget()
        for runner in await self._membership.living():
            if runner.doorbell is not None and runner.id not in self._watched:
                self._watched.add(runner.id)
                self._unwatched.append(runner)
        if self._executions.is_idle:
            await self._try_suspects()
        await self._find_stranded()
        self._passed_by = False
        waiting: dict[str, tuple[str, ...]] = {}
        missing = Missing(self._services)
        has_seen_all = await self._take_up_free(waiting, missing)
        await self._take_up_mail(missing)
        pause_s = await self._take_up_due(waiting, missing)
        if has_seen_all:
            self._tell_waiting(waiting)
        self.room.use()  # which came while this looked
        return min(pause_s, REST_S) if self._passed_by else pause_s

    async def _find_stranded(self) -> None:
        """Take up what a claim of unknown outcome has made ours."""
        if not self._is_unsure:
            return
        for execution_id in await self._services.store.owned(runner_no=self._membership.no):
            if not self._executions.is_set_aside(execution_id):
                self._executions.take_up(execution_id)
        self._is_unsure = False

    async def _claim(self, found: Mapping[str, int]) -> None:
        """Take over what is still free, by id and number, and begin with it.

        What another runner is just taking was passed by; should it be let go again, a look is due soon.
        """
        wanted = {id_: no for id_, no in found.items() if not self._executions.is_ours(id_)}
        if not wanted:
            return
        try:
            epochs = await claim_free(self._services, list(wanted.values()))
        except OutcomeUnknown:
            self._is_unsure = True
            raise
        for execution_id, epoch in epochs.items():
            self._executions.take_up(execution_id, epoch=epoch)
        self._passed_by = self._passed_by or len(epochs) < len(wanted)

    async def _try_suspects(self) -> None:
        """Take up, group by group, what may be killing its process, while nothing else can be to blame.

        Then everything else begins, whatever they do. One that another runner has taken meanwhile is
        no longer ours to try.
        """
        found = await self._services.store.suspects(deaths=SUSPECT_DEATHS, limit=SUSPECTS_MAX)
        missing = Missing(self._services)
        found = [suspect for suspect in found if await self._can_be_tried(suspect, missing)]
        suspects = worst(found, lambda suspect: suspect.deaths)
        if not suspects:
            return
        with self._executions.held():
            for group in groups(suspects):
                await self._try(group)
        log.warning("suspects_tried", count=len(suspects), deaths=suspects[0].deaths)

    async def _can_be_tried(self, suspect: Suspect, missing: Missing) -> bool:
        """Whether all that it needs is here; else it would be given up at once, and found again."""
        if await missing.of(suspect.workflow_no):
            return False
        execution = await self._execution(suspect.execution_id)
        return execution is not None and not await self._lacks(execution, missing)

    async def _try(self, group: Sequence[Suspect]) -> None:
        """Let those begin, and nothing else, until all have come to an outcome or their time is over."""
        time_s = max(seconds(suspect.deaths) * rounds(suspect.steps) for suspect in group)
        with anyio.move_on_after(time_s):
            async with anyio.create_task_group() as watchers:
                for suspect in group:
                    watchers.start_soon(self._try_one, suspect)

    async def _try_one(self, suspect: Suspect) -> None:
        """Take it up and wait until its suspects have outcomes, or until it rests or leaves this process."""
        bus, id_ = self._services.bus, suspect.execution_id
        open_steps = suspect.steps
        with bus.subscribe(id_) as events:
            self._executions.take_up(id_)
            left = bus.end_of(id_)
            left.add_done_callback(lambda _: events.ring())
            try:
                while not left.done() and open_steps > 0:
                    kinds = [event.type for event in events.take()]
                    open_steps -= sum(kind in OUTCOMES for kind in kinds)
                    if RESTS.intersection(kinds):
                        return
                    if open_steps > 0:
                        await events.wait()
            finally:
                bus.forget(id_, left)

    async def _take_up_free(self, waiting: dict[str, tuple[str, ...]], missing: Missing) -> bool:
        """Take up what can be performed here, note what waits for code; False when there was no room."""
        after_no = 0
        while self.room.is_there():
            page = await self._services.store.claimable(limit=SWEEP_PAGE, after_no=after_no)
            found: dict[str, int] = {}
            for execution in page:
                lacking = await self._lacks(execution, missing)
                if lacking:
                    waiting[execution.id] = lacking
                elif self.room.is_there(beside=len(found)):
                    found[execution.id] = execution.no
            await self._claim(found)
            if len(page) < SWEEP_PAGE:
                return True
            after_no = page[-1].no
        return False

    async def _take_up_mail(self, missing: Missing) -> None:
        """Take up what has unread messages, should nobody have rung; what is ours is handed over.

        What cannot be read back can be claimed by nobody: it was set aside, and is nobody's still.
        """
        await self.look_for_mail()
        for execution_id in await self._mail(None):
            if not self.room.is_there():
                return
            if self._executions.is_set_aside(execution_id):
                continue
            execution = await self._execution(execution_id)
            if execution is not None and not await missing.of(execution.workflow_no):
                self._executions.take_up(execution_id)

    async def _mail(self, runner_no: int | None) -> list[str]:
        """Ids of all executions of that runner (None: of nobody) that have unread messages."""
        found: list[tuple[int, str]] = []
        page = await self._services.store.mail(runner_no=runner_no, limit=SWEEP_PAGE)
        while page:
            found += page
            page = await self._services.store.mail(
                runner_no=runner_no, limit=SWEEP_PAGE, after_no=page[-1][0]
            )
        return [execution_id for _, execution_id in found]

    async def has_work(self, *, within_s: float) -> bool:
        """Whether anything is performed here, or could be now or once what is due by then is due."""
        if not self._executions.is_idle:
            return True
        store, missing = self._services.store, Missing(self._services)
        page = await store.claimable(limit=SWEEP_PAGE)
        while page:
            if any([not await self._lacks(execution, missing) for execution in page]):
                return True
            page = await store.claimable(limit=SWEEP_PAGE, after_no=page[-1].no)
        soon = self._services.now_ms() + round(within_s * 1000)
        ahead = await store.due(before=soon, limit=SWEEP_PAGE)
        while ahead:
            if any([not (due.needs_code and await missing.of(due.workflow_no)) for due in ahead]):
                return True
            ahead = await store.due(before=soon, limit=SWEEP_PAGE, after=ahead[-1])
        return False

    async def _execution(self, execution_id: str) -> Execution | None:
        return await self._readable(execution_id, self._services.store.execution(execution_id))

    async def _readable(self, execution_id: str, answer: Awaitable[T | None]) -> T | None:
        """What the store has of an execution; None where that cannot be read back: the others go on."""
        try:
            return await answer
        except StoreCorrupt as error:
            log.warning("execution_unreadable", execution_id=execution_id, error=str(error))
            return None

    async def _lacks(self, execution: Execution | Claimable, missing: Missing) -> tuple[str, ...]:
        """What is missing here, or is here and does not fit; which it still needs tells its state."""
        lacking = await missing.of(execution.workflow_no)
        if lacking:
            return lacking
        services = self._services
        if execution.context is None:
            return ()
        plan = await services.plans.plan(execution.workflow_no, context=execution.context)
        if plan.fits(execution.context):
            return ()
        loaded = await self._readable(execution.id, services.store.load(execution.id))
        return () if loaded is None else code.lacks(ExecutionState.fold(plan, loaded))

    async def _take_up_due(self, waiting: dict[str, tuple[str, ...]], missing: Missing) -> float:
        """Take up what waits no longer. To fail what is past its deadline needs none of its code."""
        services = self._services
        now = services.now_ms()
        last: Due | None = None
        while self.room.is_there():
            page = await services.store.due(before=now, limit=SWEEP_PAGE, after=last)
            found: dict[str, int] = {}
            for due in page:
                lacking = await missing.of(due.workflow_no) if due.needs_code else ()
                if lacking:
                    waiting[due.execution_id] = lacking
                elif self.room.is_there(beside=len(found)):
                    found[due.execution_id] = due.execution_no
                    waiting.pop(due.execution_id, None)
            await self._claim(found)
            if len(page) < SWEEP_PAGE:
                break
            last = page[-1]
        due_at = await services.store.next_due(after=now)
        return self._sweep_s if due_at is None else min(self._sweep_s, max(0.0, (due_at - now) / 1000))

    def _tell_waiting(self, waiting: dict[str, tuple[str, ...]]) -> None:
        """Say once of each execution that it waits for code, and for which."""
        for execution_id, missing in waiting.items():
            if execution_id not in self.waiting_for_code:
                log.warning(
                    "waiting_for_code", execution_id=execution_id, missing=list(missing), hint=CODE_HINT
                )
        self.waiting_for_code = waiting
