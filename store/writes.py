"""What can be written, as data. A store applies a batch of these in one transaction.

Each write stands alone inside its batch (its own savepoint): one that is refused changes nothing
and does not touch its neighbours. Times are integers, milliseconds since 1970 UTC; payloads are
encoded JSON. `no` fields are the compact keys of `records`.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from perdure.store.asking import ApprovalWrite
from perdure.store.fanout import ItemWrite, LoopWrite
from perdure.store.records import LEASE_MS
from perdure.store.states import Role, State, StepState
from perdure.store.telling import PostWrite

EXECUTION_TIMER = -1  # the `step_no` of a timer that belongs to the whole execution
RESUME_TIMER = "resume"  # the kind of timer with which a paused execution goes on by itself
WARN_TIMER = "warn"  # the kind of timer that only tells of a long wait: also of a paused execution


def is_id(text: str) -> bool:
    """Whether an execution may have this id: 1 to 128 letters, digits, `.`, `_`, `-`, no `._-` first."""
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", text, re.ASCII) is not None


class Write(msgspec.Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """One thing that happens entirely or not at all. It cannot be in a cycle: none is looked for (`gc`)."""


class PublishStep(msgspec.Struct, frozen=True, kw_only=True):
    """One node of the DAG that `Publish` stores; `needs` are step numbers.

    Steps that are not of the graph come after all that are, and have no needs.
    """

    no: int
    key: str
    level: int
    agent: str
    needs: tuple[int, ...]
    role: Role = Role.GRAPH


class Publish(Write, frozen=True, kw_only=True):
    """Store a revision and, unless it only stands for the past, make it the active one of its name.

    Same name and revision → nothing new, it is only made active. Answers the `no` of the workflow.
    """

    name: str
    revision: str
    version: str | None
    description: str | None
    author: str | None
    tags: tuple[str, ...]
    definition: bytes
    steps: tuple[PublishStep, ...]
    at: int
    activates: bool = True


class AttemptWrite(msgspec.Struct, frozen=True, gc=False):
    """Insert (`before` is None) or move on (`before` → `state`) one attempt of one step."""

    step_no: int
    generation: int
    attempt: int
    lineage: int
    before: StepState | None
    state: StepState
    is_outcome: bool = False
    started_at: int | None = None
    finished_at: int | None = None
    due_at: int | None = None
    output: bytes | None = None
    error: bytes | None = None
    cost_nanos: int | None = None  # set only when the attempt moves on
    tokens: int | None = None
    made_in: int | None = None  # set only when the attempt is inserted


class EventWrite(msgspec.Struct, frozen=True, gc=False):
    """One line for the log; `command_id`, where given, is unique per execution."""

    type: str
    step_no: int | None = None
    attempt: int | None = None
    by: str | None = None
    command_id: str | None = None
    data: bytes | None = None


class TimerWrite(msgspec.Struct, frozen=True, gc=False):
    """Set (or with `due_at` None clear) the timer of that kind and step."""

    kind: str
    step_no: int
    due_at: int | None


class CheckpointWrite(msgspec.Struct, frozen=True, gc=False):
    """Name the position this change creates."""

    label: str | None
    by: str | None
    automatic: bool
    steps_completed: int
    steps_total: int
    size_bytes: int


class MessageWrite(msgspec.Struct, frozen=True, gc=False):
    """Mark an inbox message applied and, where `answer` is given, answered."""

    no: int
    answer: bytes | None


class SignalWrite(msgspec.Struct, frozen=True):
    """Keep a signal; the version this change makes names it."""

    name: str
    payload: bytes


class SignalMove(msgspec.Struct, frozen=True):
    """Let a step take the signal that the change to `version` received, or (None) give it back."""

    version: int
    step_no: int | None


class Statement(msgspec.Struct, frozen=True):
    """A statement of the user's own, executed with the outcome, exactly once.

    `rows`, where given, is how many rows it must change; else it fails.
    """

    sql: str
    parameters: tuple[Any, ...] = ()
    rows: int | None = None


class DeliveryWrite(msgspec.Struct, frozen=True):
    """Tell somebody outside of this change; `secret` names the key that signs it."""

    execution_id: str
    event: str
    url: str
    secret: str | None
    payload: bytes


class Delta(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The rows that one transition adds or moves on."""

    attempts: tuple[AttemptWrite, ...] = ()
    events: tuple[EventWrite, ...] = ()
    timers: tuple[TimerWrite, ...] = ()
    messages: tuple[MessageWrite, ...] = ()
    checkpoint: CheckpointWrite | None = None
    statements: tuple[Statement, ...] = ()
    signals: tuple[SignalWrite, ...] = ()  # one at most, as a change receives one command
    taken: tuple[SignalMove, ...] = ()
    approvals: tuple[ApprovalWrite, ...] = ()
    posts: tuple[PostWrite, ...] = ()
    loops: tuple[LoopWrite, ...] = ()
    items: tuple[ItemWrite, ...] = ()
    deliveries: tuple[DeliveryWrite, ...] = ()

    @property
    def is_plain(self) -> bool:
        """Whether it may be written together with those of others, a statement for each kind of row."""
        rare = self.statements or self.signals or self.taken or self.approvals or self.deliveries
        return not (rare or self.posts or self.loops or self.items)


class ForkWrite(msgspec.Struct, frozen=True, kw_only=True):
    """That an execution shares the past of another one, up to a version of its log."""

    source_id: str
    source_version: int
    by: str | None = None


class Place(msgspec.Struct, frozen=True):
    """A place in a queue that lets at most so many run at once."""

    queue: str
    most: int


