"""Rows in memory that take changes the way a store does, and refuse what a store would refuse."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from bench_items import ItemRows

from perdure.actors.effects.turn import Turn
from perdure.actors.instructions.plan import DependenciesPolicy, Plan, PlannedStep
from perdure.actors.messages import (
    RestorePoint,
)
from perdure.store.asking import Approval
from perdure.store.circuits import CircuitBreakerState
from perdure.store.errors import DuplicateCommand
from perdure.store.records import (
    PAYLOAD_BYTES_MAX,
    Attempt,
    Error,
    Execution,
    KeptSignal,
    Loaded,
    ResumePlan,
    Timer,
)
from perdure.store.scripts.rows import usage
from perdure.store.states import (
    SETTLED_STEP,
    TERMINAL,
    Role,
    State,
    StepState,
    can_become,
    step_can_become,
)
from perdure.store.telling import PostWrite
from perdure.store.usage import Limits
from perdure.store.writes import CHANGEABLE, AttemptWrite, Change, Delta

BEGIN_MS = 1_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Row(msgspec.Struct):
    """One attempt as a store keeps it."""

    write: AttemptWrite
    opened_version: int
    settled_version: int | None
    deaths: int = 0
    alone: bool = False


class Rows:
    """What a store would hold of one execution, and the refusals a store would give."""

    def __init__(self, plan: Plan, context: dict[str, Any]) -> None:
        """Hold nothing yet but the context it starts with."""
        self.plan = plan
        self.first_context = context
        self.mirror: Any = None  # a real store that is told the same
        self.state = State.IDLE
        self.version = 0
        self.epoch = 1
        self.fields: dict[str, Any] = {}
        self.attempts: dict[tuple[int, int, int], Row] = {}
        self.newest: dict[int, Row] = {}
        self.outcomes: set[tuple[int, int]] = set()
        self.timers: dict[tuple[str, int], int] = {}
        self.events: list[tuple[int, Any]] = []
        self.applied: dict[int, bytes | None] = {}
        self.checkpoints: dict[int, str | None] = {}
        self.signals: dict[int, tuple[KeptSignal, int | None]] = {}  # with the version that took it
        self.approvals: dict[int, Approval] = {}
        self.posts: list[PostWrite] = []  # what was left for others
        self.items = ItemRows()

    def insert(self, turn: Turn) -> None:
        """The `Start` of an execution: version 1, no fields but those the start itself has."""
        state = turn.state
        assert can_become(State.IDLE, state.state)
        ended = {name: turn.fields.get(name) for name in ("finished_at", "error")}
        self.fields = {"deadline_at": state.deadline_at, **ended}
        if state.state in {State.EXECUTING, State.AWAITING_COMPLETION}:
            self.fields["started_at"] = turn.now
        self.state = state.state
        self._write(turn.delta(), 1)
        if self.mirror is not None:
            times = {"at": turn.now, "deadline_at": state.deadline_at, **ended}
            self.mirror.start(state.state, turn.delta(), **times)

    def enqueue(self, *, remaining_ms: int | None = None) -> None:
        """The `Start` of an execution nobody has room for yet."""
        self.fields = {"remaining_ms": remaining_ms}
        self._write(Delta(), 1)
        if self.mirror is not None:
            self.mirror.start(State.IDLE, Delta(), at=BEGIN_MS, remaining_ms=remaining_ms)

    def change(self, change: Change) -> int:
        """Move on by compare-and-swap; the answer is the new version."""
        assert (change.version, change.epoch, change.before) == (self.version, self.epoch, self.state)
        assert can_become(change.before, change.state), f"{change.before} → {change.state}"
        assert set(change.fields) <= CHANGEABLE
        for event in change.delta.events:
            if event.command_id and any(event.command_id == e.command_id for _, e in self.events):
                raise DuplicateCommand("x", command_id=event.command_id)
        self.state = change.state
        self.fields.update(change.fields)
        if change.state in TERMINAL:
            self.timers.clear()
        self._write(change.delta, change.version + 1)
        if self.mirror is not None:
            self.mirror.change(change)
        return self.version

    def claim(self, *, died: bool, is_alone: bool = True) -> None:
        """Give the execution to another owner; attempts that ran when it died count a death.

        `is_alone`: nothing of any other execution ran in that process.
        """
        self.epoch += 1
        attempts = [row for row in self.attempts.values() if row.write.state is StepState.RUNNING]
        bodies = [row for row in attempts if not self.items.has_loop(row.write.step_no)]
        running = [*bodies, *self.items.running()]
        for row in running if died else ():
            row.deaths += 1
            row.alone = is_alone and len(running) == 1
        if self.mirror is not None:
            self.mirror.claim(died=died)

    def loaded(self) -> Loaded:
        """What the next owner is given."""
        fields = {name: value for name, value in self.fields.items() if name != "runner_no"}
        context, error = fields.pop("context", None), fields.pop("error", None)
        limits, breaker = fields.pop("budget", None), fields.pop("circuit_breaker_state", None)
        planned = fields.pop("resume_plan", None)
        fields["resume_plan"] = None if planned is None else msgspec.json.decode(planned, type=ResumePlan)
        fields["circuit_breaker_state"] = _breaker(breaker)
        fields["usage"] = usage(fields.pop("cost_nanos", None), fields.pop("tokens", None))
        fields["budget"] = None if limits is None else msgspec.json.decode(limits, type=Limits)
        assert set(fields) <= set(Execution.__struct_fields__)
        fields |= {name: moment_of(value) for name, value in fields.items() if name.endswith("_at")}
        plain = {
            "no": 7,
            "id": "x",
            "workflow": self.plan.workflow,
            "workflow_no": 1,
            "revision": "r",
            "state": self.state,
            "version": self.version,
            "epoch": self.epoch,
            "priority": 0,
            "trace_id": "t",
            "context": self.first_context if context is None else msgspec.json.decode(context),
            "error": None if error is None else msgspec.json.decode(error, type=Error),
            "resume_count": 0,
            "created_at": EPOCH,
            "updated_at": EPOCH,
        }
        execution = Execution(**(dict.fromkeys(Execution.__struct_fields__) | plain | fields))
        rows = (self._attempt(self.attempts[key]) for key in sorted(self.attempts))
        kept = tuple(signal for _, (signal, taken) in sorted(self.signals.items()) if taken is None)
        asked = tuple(approval for _, approval in sorted(self.approvals.items()))
        return Loaded(
            execution=execution,
            attempts=tuple(rows),
            timers=tuple(
                Timer(execution_no=7, kind=kind, step_no=step_no, due_at=moment_of(due_at))
                for (kind, step_no), due_at in sorted(self.timers.items())
            ),
            inbox=(),
            signals=kept,
            approvals=asked,
            loops=self.items.loaded(self.newest),
        )

    def point(self, version: int) -> RestorePoint:
        """The outcomes and the context as of a version."""
        if self.mirror is not None:
            return self.mirror.point(version)
        newest: dict[int, int] = {}
        for (step_no, generation, _), row in self.attempts.items():
            if row.opened_version <= version:
                newest[step_no] = max(generation, newest.get(step_no, 0))
        outcomes = tuple(
            self._attempt(row)
            for key, row in sorted(self.attempts.items())
            if row.write.is_outcome and row.settled_version <= version and newest[key[0]] == key[1]
        )
        context = self.first_context
        for at, event in self.events:
            if at <= version and event.type == "context_updated":
                update = msgspec.json.decode(event.data)
                context = update["replace"] if "replace" in update else context | update["patch"]
        later = [signal for _, (signal, taken) in sorted(self.signals.items()) if (taken or 0) > version]
        return RestorePoint(version, self.checkpoints.get(version), outcomes, context, tuple(later))

    def current(self, step_no: int) -> AttemptWrite | None:
        """The newest attempt of a step."""
        return self.newest[step_no].write if step_no in self.newest else None

    def _write(self, delta: Delta, version: int) -> None:
        assert version == self.version + 1
        self.version = version
        self._write_attempts(delta, version)
        for timer in delta.timers:
            if timer.due_at is None:
                self.timers.pop((timer.kind, timer.step_no), None)
            else:
                self.timers[timer.kind, timer.step_no] = timer.due_at
        for signal in delta.signals:
            kept = KeptSignal(version=version, name=signal.name, payload=msgspec.Raw(signal.payload))
            assert version not in self.signals, "two signals in one version"
            self.signals[version] = (kept, None)
        for move in delta.taken:
            signal, taken = self.signals[move.version]
            assert (taken is None) is (move.step_no is not None), "a signal taken twice"
            self.signals[move.version] = (signal, None if move.step_no is None else version)
        self._write_approvals(delta)
        self.posts += delta.posts
        self.items.write(delta)
        for message in delta.messages:
            self.applied[message.no] = self.applied.get(message.no) or message.answer
        if delta.checkpoint is not None:
            self.checkpoints[version] = delta.checkpoint.label
        for event in delta.events:
            assert len(event.data or b"") <= PAYLOAD_BYTES_MAX
            self.events.append((version, event))

    def _write_attempts(self, delta: Delta, version: int) -> None:
        """What a step passes through within a change says nothing of where bodies run."""
        is_spent = any(event.type == "budget_exceeded" for event in delta.events)
        last = {(write.step_no, write.generation, write.attempt): write for write in delta.attempts}
        for attempt in delta.attempts:
            self._put(attempt, version)
        for attempt in last.values():
            if attempt.state is StepState.RUNNING:
                self._check_may_run(attempt, beside=frozenset({State.PAUSING}) if is_spent else frozenset())

    def _write_approvals(self, delta: Delta) -> None:
        for write in delta.approvals:
            if write.approval is None:
                del self.approvals[write.step_no]
            else:
                self.approvals[write.step_no] = write.approval

    def _put(self, new: AttemptWrite, version: int) -> None:
        key = (new.step_no, new.generation, new.attempt)
        if new.is_outcome:
            assert new.state in SETTLED_STEP
            assert key[:2] not in self.outcomes, f"two outcomes of {key}"
            self.outcomes.add(key[:2])
        old = self.attempts.get(key)
        settled = version if new.is_outcome else None
        if new.before is None:
            assert old is None, f"attempt {key} is there already"
            self.attempts[key] = self.newest[new.step_no] = Row(new, version, settled)
            return
        assert old is not None, f"attempt {key} is not there"
        assert old.write.state is new.before
        assert step_can_become(new.before, new.state), f"{key}: {new.before} → {new.state}"
        old.write = msgspec.structs.replace(
            new,
            is_outcome=old.write.is_outcome or new.is_outcome,
            started_at=old.write.started_at if new.started_at is None else new.started_at,
            error=new.error or old.write.error,
            output=new.output or old.write.output,
            cost_nanos=old.write.cost_nanos if new.cost_nanos is None else new.cost_nanos,
            tokens=old.write.tokens if new.tokens is None else new.tokens,
        )
        old.settled_version = old.settled_version or settled

    def _check_may_run(self, new: AttemptWrite, *, beside: frozenset[State]) -> None:
        """`beside`: states that the same change has led to after the attempt began."""
        step = self.plan.steps[new.step_no]
        assert new.attempt <= step.retry.max_retries + 1, "more attempts than the policy allows"
        if step.role is not Role.GRAPH:
            self._check_may_run_beside(step)
            return
        assert self.state not in {State.PAUSING, State.PAUSED, State.CANCELLING, *TERMINAL} - beside
        ends = [self.current(need) for need in step.needs]
        is_early = isinstance(step.dependencies, int)
        assert is_early or all(row is not None and row.state in SETTLED_STEP for row in ends)
        met = [
            row.state is StepState.COMPLETED
            or (row.state is StepState.FAILED and self.plan.steps[row.step_no].is_optional)
            for row in ends
            if row is not None
        ]
        if isinstance(step.dependencies, int):
            assert sum(met) >= step.dependencies
        if step.dependencies is DependenciesPolicy.ALL_SUCCESS:
            assert all(met)
        elif step.dependencies is DependenciesPolicy.ANY:
            assert any(met) or not met

    def _check_may_run_beside(self, step: PlannedStep) -> None:
        """A hook or a compensation runs alone, when its moment has come."""
        assert self.state not in {State.PAUSING, State.PAUSED, *TERMINAL}
        running = [no for no, row in self.newest.items() if row.write.state is StepState.RUNNING]
        assert running in ([], [step.no]), "something else is in flight"
        if step.role is Role.UNDO:
            assert self.state is State.COMPENSATING
            undone = self.current(step.undoes)
            assert undone is not None
            assert undone.state is StepState.COMPLETED

    def _attempt(self, row: Row) -> Attempt:
        write = row.write
        return Attempt(
            step_no=write.step_no,
            step=self.plan.steps[write.step_no].key,
            generation=write.generation,
            attempt=write.attempt,
            lineage=write.lineage,
            state=write.state,
            is_outcome=write.is_outcome,
            settled_version=row.settled_version,
            started_at=moment_of(write.started_at),
            finished_at=moment_of(write.finished_at),
            due_at=moment_of(write.due_at),
            deaths=row.deaths,
            alone=row.alone,
            output=None if write.output is None else msgspec.Raw(write.output),
            error=None if write.error is None else msgspec.json.decode(write.error, type=Error),
            usage=usage(write.cost_nanos, write.tokens),
        )


def _breaker(text: str | None) -> CircuitBreakerState | None:
    return None if text is None else msgspec.json.decode(text, type=CircuitBreakerState)


def moment_of(ms: int | None) -> datetime | None:
    """A time in milliseconds as records have it."""
    return None if ms is None else EPOCH + timedelta(milliseconds=ms)
