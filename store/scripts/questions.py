"""Every question a store answers, as a script; how one is carried to the database is each store's own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import datetime
from typing import Any, ClassVar, TypeVar

from perdure.store.asking import PendingApproval
from perdure.store.claims import Claimable
from perdure.store.fanout import Loop
from perdure.store.records import (
    Attempt,
    Checkpoint,
    CheckpointStatistics,
    Due,
    Event,
    Execution,
    ExecutionSummary,
    Firing,
    KeptSignal,
    Kin,
    Loaded,
    Message,
    Runner,
    Schedule,
    SharedGuard,
    Step,
    Suspect,
    Workflow,
    WorkflowStatistics,
    WorkflowVersion,
)
from perdure.store.script import Script
from perdure.store.scripts import (
    approvals,
    compaction,
    deliveries,
    faring,
    guards,
    history,
    items,
    marks,
    pages,
    queueing,
    reads,
    retention,
    schedules,
    search,
    tallies,
    versions,
)
from perdure.store.scripts.deliveries import Delivery
from perdure.store.scripts.faring import ErrorStatistics, StepStatistics
from perdure.store.scripts.items import Item
from perdure.store.scripts.queueing import Queue
from perdure.store.states import State, Status
from perdure.store.usage import StepHistory

T = TypeVar("T")


class Questions(ABC):
    """The reading half of a store."""

    engine: ClassVar[search.Engine] = search.SQLITE

    @abstractmethod
    async def _ask(self, script: Script[T], *, at_one_moment: bool = False) -> T:
        """Hold the conversation, its errors translated; `at_one_moment`: no commit shows in between."""

    async def _browse(self, script: Script[T], *, at_one_moment: bool = False) -> T:
        """The same for what may take long, and must not stand in the way of the machine."""
        return await self._ask(script, at_one_moment=at_one_moment)

    async def load(self, execution_id: str) -> Loaded | None:
        """All that is needed to take the execution up, or None."""
        return await self._ask(reads.load(execution_id), at_one_moment=True)

    async def load_parked(self, execution_id: str) -> Loaded | Execution | None:
        """The same where nobody owns it and it rests or only waits; else the execution alone, or None."""
        return await self._ask(reads.load_parked(execution_id), at_one_moment=True)

    async def load_ended(self, execution_id: str) -> Loaded | State | None:
        """The same where it has ended; else its state alone, or None."""
        return await self._ask(reads.load_ended(execution_id), at_one_moment=True)

    async def inbox(self, execution_id: str) -> tuple[Execution, list[Message]] | None:
        """The execution with the messages that are not applied yet, or None."""
        return await self._ask(reads.inbox(execution_id), at_one_moment=True)

    async def claimable(self, *, limit: int, after_no: int = 0) -> list[Claimable]:
        """Executions nobody owns that have something to do now."""
        return await self._ask(reads.claimable(limit, after_no))

    async def suspects(self, *, deaths: int, limit: int) -> list[Suspect]:
        """Claimable executions with steps during which their process has died so often."""
        return await self._ask(reads.suspects(deaths, limit))

    async def due(self, *, before: int, limit: int, after: Due | None = None) -> list[Due]:
        """Timers due by that time of executions nobody owns."""
        return await self._ask(reads.due(before, limit, after))

    async def next_due(self, *, after: int) -> int | None:
        """When, after that time, the next of them falls due."""
        return await self._ask(reads.next_due(after))

    async def fold(self, execution_id: str, version: int) -> tuple[Attempt, ...]:
        """The outcome of each step as of that version."""
        return await self._ask(reads.fold(execution_id, version))

    async def context_at(self, execution_id: str, version: int) -> dict[str, Any]:
        """The context as of that version. Raises NotFound."""
        return await self._ask(reads.context_at(execution_id, version))

    async def signals_taken(self, execution_id: str, *, after: int) -> tuple[KeptSignal, ...]:
        """The signals that steps took after that version, in the order of their arrival."""
        return await self._ask(reads.signals_taken(execution_id, after))

    async def mail(self, *, runner_no: int | None, limit: int, after_no: int = 0) -> list[tuple[int, str]]:
        """Unfinished executions of this runner (None: of nobody) that have unread messages: number, id."""
        return await self._ask(reads.mail(runner_no, limit, after_no))

    async def applied(self, execution_id: str, command_id: str) -> int | None:
        """The version in which the execution applied that command; None if it never has."""
        return await self._ask(reads.applied(execution_id, command_id))

    async def message(self, no: int) -> Message | None:
        """One message, with its answer once there is one."""
        return await self._ask(reads.message(no))

    async def runners(self) -> list[Runner]:
        """The processes on the list."""
        return await self._ask(reads.runners())

    async def held(self) -> dict[int, int]:
        """How many executions each runner owns, by its `no`."""
        return await self._ask(reads.held())

    async def owned(self, *, runner_no: int) -> list[str]:
        """Ids of the executions that this runner owns."""
        return await self._ask(reads.owned(runner_no))

    async def schedules_due(self, *, before: int, limit: int) -> list[Schedule]:
        """Schedules that have something to decide by that time, the longest due first."""
        return await self._ask(schedules.due(before, limit))

    async def next_schedule_due(self) -> int | None:
        """When the next of them has something to decide."""
        return await self._ask(schedules.next_due())

    async def guard(self, scope: str) -> SharedGuard | None:
        """What runners share about an agent, or None where nothing is known of it yet."""
        return await self._ask(guards.guard(scope))

    async def queues(self, *, after: str) -> list[Queue]:
        """Queues behind that name in which somebody waits and for whom there is room."""
        return await self._ask(queueing.queues(after))

    async def is_anybody_queued(self) -> bool:
        """Whether an execution waits in any queue."""
        return await self._ask(queueing.is_anybody_queued())

    async def execution(self, execution_id: str) -> Execution | None:
        """One execution, or None."""
        return await self._ask(pages.execution(execution_id))

    async def summary(self, execution_id: str) -> ExecutionSummary | None:
        """One execution and how far its steps have come, or None."""
        return await self._ask(pages.summary(execution_id))

    async def kin(self, execution_id: str, *, limit: int) -> Kin:
        """How deep below others an execution is, and how many it has started, each counted up to `limit`."""
        return await self._ask(pages.kin(execution_id, limit))

    async def started_by(self, triggered_by: str, *, limit: int = 1_000) -> list[str]:
        """Ids of executions that were started by exactly that, the oldest first."""
        return await self._browse(pages.started_by(triggered_by, limit))

    async def find(self, prefix: str, *, limit: int = 10) -> list[str]:
        """Ids of executions that begin with that text, newest first."""
        return await self._browse(pages.find(prefix, limit))

    async def executions(
        self,
        *,
        status: Status | None = None,
        workflow: str | None = None,
        since: datetime | None = None,
        parent: str | None = None,
        only_top: bool = False,
        limit: int = 50,
        after: str | None = None,
    ) -> list[ExecutionSummary]:
        """A page of executions, newest first; `after` is the last id of the page before."""
        page = pages.executions(
            status=status,
            workflow=workflow,
            since=None if since is None else int(since.timestamp() * 1000),
            parent=parent,
            only_top=only_top,
            limit=limit,
            after=after,
        )
        return await self._browse(page)

    async def loops(self, execution_id: str) -> list[Loop]:
        """The steps that are performed for each of many items, of each step the newest."""
        return await self._browse(items.loops(execution_id))

    async def items(
        self,
        execution_id: str,
        step: str,
        *,
        lineage: int = 0,
        after: int = -1,
        limit: int = 1_000,
        failed: bool = False,
    ) -> list[Item]:
        """The items of a step that have begun, after that one, in order; or only those that `failed`."""
        page = items.items(execution_id, step, lineage=lineage, after=after, limit=limit, failed=failed)
        return await self._browse(page)

    async def attempts(self, execution_id: str) -> list[Attempt]:
        """Every attempt of every step, in step order."""
        return await self._browse(pages.attempts(execution_id))

    async def messages(self, execution_id: str, *, after: int = 0, limit: int = 1_000) -> list[Message]:
        """Every message of its inbox after that number, answered or not, oldest first."""
        return await self._browse(pages.messages(execution_id, after, limit))

    async def events(
        self,
        *,
        execution_id: str | None = None,
        type: str | None = None,
        after: int = 0,
        limit: int = 1_000,
    ) -> list[Event]:
        """The log after that event id, oldest first: of one execution or of all, of one type or of all."""
        return await self._browse(pages.events(execution_id, type, after, limit))

    async def checkpoints(self, execution_id: str, *, limit: int = 50) -> list[Checkpoint]:
        """Checkpoints, newest first."""
        return await self._browse(pages.checkpoints(execution_id, limit))

    async def checkpoints_removable(self, execution_id: str) -> list[Checkpoint]:
        """Checkpoints that nobody has named or goes on from, newest first."""
        return await self._ask(marks.removable(execution_id))

    async def checkpoint_statistics(self, execution_id: str) -> CheckpointStatistics:
        """The checkpoints of an execution in numbers. Raises NotFound."""
        return await self._ask(marks.statistics(execution_id))

    async def checkpoint(self, execution_id: str, wanted: str | int) -> Checkpoint | None:
        """The newest checkpoint of that label or version, or None."""
        return await self._ask(pages.checkpoint(execution_id, wanted))

    async def workflow(
        self, name: str, *, revision: str | None = None, version: str | None = None
    ) -> Workflow | None:
        """A revision by its hash or label; without either the active one."""
        return await self._ask(pages.workflow(name, revision, version))

    async def workflow_by_no(self, no: int) -> Workflow | None:
        """A revision by its key."""
        return await self._ask(pages.workflow_by_no(no))

    async def workflows(self, *, active_only: bool = True) -> list[Workflow]:
        """The definitions, by name, newest revision first."""
        return await self._browse(pages.workflows(active_only))

    async def deliveries_due(self, *, before: int, limit: int) -> list[Delivery]:
        """Calls of webhooks that are to be made by that time (ms), the longest due first."""
        return await self._ask(deliveries.due(before, limit))

    async def next_delivery_due(self) -> int | None:
        """When (ms) the next call of a webhook is to be made."""
        return await self._ask(deliveries.next_due())

    async def deliveries(
        self, *, execution_id: str | None = None, state: str | None = None, limit: int = 50
    ) -> list[Delivery]:
        """Calls of webhooks, newest first, of one execution or of all, in that state or any."""
        return await self._ask(deliveries.deliveries(execution_id, state, pages.bounded(limit)))

    async def versions(self, name: str) -> list[WorkflowVersion]:
        """The revisions of one workflow, newest first, and how many executions are of each."""
        return await self._ask(versions.versions(name))

    async def steps(self, workflow_no: int) -> list[Step]:
        """The nodes of one revision, in step order."""
        return await self._ask(pages.steps(workflow_no))

    async def approvals(
        self, *, after: PendingApproval | None = None, limit: int = 1_000
    ) -> list[PendingApproval]:
        """What waits for people, the longest waiting first; `after` is the last of the page before."""
        return await self._browse(approvals.pending(after, limit))

    async def schedules(self, *, workflow: str | None = None) -> list[Schedule]:
        """Schedules by id, of one workflow or all."""
        return await self._ask(schedules.schedules(workflow))

    async def schedule(self, id: str) -> Schedule | None:
        """One schedule, or None."""
        return await self._ask(schedules.schedule(id))

    async def firings(self, id: str, *, limit: int = 50) -> list[Firing]:
        """What became of a schedule's moments, newest first."""
        return await self._ask(schedules.firings(id, limit))

    async def guards(self) -> list[SharedGuard]:
        """All that runners share about agents, by scope."""
        return await self._browse(guards.guards())

    async def step_history(self, workflow: str) -> dict[str, StepHistory]:
        """What the steps of a workflow came to lately, by key."""
        return await self._browse(history.step_history(workflow))

    async def search(self, words: str, *, limit: int = 20) -> search.SearchResult:
        """Workflows and ended executions that have all these words, newest first. Raises NotFound."""
        return await self._browse(search.search(self.engine, words, pages.bounded(limit)))

    async def is_search_behind(self, *, of_workflows: bool = True) -> bool:
        """Whether something that has ended, or a workflow, cannot be found yet."""
        return await self._browse(search.is_behind(of_workflows))

    async def is_compaction_due(self, *, before: int) -> bool:
        """Whether there is an execution so old whose log nobody has looked at."""
        return await self._browse(compaction.is_due(before))

    async def tallies_due(self, *, before: int) -> list[int]:
        """The blocks of executions that are so old, and can be tallied."""
        return await self._browse(tallies.due(before))

    async def prunable(self, *, before: int, keep_failed: bool = False) -> int:
        """How many executions ended before that time and may be pruned."""
        return await self._browse(retention.prunable(before, keep_failed))

    async def is_pruning_due(self, *, before: int) -> bool:
        """Whether an execution or a line of a schedule's history is older than that."""
        return await self._browse(retention.is_due(before))

    async def step_statistics(
        self, *, workflow: str | None = None, since: datetime | None = None
    ) -> list[StepStatistics]:
        """How the steps of each workflow have fared."""
        return await self._browse(faring.steps(workflow, since), at_one_moment=True)

    async def error_statistics(
        self, *, workflow: str | None = None, since: datetime | None = None, limit: int = 50
    ) -> list[ErrorStatistics]:
        """Which errors there were, the most frequent first."""
        return await self._browse(faring.errors(workflow, since, limit), at_one_moment=True)

    async def statistics(
        self, *, workflow: str | None = None, since: datetime | None = None
    ) -> list[WorkflowStatistics]:
        """How the executions of each workflow have fared."""
        return await self._browse(faring.workflows(workflow, since), at_one_moment=True)