class Start(Write, frozen=True, kw_only=True):
    """Insert an execution, owned by `runner_no` (epoch 1) or by nobody (None, epoch 0).

    The same id twice joins: nothing is written and the answer says so. Version 1 is the start.
    Refused with NotFound when the runner is not on the list (any more), and with LeaseLost when
    `parent_epoch` is given and no longer that of the parent: whoever starts it has lost the parent.
    """

    id: str
    workflow_no: int
    state: State
    runner_no: int | None
    priority: int
    triggered_by: str | None
    parent_id: str | None
    trace_id: str
    agents: str | None
    context: bytes
    deadline_at: int | None
    remaining_ms: int | None
    at: int
    delta: Delta
    started_at: int | None = None  # of one that ended before it came here
    imported_at: int | None = None  # when it came here: from then on it is kept as others are from their end
    finished_at: int | None = None  # of one that came to its end in the very change that began it
    error: bytes | None = None
    timeout_ms: int | None = None  # its own, where it is not the workflow's
    fork: ForkWrite | None = None  # told in its source's log, too; NotFound where that is gone
    place: Place | None = None  # in the queue it is to wait in
    parent_step: int | None = None  # the step of the parent that waits for it
    parent_epoch: int | None = None


class Change(Write, frozen=True, kw_only=True):
    """Move one execution from `version` to `version + 1`, by compare-and-swap.

    Refused, changing nothing: LeaseLost when `epoch` is no longer the store's, Conflict when the
    version is, IllegalTransition when `before → state` (or a step's) is not in the tables,
    DuplicateCommand when an event's command id is already in the log of this execution.

    `fields` are further columns of the execution to set, from `CHANGEABLE`. With `claimed_by` the
    change also takes an execution that nobody owns, as a Claim does: epoch + 1, owner that runner.
    """

    execution_no: int
    execution_id: str
    epoch: int
    version: int
    before: State
    state: State
    at: int
    delta: Delta
    fields: dict[str, Any] = {}
    claimed_by: int | None = None


CHANGEABLE = frozenset(
    {
        "context",  # encoded JSON
        "error",  # encoded Error or None
        "deadline_at",
        "remaining_ms",
        "started_at",
        "paused_at",
        "finished_at",
        "pause_mode",
        "paused_by",
        "pause_reason",
        "rollback_reason",
        "resume_count",
        "runner_no",  # None releases the execution
        "agents",
        "cost_nanos",
        "tokens",
        "budget",  # encoded Limits or None
        "circuit_breaker_state",  # encoded or None
        "resume_plan",  # encoded or None
        "queue",
        "slot",
    }
)


class Claim(Write, frozen=True, kw_only=True):
    """Take an execution over: epoch + 1, owner `runner_no`. Of two claimants exactly one gets it.

    Refused with Conflict when `epoch` is no longer the store's, with NotFound when the runner is not
    on the list (any more). Answers the `Loaded` execution.
    """

    execution_no: int
    execution_id: str
    epoch: int
    runner_no: int
    at: int


class Post(Write, frozen=True, kw_only=True):
    """Put a message into an execution's durable inbox; the same command id twice is one message.

    Refused: NotFound, MailboxFull. Answers the `no` of the message.
    """

    execution_id: str
    command_id: str
    kind: str
    payload: bytes
    sender: str | None
    at: int


class AnswerMessage(Write, frozen=True, kw_only=True):
    """Answer an inbox message with no change of its execution, which may be terminal.

    It counts as applied from then on; the first answer stays. Refused: NotFound.
    """

    message_no: int
    answer: bytes


class Register(Write, frozen=True, kw_only=True):
    """Enter a runner into the list of processes. Answers its `no`.

    `lease_ms`: while it owns executions and others are on the list it renews twice as often; whoever
    sees it silent for longer may take it off the list.
    """

    id: str
    pid: int
    host: str
    kind: str
    lock_path: str | None
    doorbell: str | None
    lease_ms: int = LEASE_MS
    at: int


class Renew(Write, frozen=True, kw_only=True):
    """Say that the runner is alive: one row, however much it owns.

    Refused with NotFound when others took it off the list: every write of its executions is refused
    from then on, and it must register anew.
    """

    runner_no: int
    at: int


class Deregister(Write, frozen=True, kw_only=True):
    """Take a runner off the list, and with it its hold on whatever it still owned.

    `died`: it did not leave by itself; every attempt it had running counts one death, and the epoch
    of all it owned is raised, so that whatever it still writes is refused from that instant on.
    `heard_at`: without effect when it has renewed since. Answers 1, or 0 where it had no effect.
    """

    runner_no: int
    died: bool = False
    heard_at: int | None = None


class Release(Write, frozen=True, kw_only=True):
    """Give an execution up without changing it. Without effect when the epoch is no longer ours."""

    execution_no: int
    epoch: int


class DeleteExecution(Write, frozen=True, kw_only=True):
    """Delete a terminal execution with all its rows. Refused: NotFound, IllegalTransition."""

    execution_id: str


class DeleteWorkflow(Write, frozen=True, kw_only=True):
    """Delete a revision that no execution uses. Refused: NotFound, IllegalTransition."""

    name: str
    revision: str


class UpdateExecution(Write, frozen=True, kw_only=True):
    """Change what may be changed from outside: the priority."""

    execution_id: str
    priority: int
    at: int


class Started(msgspec.Struct, frozen=True, gc=False):
    """The answer to `Start`."""

    execution_no: int
    joined: bool
    first_event_id: int


class Changed(msgspec.Struct, frozen=True, gc=False):
    """The answer to `Change`: the new version and the id of the first event it wrote."""

    version: int
    first_event_id: int
