"""Everything that can be said to an execution.

Commands come from people and programs; they are durable before they are acknowledged and applied
once, in order. Reports come from the execution's own steps and timers and live in memory only: what
they say is either committed or happens again.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from perdure.store.records import Attempt, Error, KeptSignal
from perdure.store.states import State
from perdure.store.usage import Limits, Usage
from perdure.store.writes import Statement


class PauseMode(StrEnum):
    """What a pause does to the steps in flight."""

    DRAIN = "drain"  # they finish; nothing new starts
    INTERRUPT = "interrupt"  # they are cancelled and go back to pending; no attempt is used up


class Interrupt(StrEnum):
    """Why the body of a step is being cancelled."""

    PAUSE = "pause"
    CANCEL = "cancel"
    TIMEOUT = "timeout"
    DEADLINE = "deadline"
    CIRCUIT_BREAKER = "circuit_breaker"
    ROLLBACK = "rollback"
    SHUTDOWN = "shutdown"


class Command(msgspec.Struct, frozen=True, kw_only=True, tag=True, omit_defaults=True):
    """Something asked of an execution from outside. `id` makes it one command however often it comes."""

    id: str
    by: str | None = None
    expected_version: int | None = None


class Pause(Command, frozen=True, kw_only=True):
    """Come to rest, durably; answered when at rest (or at the end, if that came first)."""

    mode: PauseMode = PauseMode.DRAIN
    reason: str | None = None


class Resume(Command, frozen=True, kw_only=True):
    """Go on; `data` is merged into the context first, `budget` names other limits."""

    data: dict[str, Any] | None = None
    budget: Limits | None = None


class PlanResume(Command, frozen=True, kw_only=True):
    """Go on by itself at a moment (ms), or on a rule (CEL); with neither an earlier plan is off.

    `data` is merged into the context now.
    """

    at_ms: int | None = None
    when: str | None = None
    data: dict[str, Any] | None = None


class Cancel(Command, frozen=True, kw_only=True):
    """Stop for good; answered when every step has ended. `compensate`: undo what was done, too."""

    reason: str | None = None
    compensate: bool = False


class Rollback(Command, frozen=True, kw_only=True):
    """Stop, and undo what was done, last things first; answered when that has come to an end."""

    reason: str | None = None


class Signal(Command, frozen=True, kw_only=True):
    """A named message with a payload, kept in the log until a step waits for it."""

    name: str
    payload: Any = None


class Approve(Command, frozen=True, kw_only=True):
    """One person (`by`) approves a step that asks for it; `data` is what its form asks for."""

    step: str
    data: Any = None
    comment: str | None = None


class Reject(Command, frozen=True, kw_only=True):
    """One person (`by`) rejects a step that asks for approval."""

    step: str
    data: Any = None
    comment: str | None = None


class UpdateContext(Command, frozen=True, kw_only=True):
    """Merge `patch` into the context, key by key; a key with None is set to null."""

    patch: dict[str, Any]


class TakeCheckpoint(Command, frozen=True, kw_only=True):
    """Name the current position of the log."""

    label: str | None = None
    automatic: bool = False


class Restore(Command, frozen=True, kw_only=True):
    """Go back to a checkpoint and rest there, paused."""

    checkpoint: str | int


class Retry(Command, frozen=True, kw_only=True):
    """Reopen a failed or cancelled execution: what failed, was cancelled or skipped runs again.

    `step`: that one runs again, too, anew, with all that depends on it, or with `only` it alone.
    `with_downstream`: what completed downstream of something that runs again does, too. `data` is
    merged into the context first.
    """

    step: str | None = None
    only: bool = False
    with_downstream: bool = False
    data: dict[str, Any] | None = None

    budget: Limits | None = None


class ChildRested(Command, frozen=True, kw_only=True):
    """A child rests, as its parent asked with that pause; `step_no` is that of its start."""

    child: str
    step_no: int
    ask: str


class ChildEnded(Command, frozen=True, kw_only=True):
    """A child has ended; `outputs` is what it gives back, `usage` what it has used."""

    child: str
    step_no: int
    state: State
    outputs: msgspec.Raw
    error: Error | None = None
    usage: Usage | None = None


AnyCommand = (
    Pause
    | Resume
    | PlanResume
    | Cancel
    | Rollback
    | Signal
    | Approve
    | Reject
    | UpdateContext
    | TakeCheckpoint
    | Restore
    | Retry
    | ChildRested
    | ChildEnded
)

COMMAND_WORDS = {
    Pause: "pause",
    Resume: "resume",
    PlanResume: "plan the resume of",
    Cancel: "cancel",
    Rollback: "roll back",
    Signal: "signal",
    Approve: "approve a step of",
    Reject: "reject a step of",
    UpdateContext: "update the context of",
    TakeCheckpoint: "checkpoint",
    Restore: "restore",
    Retry: "retry",
    ChildRested: "tell of a child's rest",
    ChildEnded: "tell of a child's end",
}


class Answer(msgspec.Struct, frozen=True):
    """What became of a command: the state and version it led to."""

    state: State
    version: int


class Completed(msgspec.Struct, frozen=True, gc=False):
    """The body returned; `output` is encoded JSON."""

    output: bytes
    statements: tuple[Statement, ...] = ()


class Failed(msgspec.Struct, frozen=True):
    """The body raised; `names` are the error's type and its bases, for `retryableErrors`."""

    error: Error
    names: tuple[str, ...] = ()
    may_retry: bool = True


