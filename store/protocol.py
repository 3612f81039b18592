"""The contract every store keeps; what `tests/contract` runs on every store is its executable form.

One door for writing, `commit`: a batch of writes, one transaction, each write in its own savepoint.
What `commit` has answered is durable to the class the store was opened with. Reads see only what
is durable. No method decides policy, reads a clock or knows an actor.

Ownership is two columns of an execution: `runner_no` says who has it, `epoch` fences. A runner enters
the list with `Register`, says with `Renew` (one statement, however much it owns) that it lives, and
leaves with `Deregister`. Others take it off the list with `Deregister(died=True)` when its process
has ended, or, with `heard_at`, when they have not seen `heartbeat_at` move for its lease. That raises
the epoch of all it owned: a runner that comes back finds each of its changes refused with LeaseLost,
its renewal, starts and claims with NotFound. The store compares no times: how long a runner has
been silent is for the observer's own clock to say, so clocks that differ or jump do no harm.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

from perdure.store.asking import PendingApproval
from perdure.store.claims import Claimed
from perdure.store.errors import PerdureError
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
from perdure.store.scripts.compaction import Compacted
from perdure.store.scripts.deliveries import Delivery
from perdure.store.scripts.faring import ErrorStatistics, StepStatistics
from perdure.store.scripts.guards import Entered
from perdure.store.scripts.items import Item
from perdure.store.scripts.queueing import Queue
from perdure.store.scripts.retention import Pruned
from perdure.store.scripts.search import Indexed, SearchResult
from perdure.store.states import Status
from perdure.store.usage import StepHistory
from perdure.store.writes import Changed, Started, Write

Answer = (
    int
    | str
    | Started
    | Changed
    | Pruned
    | Indexed
    | Compacted
    | Loaded
    | Claimed
    | Entered
    | None
    | PerdureError
)


class Store(Protocol):
    """A place that keeps facts."""

    @property
    def location(self) -> str:
        """Where the facts are, as people would write it."""
        ...

    async def open(self) -> None:
        """Connect, bring the schema up to date. Raises MigrationError, StoreCorrupt, StoreLocked."""
        ...

    async def close(self) -> None:
        """Finish what was asked for, then let go of every handle. Closing twice is closing once."""
        ...

    async def commit(self, writes: Sequence[Write]) -> list[Answer]:
        """Apply a batch in one transaction; answers in order, a refusal being an error *value*.

        Raises StoreError when nothing of the batch was written and OutcomeUnknown when that cannot
        be told. A cancelled caller abandons the wait, never the write; to read back what became of it,
        commit an empty batch first, which waits for everything asked for before.
        """
        ...

    # ---- what the machine reads -------------------------------------------------------------
    async def load(self, execution_id: str) -> Loaded | None:
        """All that is needed to take the execution up, or None."""
        ...

    async def claimable(self, *, limit: int, after_no: int = 0) -> list[Execution]:
        """Executions nobody owns that have something to do now, highest priority first, then oldest.

        Not among them: the terminal, the paused and those that only wait (for a timer, a message).
        """
        ...

    async def suspects(self, *, deaths: int, limit: int) -> list[Suspect]:
        """Claimable executions with steps during which their process has died `deaths` times or oftener.

        Most deaths first, then who began last. `limit` is of steps, whatever execution they are of.
        """
        ...

    async def due(self, *, before: int, limit: int, after: Due | None = None) -> list[Due]:
        """Timers due by that time (ms) of executions nobody owns, in due order; a page, `after` its last.

        All timers of those that wait, the deadlines of those that have something to do, and of the
        paused those (`WARN_TIMER`) that only tell of a long wait.
        """
        ...

    async def next_due(self, *, after: int) -> int | None:
        """When (ms), after that time, the next of them falls due."""
        ...

    async def fold(self, execution_id: str, version: int) -> tuple[Attempt, ...]:
        """The outcome of each step as of that version."""
        ...

    async def context_at(self, execution_id: str, version: int) -> dict[str, Any]:
        """The context as of that version. Raises NotFound."""
        ...

    async def signals_taken(self, execution_id: str, *, after: int) -> tuple[KeptSignal, ...]:
        """The signals that steps took after that version, in the order of their arrival."""
        ...

    async def inbox(self, *, runner_no: int | None) -> list[Message]:
        """Messages not applied yet to executions this runner (None: nobody) owns, oldest first."""
        ...

    async def mail(self, *, runner_no: int | None) -> list[str]:
        """Ids of unfinished executions of this runner (None: of nobody) that have unread messages."""
        ...

    async def applied(self, execution_id: str, command_id: str) -> int | None:
        """The version in which the execution applied that command; None if it never has."""
        ...

    async def message(self, no: int) -> Message | None:
        """One message, with its answer once there is one."""
        ...

    async def runners(self) -> list[Runner]:
        """The processes on the list."""
        ...

    async def held(self) -> dict[int, int]:
        """How many executions each runner owns, by its `no`; who owns none is not in it."""
        ...

    async def owned(self, *, runner_no: int) -> list[str]:
        """Ids of the executions that this runner owns."""
        ...

    async def schedules_due(self, *, before: int, limit: int) -> list[Schedule]:
        """Schedules not paused that have something to decide by that time (ms), the longest due first."""
        ...

    async def next_schedule_due(self) -> int | None:
        """When (ms) the next schedule that is not paused has something to decide."""
        ...

    async def guard(self, scope: str) -> SharedGuard | None:
        """What runners share about an agent, or None where nothing is known of it yet."""
        ...

    async def queues(self, *, after: str) -> list[Queue]:
        """Queues behind that name, in order, in which somebody waits and for whom there is room."""
        ...

    async def is_anybody_queued(self) -> bool:
        """Whether an execution waits in any queue."""
        ...

    # ---- what people read -------------------------------------------------------------------
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
        self, *, execution_id: str | None = None, after: int = 0, limit: int = 1_000
    ) -> list[Event]:
        """The log after that event id, oldest first, of one execution or of all."""
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

    async def approvals(self) -> list[PendingApproval]:
        """What waits for people, the longest waiting first; the first `PAGE_MAX`."""
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

    async def prunable(self, *, before: int, keep_failed: bool = False) -> int:
        """How many executions ended before that time (ms) and may be pruned."""
        ...

    async def oldest(self) -> int | None:
        """When (ms) the oldest execution was created."""
        ...

    async def step_statistics(self, *, workflow: str | None = None) -> list[StepStatistics]:
        """How the steps of each workflow have fared, those of pruned executions included."""
        ...

    async def error_statistics(
        self, *, workflow: str | None = None, limit: int = 50
    ) -> list[ErrorStatistics]:
        """Which errors there were, the most frequent first, those of pruned executions included."""
        ...

    async def statistics(self, *, workflow: str | None = None) -> list[WorkflowStatistics]:
        """How the executions of each workflow have fared."""
        ...

    async def verify(self, execution_id: str | None = None) -> list[str]:
        """Check the store (and one execution) for damage; a sentence for each thing found."""
        ...


@runtime_checkable
class Audible(Protocol):
    """A store that tells each process what others have left for it."""

    @property
    def cannot_hear(self) -> str | None:
        """Why nothing is heard here, so that all is found late; None when all is well."""
        ...

    def hear(
        self, *, on_mail: Callable[[str], None], on_work: Callable[[], None], on_doubt: Callable[[], None]
    ) -> None:
        """Call `on_mail` with the id of an execution that has a message, `on_work` when something is left.

        `on_doubt`, every few seconds, says that rings may have gone unheard. Ends with `close`.
        """
        ...
