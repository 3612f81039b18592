"""What the memory keeps, as people and programs see it: one type per concept from disk to API.

Records are read-only snapshots. Times are UTC, durations are milliseconds when their name says so,
`no` is the compact key inside one database and never leaves the machine; ids are what people use.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import msgspec

from perdure.store.asking import Approval
from perdure.store.circuits import CircuitBreakerState
from perdure.store.fanout import KeptLoop
from perdure.store.states import TERMINAL, Role, State, Status, StepState
from perdure.store.usage import Limits, Usage

PAYLOAD_BYTES_MAX: Final = 1_048_576  # one context, output or message; larger goes by reference
SEALED_BYTES_MAX: Final = PAYLOAD_BYTES_MAX * 4 // 3 + 256  # the same, encrypted and as text
SIGNALS_MAX: Final = 1_000  # signals of one execution that nobody took; past it senders get MailboxFull
INBOX_MAX: Final = 10_000  # unanswered messages of one execution; past it senders get MailboxFull
LEASE_MS: Final = 5_000  # silence after which a runner may be taken over; longer than a loop is ever busy
PAGE_MAX: Final = 1_000  # records of one page; past it a caller follows `after`


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A read-only snapshot of one thing in the store."""


class Error(Record, frozen=True, kw_only=True):
    """Why an attempt or an execution failed, as it is kept and shown."""

    type: str
    message: str
    step: str | None = None
    attempt: int | None = None
    stack: str | None = None


class Workflow(Record, frozen=True, kw_only=True):
    """One immutable revision of a named definition; `revision` is the hash of its canonical form."""

    no: int
    name: str
    revision: str
    version: str | None
    description: str | None
    author: str | None
    tags: tuple[str, ...]
    is_active: bool
    created_at: datetime
    definition: dict[str, Any]


class WorkflowVersion(Record, frozen=True, kw_only=True):
    """One revision in the list of its workflow's, and how many executions are of it."""

    name: str
    revision: str
    version: str | None
    is_active: bool
    created_at: datetime
    author: str | None
    description: str | None
    executions: int
    unfinished: int


class Step(Record, frozen=True, kw_only=True):
    """A node of a revision's DAG, with its level (0 has no needs), or a step beside the graph."""

    no: int
    key: str
    level: int
    agent: str
    needs: tuple[str, ...]
    role: Role = Role.GRAPH


class ResumePlan(Record, frozen=True, kw_only=True):
    """When (ms) a resting execution is to go on by itself, or the rule (CEL) on which it is."""

    at_ms: int | None = None
    when: str | None = None


class Execution(Record, frozen=True, kw_only=True):
    """One run of one revision."""

    no: int
    id: str
    workflow: str
    workflow_no: int
    revision: str
    workflow_version: str | None
    state: State
    version: int
    epoch: int
    runner: str | None
    priority: int
    triggered_by: str | None
    parent_id: str | None
    trace_id: str
    agents: str | None
    context: dict[str, Any]
    error: Error | None
    resume_count: int
    pause_mode: str | None
    paused_by: str | None
    pause_reason: str | None = None
    created_at: datetime
    started_at: datetime | None
    paused_at: datetime | None
    finished_at: datetime | None
    updated_at: datetime
    deadline_at: datetime | None
    remaining_ms: int | None
    timeout_ms: int | None = None  # its own, where it is not the workflow's
    usage: Usage | None = None  # of all its attempts together
    budget: Limits | None = None  # its own, where it is not the workflow's
    circuit_breaker_state: CircuitBreakerState | None = None  # once it has anything to tell
    resume_plan: ResumePlan | None = None  # while it rests
    queue: str | None = None  # the one it waits in, as its workflow lets only so many run
    slot: str | None = None  # the queue that has admitted it
    parent_step: int | None = None  # the step of the parent that waits for it
    rollback_reason: str | None = None  # why what it has done is undone, once somebody wanted that

    @property
    def status(self) -> Status:
        """The state as people speak of it."""
        return self.state.status

    @property
    def is_terminal(self) -> bool:
        """Whether nothing but retry, restore or rollback can move it on."""
        return self.state in TERMINAL


class Attempt(Record, frozen=True, kw_only=True):
    """One try of one step. `is_outcome` marks the one recorded outcome of its generation.

    `lineage` is what the idempotency key hangs on: it stays over attempts, recovery and a plain
    retry, and grows with restore, `--from` and fork. Attempt 0 is an outcome nobody ran (skipped).
    `deaths` is how often its process died while it ran; `alone`: at the last of them nothing else did.
    `made_in`: of an outcome that a restore has brought back, the generation that made it.
    """

    step_no: int
    step: str
    generation: int
    attempt: int
    lineage: int
    state: StepState
    is_outcome: bool
    settled_version: int | None
    started_at: datetime | None
    finished_at: datetime | None
    due_at: datetime | None
    deaths: int
    alone: bool
    output: msgspec.Raw | None
    error: Error | None
    usage: Usage | None = None
    made_in: int | None = None


class Event(Record, frozen=True, kw_only=True):
    """One line of the append-only log. `id` grows over the whole store, `version` per execution."""

    id: int
    execution_id: str
    version: int
    at: datetime
    type: str
    step: str | None
    attempt: int | None
    by: str | None
    command_id: str | None
    trace_id: str
    data: Any


