"""What people read of a store, whichever it is: executions, logs, definitions, statistics."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from perdure.store.asking import PendingApproval
from perdure.store.fanout import Loop
from perdure.store.records import (
    Attempt,
    Checkpoint,
    CheckpointStatistics,
    Event,
    Execution,
    ExecutionSummary,
    Firing,
    Kin,
    Message,
    Schedule,
    SharedGuard,
    Step,
    Workflow,
    WorkflowStatistics,
    WorkflowVersion,
)
from perdure.store.scripts.deliveries import Delivery
from perdure.store.scripts.faring import ErrorStatistics, StepStatistics
from perdure.store.scripts.items import Item
from perdure.store.scripts.search import SearchResult
from perdure.store.states import Status
from perdure.store.usage import StepHistory


class Readable(Protocol):
    """Facts as people ask for them; only what is durable is seen."""

    async def execution(self, execution_id: str) -> Execution | None:
        """One execution, or None."""
        ...

    async def summary(self, execution_id: str) -> ExecutionSummary | None:
        """One execution and how far its steps have come, or None."""
        ...

    async def kin(self, execution_id: str, *, limit: int) -> Kin:
        """How deep below others an execution is, and how many it has started, each counted up to `limit`."""
        ...

    async def started_by(self, triggered_by: str, *, limit: int = 1_000) -> list[str]:
        """Ids of executions that were started by exactly that, the oldest first. Looks at every execution."""
        ...

    async def find(self, prefix: str, *, limit: int = 10) -> list[str]:
        """Ids of executions that begin with that text, newest first."""
        ...

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
        """A page of executions, newest first; `after` is the last id of the page before.

        `only_top`: those without a parent.

        Raises NotFound when that execution has been deleted meanwhile: the list would end too early.
        """
        ...

    async def loops(self, execution_id: str) -> list[Loop]:
        """The steps that are performed for each of many items, of each step the newest."""
        ...

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
        ...

    async def attempts(self, execution_id: str) -> list[Attempt]:
        """Every attempt of every step, in step order."""
        ...

    async def messages(self, execution_id: str, *, after: int = 0, limit: int = 1_000) -> list[Message]:
        """Every message of its inbox after that number, answered or not, oldest first."""
        ...

    async def events(
        self,
        *,
        execution_id: str | None = None,
        type: str | None = None,
        after: int = 0,
        limit: int = 1_000,
    ) -> list[Event]:
        """The log after that event id, oldest first: of one execution or of all, of one type or of all."""
        ...

    async def checkpoints(self, execution_id: str, *, limit: int = 50) -> list[Checkpoint]:
        """Checkpoints, newest first."""
        ...

    async def checkpoints_removable(self, execution_id: str) -> list[Checkpoint]:
        """Checkpoints that nobody has named or goes on from, newest first."""
        ...

    async def checkpoint_statistics(self, execution_id: str) -> CheckpointStatistics:
        """The checkpoints of an execution in numbers. Raises NotFound."""
        ...

    async def checkpoint(self, execution_id: str, wanted: str | int) -> Checkpoint | None:
        """The newest checkpoint of that label or version (the number, or its digits), or None."""
        ...

    async def workflow(
        self, name: str, *, revision: str | None = None, version: str | None = None
    ) -> Workflow | None:
        """A revision by its hash or label; without either the active one."""
        ...

    async def workflow_by_no(self, no: int) -> Workflow | None:
        """A revision by its key."""
        ...

    async def workflows(self, *, active_only: bool = True) -> list[Workflow]:
        """The definitions, by name, newest revision first."""
        ...

    async def deliveries_due(self, *, before: int, limit: int) -> list[Delivery]:
        """Calls of webhooks that are to be made by that time (ms), the longest due first."""
        ...

    async def next_delivery_due(self) -> int | None:
        """When (ms) the next call of a webhook is to be made."""
        ...

    async def deliveries(
        self, *, execution_id: str | None = None, state: str | None = None, limit: int = 50
    ) -> list[Delivery]:
        """Calls of webhooks, newest first, of one execution or of all, in that state or any."""
        ...

    async def versions(self, name: str) -> list[WorkflowVersion]:
        """The revisions of one workflow, newest first, and how many executions are of each."""
        ...

    async def steps(self, workflow_no: int) -> list[Step]:
        """The nodes of one revision, in step order."""
        ...

    async def approvals(
        self, *, after: PendingApproval | None = None, limit: int = 1_000
    ) -> list[PendingApproval]:
        """What waits for people, the longest waiting first; `after` is the last of the page before."""
        ...

    async def schedules(self, *, workflow: str | None = None) -> list[Schedule]:
        """Schedules by id, of one workflow or all."""
        ...

    async def schedule(self, id: str) -> Schedule | None:
        """One schedule, or None."""
        ...

    async def firings(self, id: str, *, limit: int = 50) -> list[Firing]:
        """What became of a schedule's moments, newest first."""
        ...

    async def guards(self) -> list[SharedGuard]:
        """All that runners share about agents, by scope."""
        ...

    async def step_history(self, workflow: str) -> dict[str, StepHistory]:
        """What the steps of a workflow came to in its newest executions, by key."""
        ...

    async def search(self, words: str, *, limit: int = 20) -> SearchResult:
        """Workflows and ended executions that have all these words, newest first.

        What has ended since the last `Index` is not among them. Raises NotFound for no word at all.
        """
        ...

    async def is_search_behind(self, *, of_workflows: bool = True) -> bool:
        """Whether something that has ended, or a workflow, cannot be found yet."""
        ...

    async def is_compaction_due(self, *, before: int) -> bool:
        """Whether there is an execution created before that time (ms) that no `Compact` has looked at."""
        ...

    async def tallies_due(self, *, before: int) -> list[int]:
        """The blocks of executions to be tallied: what comes after them was written before that time (ms)."""
        ...

    async def prunable(self, *, before: int, keep_failed: bool = False) -> int:
        """How many executions ended before that time (ms) and may be pruned."""
        ...

    async def is_pruning_due(self, *, before: int) -> bool:
        """Whether an execution or a line of a schedule's history is older than that (ms)."""
        ...

    async def step_statistics(
        self, *, workflow: str | None = None, since: datetime | None = None
    ) -> list[StepStatistics]:
        """How the steps of each workflow have fared; see `statistics`."""
        ...

    async def error_statistics(
        self, *, workflow: str | None = None, since: datetime | None = None, limit: int = 50
    ) -> list[ErrorStatistics]:
        """Which errors there were, the most frequent first; see `statistics`."""
        ...

    async def statistics(
        self, *, workflow: str | None = None, since: datetime | None = None
    ) -> list[WorkflowStatistics]:
        """How the executions of each workflow have fared, those that were pruned included.

        `since`: only those created since then, and not pruned; an index leads there.
        """
        ...

    async def verify(self, execution_id: str | None = None) -> list[str]:
        """Check the store (and one execution) for damage; a sentence for each thing found."""
        ...
