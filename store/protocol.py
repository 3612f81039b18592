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
from typing import Any, Protocol, runtime_checkable

from perdure.store.claims import Claimable, Claimed
from perdure.store.errors import PerdureError
from perdure.store.readable import Readable
from perdure.store.records import (
    Attempt,
    Due,
    Execution,
    KeptSignal,
    Loaded,
    Message,
    Runner,
    Schedule,
    SharedGuard,
    Suspect,
)
from perdure.store.scripts.compaction import Compacted
from perdure.store.scripts.guards import Entered
from perdure.store.scripts.queueing import Queue
from perdure.store.scripts.retention import Pruned
from perdure.store.scripts.sealing import Resealed
from perdure.store.scripts.search import Indexed
from perdure.store.states import State
from perdure.store.writes import Changed, Started, Write

Answer = (
    int
    | str
    | Started
    | Changed
    | Pruned
    | Indexed
    | Compacted
    | Resealed
    | Loaded
    | Claimed
    | Entered
    | None
    | PerdureError
)


class Store(Readable, Protocol):
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

    async def load(self, execution_id: str) -> Loaded | None:
        """All that is needed to take the execution up, or None."""
        ...

    async def load_parked(self, execution_id: str) -> Loaded | Execution | None:
        """The same where nobody owns it and it is paused or awaits completion; else the execution alone."""
        ...

    async def load_ended(self, execution_id: str) -> Loaded | State | None:
        """The same where it has ended; else its state alone, which costs little to ask for."""
        ...

    async def inbox(self, execution_id: str) -> tuple[Execution, list[Message]] | None:
        """The execution with the messages that are not applied yet, oldest first; or None."""
        ...

    async def claimable(self, *, limit: int, after_no: int = 0) -> list[Claimable]:
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

        All timers of those that wait, the deadlines of those that have something to do, and of the paused
        those that tell of a long wait (`WARN_TIMER`) or let them go on (`RESUME_TIMER`).
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

    async def mail(self, *, runner_no: int | None, limit: int, after_no: int = 0) -> list[tuple[int, str]]:
        """Unfinished executions of this runner (None: of nobody) that have unread messages: number, id.

        Oldest first, past the one of that number.
        """
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