class Checkpoint(Record, frozen=True, kw_only=True):
    """A named position in an execution's log; `version` is the position."""

    execution_id: str
    version: int
    label: str | None
    by: str | None
    automatic: bool
    created_at: datetime
    steps_completed: int
    steps_total: int
    size_bytes: int


class CheckpointStatistics(Record, frozen=True, kw_only=True):
    """The checkpoints of one execution in numbers; sizes are those of the outputs they stand for."""

    execution_id: str
    count: int
    automatic: int
    labelled: int
    size_bytes: int
    size_bytes_max: int
    first_at: datetime | None
    last_at: datetime | None


class Message(Record, frozen=True, kw_only=True):
    """A command or signal that came from outside the owning process."""

    no: int
    execution_no: int
    command_id: str
    kind: str
    payload: bytes
    sender: str | None
    created_at: datetime
    applied_version: int | None
    answer: bytes | None


class Timer(Record, frozen=True, kw_only=True):
    """A moment at which an execution has something to do; `step_no` is -1 for the whole execution."""

    execution_no: int
    kind: str
    step_no: int
    due_at: datetime


class Due(Record, frozen=True, kw_only=True):
    """A timer that has fallen due with nobody there; `needs_code`: that of the execution's steps."""

    execution_no: int
    execution_id: str
    workflow_no: int
    due_at: int
    needs_code: bool


class Runner(Record, frozen=True, kw_only=True):
    """A process that executes.

    It is dead when nobody holds the lock on `lock_path`, and stopped or stuck when it owns executions
    and `heartbeat_at` stays the same for `lease_ms`, by the clock of whoever looks.
    """

    no: int
    id: str
    pid: int
    host: str
    kind: str
    lock_path: str | None
    doorbell: str | None
    started_at: datetime
    heartbeat_at: datetime
    lease_ms: int = LEASE_MS


class Schedule(Record, frozen=True, kw_only=True):
    """When a workflow starts by itself. `rule` is the compiler's; the store only keeps it.

    Every moment up to `considered_at` has been decided; `pending` are moments (ms) that wait for the
    execution before them to end.
    """

    no: int
    id: str
    workflow: str
    rule: dict[str, Any]
    is_declared: bool
    is_paused: bool
    version: int
    considered_at: datetime
    next_at: datetime | None
    pending: tuple[int, ...]
    last_execution: str | None
    created_at: datetime


class Firing(Record, frozen=True, kw_only=True):
    """What became of a schedule's moment, or of `count` in a row that begin with it.

    `decision` is `started`, `queued`, `skipped`, `missed`, or `refused`, for a `reason`.
    """

    schedule: str
    due_at: datetime
    decision: str
    count: int
    execution_id: str | None
    reason: str | None
    decided_at: datetime


class KeptSignal(Record, frozen=True, kw_only=True):
    """A signal that has come; `version` is the change that received it, and names it."""

    version: int
    name: str
    payload: msgspec.Raw


class SharedGuard(Record, frozen=True, kw_only=True):
    """What all runners share about an agent, as it is now; what its circuit means is the machine's."""

    scope: str
    ready_at_us: int
    circuit_version: int
    circuit: dict[str, Any] | None
    slots_taken: int


class Suspect(Record, frozen=True, kw_only=True):
    """An execution that may be killing its process: so many of its steps have seen the most deaths of it."""

    execution_id: str
    workflow_no: int
    deaths: int
    steps: int


class Loaded(Record, frozen=True, kw_only=True):
    """All that is needed to take up an execution where it was left."""

    execution: Execution
    attempts: tuple[Attempt, ...]
    timers: tuple[Timer, ...]
    inbox: tuple[Message, ...]
    signals: tuple[KeptSignal, ...] = ()  # those that nobody has taken, in the order of their arrival
    approvals: tuple[Approval, ...] = ()
    loops: tuple[KeptLoop, ...] = ()


class Kin(Record, frozen=True, kw_only=True):
    """Where an execution stands among its kin: how many are above it, and how many it has started.

    `priority` is its own, which those it starts take over.
    """

    depth: int
    children: int
    priority: int = 0


class ExecutionSummary(Record, frozen=True, kw_only=True):
    """An execution and how far its steps have come (view `workflow_execution_summary`)."""

    id: str
    workflow: str
    workflow_version: str | None
    state: State
    status: Status
    version: int
    steps_total: int
    steps_completed: int
    steps_failed: int
    steps_skipped: int
    steps_running: int
    priority: int
    triggered_by: str | None
    parent_id: str | None = None
    trace_id: str
    runner: str | None
    error: Error | None
    pause_mode: str | None
    paused_by: str | None
    pause_reason: str | None
    created_at: datetime
    started_at: datetime | None
    paused_at: datetime | None
    finished_at: datetime | None
    updated_at: datetime
    duration_ms: int | None
    rollback_reason: str | None = None
    queue: str | None = None  # the one it waits in


class WorkflowStatistics(Record, frozen=True, kw_only=True):
    """How the executions of one workflow have fared (view `workflow_statistics`)."""

    workflow: str
    executions: int
    completed: int
    failed: int
    cancelled: int
    active: int
    success_ratio: float | None
    duration_ms_mean: float | None
    duration_ms_min: int | None
    duration_ms_max: int | None
    last_started_at: datetime | None
    rolled_back: int = 0
    pruned: int = 0  # of `executions`: those that are no longer in the store
    duration_ms_p50: int | None = None  # of those that completed and are in the store
    duration_ms_p95: int | None = None
