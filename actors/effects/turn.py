"""One turn of an execution: what a transition writes, and what is to be done once it is durable.

The planner records its decisions here. `Turn` moves the state in memory along as it goes, so that
several reports share one commit; should the commit fail, the incarnation dies and the state is
folded from the store again. Nothing in `orders` may be carried out before the commit.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

import msgspec

from perdure.actors.effects import accounting, arrivals, overdue, timing
from perdure.actors.effects.kept import Kept
from perdure.actors.effects.orders import Reply, Ring, StartChild, UndoChild, describe_refusal
from perdure.actors.effects.outbox import deliveries_of
from perdure.actors.effects.workload import Ticket, Workload
from perdure.actors.instructions.plan import Candidate, PlannedStep
from perdure.actors.messages import Answer, Interrupt
from perdure.actors.state.execution import ExecutionState
from perdure.store.errors import PerdureError
from perdure.store.records import Error
from perdure.store.states import IN_FLIGHT, SETTLED_STEP, TERMINAL, State, StepState
from perdure.store.writes import (
    EXECUTION_TIMER,
    AttemptWrite,
    Change,
    CheckpointWrite,
    Delta,
    EventWrite,
    MessageWrite,
    Statement,
    TimerWrite,
)

ENDED_STEP: Final = SETTLED_STEP - {StepState.COMPENSATED}  # when it ended stays, though it be undone later
UNDO_EVENTS: Final = {"step_started": "step_compensating", "step_completed": "step_compensated"}
encode: Final = msgspec.json.Encoder().encode


class Launch(msgspec.Struct, frozen=True):
    """Start the body of that step's current attempt, or of an item's: of the agent chosen, where one was."""

    step_no: int
    chosen: Candidate | None = None
    ticket: Ticket | None = None
    item: int | None = None


class InterruptSteps(msgspec.Struct, frozen=True):
    """Cancel every body in flight, for this reason."""

    reason: Interrupt


class Respond(msgspec.Struct, frozen=True):
    """Answer somebody who asks from inside this process."""

    reply: Reply
    answer: Answer | PerdureError | dict[str, Any]


class Refuse(msgspec.Struct, frozen=True):
    """Answer a message of the durable inbox without changing the execution."""

    message_no: int
    answer: bytes


Order = Launch | InterruptSteps | Respond | Refuse | StartChild | UndoChild | Ring


class Asker(msgspec.Struct, frozen=True):
    """Who waits for an answer: a reply cell in this process, or a row of the durable inbox.

    `ask` names what a parent has asked: it is told in its own inbox, too.
    """

    reply: Reply | None = None
    message_no: int | None = None
    ask: str | None = None


class Turn:
    """What one transition of `state` adds up to. `now` is wall time in ms, `chance` is in [0, 1).

    Here is what every kind of step and command needs; what one subject needs is a function on a turn
    beside this file (`accounting`, `arrivals`, `moves`, `overdue`, `telling`, `timing`).
    """

    __slots__ = (
        "_attempts",
        "_checkpoint",
        "_events",
        "asks_answered",
        "before",
        "chance",
        "fields",
        "kept",
        "lines",
        "now",
        "orders",
        "releases",
        "state",
        "version_before",
        "workload",
    )

    def __init__(
        self, state: ExecutionState, *, now: int, chance: float = 0.0, workload: Workload | None = None
    ) -> None:
        """Nothing has been decided yet."""
        self.state = state
        self.now = now
        self.chance = chance
        self.before = state.state
        self.version_before = state.version
        self.orders: list[Order] = []
        self.workload = workload or Workload()
        self.releases = False
        self.lines: tuple[tuple[str, dict[str, Any]], ...] = ()  # for the log, once it is durable
        self.asks_answered: tuple[str, ...] = ()  # what the parent has asked and is to hear of
        self.kept = Kept()
        self._attempts: list[AttemptWrite] = []
        self._events: list[EventWrite] = []
        self._checkpoint: CheckpointWrite | None = None
        self.fields: dict[str, Any] = {}  # the columns of the execution that it sets

    def become(self, state: State) -> None:
        """Take the execution to `state`; leaving a terminal one opens it, reaching one settles it."""
        execution = self.state
        if state is execution.state:
            return
        if execution.started_at is None and state in IN_FLIGHT:
            execution.started_at = self.fields["started_at"] = self.now
        if state in TERMINAL:
            self.fields["finished_at"] = self.now
            accounting.set_slot(self, None)
            timing.set_deadline(self, None)
            timing.set_remaining(self, None)
            if execution.pause_mode is not None:
                self.set_pause(None)
            overdue.forget(self, *execution.warnings)
        elif execution.state in TERMINAL:
            self.fields["finished_at"] = None
            limit = execution.plan.limit
            with suppress(PerdureError):  # its context may have lost the key since
                accounting.set_slot(self, None if limit is None else limit.queue(execution.context))
        if state is State.PAUSED:
            self.fields["paused_at"] = self.now
            overdue.watch(self)
        elif execution.state is State.PAUSED:
            self.fields["paused_at"] = None
            overdue.forget(self, EXECUTION_TIMER)
        if execution.resume_plan is not None and state not in (State.PAUSING, State.PAUSED):
            timing.plan_resume(self, None)
        execution.state = state

    def note(
        self,
        kind: str,
        *,
        step_no: int | None = None,
        attempt: int | None = None,
        by: str | None = None,
        command_id: str | None = None,
        data: Any = None,
    ) -> None:
        """Write one line into the log; of a hook or a compensation it has a name of its own."""
        if step_no is not None and step_no >= self.state.size:
            kind, step_no = _told_as(self.state.plan.steps[step_no], kind)
        encoded = None if data is None else encode(data)
        self._events.append(
            EventWrite(kind, step_no=step_no, attempt=attempt, by=by, command_id=command_id, data=encoded)
        )

    def move_step(
        self,
        step_no: int,
        state: StepState,
        *,
        is_outcome: bool = False,
        output: bytes | None = None,
        error: Error | None = None,
        due_at: int | None = None,
        begins: bool = False,
    ) -> None:
        """Take the current attempt of a step to `state`, inserting its row where there is none.

        `begins`: it has begun with this, although no body runs.
        """
        run = self.state.steps[step_no]
        usage = run.usage
        starts = state is StepState.RUNNING
        if starts or begins:
            run.started_at = self.now
        self._attempts.append(
            AttemptWrite(
                step_no,
                run.generation,
                run.attempt,
                run.lineage,
                run.state if run.is_stored else None,
                state,
                is_outcome,
                self.now if starts or begins else None,
                self.now if state in ENDED_STEP else None,
                due_at,
                output,
                None if error is None else encode(error),
                None if usage is None else usage.cost_nanos,
                None if usage is None else usage.tokens,
                run.made_in,
            )
        )
        run.state = state
        run.is_stored = True
        run.due_at = due_at
        if error is not None or state is not StepState.WAITING:  # one that waits shows why it has to
            run.error = error
        if is_outcome:
            run.settled_version = self.version_before + 1
            run.output = output
            self.state.payload_bytes += len(output or b"")

    def set_timer(self, kind: str, step_no: int, due_at: int | None) -> None:
        """Set or clear one durable timer."""
        self.kept.row("timers", TimerWrite(kind, step_no, due_at))

    def clear_step_timer(self, step_no: int) -> None:
        """Clear what a waiting step may have beside its row: its timer, what it asks people."""
        if self.state.steps[step_no].due_at is not None:
            self.set_timer(self.state.timer_of(step_no), step_no, None)
        arrivals.drop_approval(self, step_no)
        overdue.forget(self, step_no)

    def set_error(self, error: Error | None) -> None:
        """Keep why the execution fails, or clear it."""
        self.state.error = error
        self.fields["error"] = None if error is None else encode(error)

    def set_pause(self, mode: str | None, *, by: str | None = None, reason: str | None = None) -> None:
        """Keep how, by whom and why the execution was asked to rest."""
        self.state.pause_mode = self.fields["pause_mode"] = mode
        self.state.family.paused_by = self.fields["paused_by"] = by
        self.fields["pause_reason"] = reason

    def set_rollback(self, reason: str) -> None:
        """Keep why what the execution has done is to be undone."""
        self.state.rollback_reason = self.fields["rollback_reason"] = reason

    def set_context(self, context: dict[str, Any], encoded: bytes) -> None:
        """Replace the context."""
        self.state.context = context
        self.fields["context"] = encoded

    def count_resume(self) -> None:
        """Count one more resume."""
        self.state.resume_count += 1
        self.fields["resume_count"] = self.state.resume_count

    def checkpoint(
        self, *, label: str | None, by: str | None, is_automatic: bool, command_id: str | None = None
    ) -> None:
        """Name the position this turn creates; a label wins over an automatic one."""
        if self._checkpoint is not None and is_automatic:
            return
        state = self.state
        self._checkpoint = CheckpointWrite(
            label, by, is_automatic, state.completed, state.size, state.payload_bytes
        )
        data = {"label": label, "automatic": is_automatic}
        self.note("checkpoint_created", by=by, command_id=command_id, data=data)

    def execute(self, statements: tuple[Statement, ...]) -> None:
        """Run the user's own statements in the same transaction."""
        for statement in statements:
            self.kept.row("statements", statement)

    def release(self) -> None:
        """Give the execution up, in the same commit: nothing is in flight."""
        self.releases = True
        self.fields["runner_no"] = None

    def mark_applied(self, message_no: int, answer: bytes | None = None) -> None:
        """Mark an inbox message applied, and answered where `answer` is given."""
        self.kept.row("messages", MessageWrite(message_no, answer))

    def respond(self, asker: Asker, answer: Answer | PerdureError | dict[str, Any]) -> None:
        """Answer once this turn is durable; an answer to an inbox row is part of the turn."""
        if asker.reply is not None:
            self.orders.append(Respond(asker.reply, answer))
        elif asker.message_no is not None and isinstance(answer, Answer):
            self.mark_applied(asker.message_no, encode(answer))
            if asker.ask is not None:
                self.asks_answered += (asker.ask,)
        elif asker.message_no is not None and isinstance(answer, PerdureError):
            self.orders.append(Refuse(asker.message_no, encode(describe_refusal(answer))))

    def respond_here(self, *askers: Asker) -> None:
        """Answer with the state this turn leads to, and the version it will have."""
        is_written = not self.is_empty or any(asker.message_no is not None for asker in askers)
        answer = Answer(self.state.state, self.version_before + is_written)
        for asker in askers:
            self.respond(asker, answer)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to write."""
        rows = self._attempts or self._events or not self.kept.is_empty
        return not (rows or self.fields or self._checkpoint or self.state.state is not self.before)

    @property
    def events(self) -> list[EventWrite]:
        """The lines this turn writes into the log."""
        return self._events

    def delta(self) -> Delta:
        """The rows to add or move on."""
        return Delta(
            attempts=tuple(self._attempts),
            events=tuple(self._events),
            checkpoint=self._checkpoint,
            deliveries=deliveries_of(self) if self.state.plan.webhooks else (),
            **self.kept.all(),
        )

    def change(self, *, claimed_by: int | None = None) -> Change:
        """The compare-and-swap that makes this turn durable, and that runner the owner of what has none."""
        state = self.state
        return Change(
            execution_no=state.no,
            execution_id=state.id,
            epoch=state.epoch,
            version=self.version_before,
            before=self.before,
            state=state.state,
            at=self.now,
            delta=self.delta(),
            fields=self.fields,
            claimed_by=claimed_by,
        )


def _told_as(step: PlannedStep, kind: str) -> tuple[str, int]:
    """What happens to a hook is told of the hook, what happens to a compensation of the step it undoes."""
    if step.undoes is None:
        return kind.replace("step_", "hook_", 1), step.no
    return UNDO_EVENTS.get(kind, kind.replace("step_", "step_compensation_", 1)), step.undoes