class Interrupted(msgspec.Struct, frozen=True):
    """The body was cancelled by us, for this reason."""

    reason: Interrupt


class StepReport(msgspec.Struct, frozen=True, gc=False):
    """How an attempt ended, and what it used.

    `lingers`: its worker thread runs on and will be reported by `StepEnded`.
    """

    step_no: int
    generation: int
    attempt: int
    outcome: Completed | Failed | Interrupted | Held
    lingers: bool = False
    usage: Usage | None = None
    item: int | None = None


class Held(msgspec.Struct, frozen=True):
    """The body did not begin: the guard of its agent did not let it through, and may at `until` (ms)."""

    why: str
    agent: str
    until: int


class Nudge(msgspec.Struct, frozen=True):
    """The guard that held this attempt may let it through now."""

    step_no: int
    generation: int
    attempt: int
    item: int | None = None


class StepEnded(msgspec.Struct, frozen=True):
    """The worker thread of a timed-out attempt has come to its end."""

    step_no: int
    item: int | None = None


class ChildStarted(msgspec.Struct, frozen=True, kw_only=True):
    """The child of a step is there, or (not `exists`) is not, and nobody has started it."""

    step_no: int
    child: str
    exists: bool = True


class ChildRefused(msgspec.Struct, frozen=True, kw_only=True):
    """The child of a step cannot be started; `names` are the error's type and its bases."""

    step_no: int
    child: str
    error: Error
    names: tuple[str, ...]


class ChildUndone(msgspec.Struct, frozen=True, kw_only=True):
    """There is nothing, or nothing more, that the child of a step could undo; or why it cannot be asked."""

    child: str
    error: Error | None = None


class TimersDue(msgspec.Struct, frozen=True):
    """A moment has come at which the execution may have something to do."""


class Shutdown(msgspec.Struct, frozen=True):
    """The runtime is closing: interrupt what runs, give the execution up, leave the rest to others."""


class CheckpointDue(msgspec.Struct, frozen=True):
    """`checkpointInterval` has passed."""


class Query(msgspec.Struct, frozen=True):
    """Describe the execution as it is; never waits for the store."""


class Posted(msgspec.Struct, frozen=True):
    """A command from the durable inbox; answered in the row `message_no`.

    `command` is None where this release cannot read it.
    """

    message_no: int
    command: AnyCommand | None
    applied: bool = False


class RestorePoint(msgspec.Struct, frozen=True):
    """What the log says about a checkpoint: the outcome of each step and the context then.

    `signals` are those that steps took later: they will be there again.
    """

    version: int
    label: str | None
    outcomes: tuple[Attempt, ...]
    context: dict[str, Any]
    signals: tuple[KeptSignal, ...] = ()


class LeaseDoubted(msgspec.Struct, frozen=True):
    """This process was taken off the list of runners: see whether the execution is still its own."""


class PutAside(msgspec.Struct, frozen=True):
    """A message crashed the execution's actor too often and is not given to it any more."""

    message: object
    crashes: int
    error: Error


ExecutionMessage = (
    AnyCommand
    | StepReport
    | StepEnded
    | ChildStarted
    | ChildRefused
    | ChildUndone
    | Nudge
    | TimersDue
    | CheckpointDue
    | Shutdown
    | Query
    | Posted
    | LeaseDoubted
    | PutAside
)
CONTROL = (Pause, Resume, PlanResume, Cancel, Rollback, Restore, Retry, Shutdown)
COMMANDS = (
    Pause,
    Resume,
    PlanResume,
    Cancel,
    Rollback,
    Signal,
    Approve,
    Reject,
    UpdateContext,
    TakeCheckpoint,
    Restore,
    Retry,
    ChildRested,
    ChildEnded,
)
