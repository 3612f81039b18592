"""A bench for the pure machine: plans from a list of needs, rows in memory, an actor without a loop.

`Rows` applies changes the way a store does and refuses what a store would refuse. `Bench` stands in
for the execution's actor: it carries out what the planner decides, and after every single turn asks
whether folding the rows gives the state it holds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from bench_items import ItemRows

from perdure.actors.decider import commands, planner, reopening
from perdure.actors.decider.kinds import children, looping
from perdure.actors.effects.orders import Ring, StartChild, UndoChild
from perdure.actors.effects.turn import Asker, InterruptSteps, Launch, Respond, Turn
from perdure.actors.instructions.plan import DependenciesPolicy, Hook, Plan, PlannedStep
from perdure.actors.instructions.waits import ForApproval, ForChild, ForSignal
from perdure.actors.messages import (
    AnyCommand,
    Completed,
    Failed,
    Interrupt,
    Interrupted,
    Restore,
    RestorePoint,
    StepEnded,
    StepReport,
)
from perdure.actors.state.execution import ExecutionState
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
from perdure.store.usage import Limits, Usage
from perdure.store.writes import CHANGEABLE, WARN_TIMER, AttemptWrite, Change, Delta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
BEGIN_MS = 1_000_000

Part = int | tuple[int, int]  # a step, or an item of one


def make_plan(
    needs: Sequence[Sequence[int]],
    *,
    steps: dict[int, dict[str, Any]] | None = None,
    undo: dict[int, dict[str, Any]] | None = None,
    hooks: dict[Hook, dict[str, Any]] | None = None,
    **options: Any,
) -> Plan:
    """A plan whose step `i` (key `s<i>`) needs `needs[i]`; `steps` holds options of single ones.

    `undo` holds the options of compensations by what they undo, `hooks` those of hooks; they are the
    steps after those of the graph, in this order.
    """
    dependents: list[list[int]] = [[] for _ in needs]
    level_of: list[int] = []
    levels: list[list[int]] = []
    for no, own in enumerate(needs):
        level = 1 + max((level_of[need] for need in own), default=-1)
        level_of.append(level)
        if level == len(levels):
            levels.append([])
        levels[level].append(no)
        for need in own:
            dependents[need].append(no)
    undo_of = {no: len(needs) + place for place, no in enumerate(undo or {})}
    planned = [
        _planned(
            no,
            f"s{no}",
            level=level_of[no],
            needs=tuple(own),
            dependents=tuple(dependents[no]),
            undo=undo_of.get(no),
            **(steps or {}).get(no, {}),
        )
        for no, own in enumerate(needs)
    ]
    for no, own in (undo or {}).items():
        step = planned[no]
        reads = (no, *step.needs)
        outside = {"role": Role.UNDO, "undoes": no, "needs": reads, "level": len(levels)}
        planned.append(_planned(len(planned), f"{step.key}.compensate", **outside, **own))
    hook_nos = {}
    for hook, own in (hooks or {}).items():
        hook_nos[hook] = len(planned)
        planned.append(_planned(len(planned), f"hooks.{hook}", role=Role.HOOK, level=len(levels), **own))
    return Plan(
        workflow="w",
        workflow_no=1,
        revision="r",
        steps=tuple(planned),
        levels=tuple(tuple(level) for level in levels),
        outside=len(planned) - len(needs),
        hooks=hook_nos,
        **options,
    )


def _planned(no: int, key: str, **options: Any) -> PlannedStep:
    usual: dict[str, Any] = {
        "needs": (),
        "dependents": (),
        "inputs": lambda _values: None,
        "perform": lambda _context, _inputs: None,
    }
    return PlannedStep(no=no, key=key, **(usual | options))


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
        fields |= {name: _moment(value) for name, value in fields.items() if name.endswith("_at")}
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
                Timer(execution_no=7, kind=kind, step_no=step_no, due_at=_moment(due_at))
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
            started_at=_moment(write.started_at),
            finished_at=_moment(write.finished_at),
            due_at=_moment(write.due_at),
            deaths=row.deaths,
            alone=row.alone,
            output=None if write.output is None else msgspec.Raw(write.output),
            error=None if write.error is None else msgspec.json.decode(write.error, type=Error),
            usage=usage(write.cost_nanos, write.tokens),
        )


class Told:
    """A reply cell that remembers what it was told."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.answers: list[Any] = []


class Bench:
    """An execution's actor without a loop: every call is one turn, committed and carried out."""

    def __init__(self, plan: Plan, *, context: dict[str, Any] | None = None, chance: float = 0.5) -> None:
        """Nothing has happened yet; call `start` or `enqueue`."""
        self.plan = plan
        self.now = BEGIN_MS
        self.chance = chance
        self.is_alone = True  # no other execution has anything in flight in this process
        self.is_closing = False
        self.folds_every = 1  # after so many turns the rows are folded and compared
        self._turns = 0
        self.rows = Rows(plan, context or {})
        self.state = ExecutionState(plan, execution_id="x", trace_id="t", context=context or {})
        self.bodies: dict[Any, tuple[int, int]] = {}
        self.interrupts: dict[Any, Interrupt] = {}
        self.threads: set[Any] = set()
        self.waiters: list[Asker] = []
        self.started: list[Any] = []
        self.refused: list[Any] = []
        self.starts: list[StartChild] = []  # children that are to be started
        self.undone: list[UndoChild] = []  # children that are to be rolled back
        self.turn: Turn | None = None
        self._ids = 0

    def start(self) -> Bench:
        """Start here, with room."""
        turn = self._new_turn()
        planner.begin(turn)
        planner.proceed(turn)
        self.rows.insert(turn)
        self.state.no = 7
        self.state.version = 1
        self._carry_out(turn)
        self.check_fold()
        return self

    def enqueue(self, **options: Any) -> Bench:
        """Start without room: a row that nobody owns."""
        self.rows.enqueue(**options)
        return self

    def take_up(self, *, died: bool = False, launches: bool = True) -> Bench:
        """Become the next owner: everything in memory is gone, the rows are what is left."""
        self.bodies.clear()
        self.interrupts.clear()
        self.threads.clear()
        self.waiters.clear()
        self.rows.claim(died=died, is_alone=self.is_alone)
        self.state = ExecutionState.fold(self.plan, self.rows.loaded())

        def recover(turn: Turn) -> None:
            planner.take_up(turn)
            planner.take_due(turn)

        self.is_closing = False
        self.do(recover, launches=launches)
        return self

    def do(self, decide: Callable[[Turn], None], *, launches: bool = True) -> Turn:
        """One turn: decide, let the machine run on, commit, carry out."""
        turn = self._new_turn()
        decide(turn)
        if launches:
            planner.proceed(turn, is_closing=self.is_closing)
        are_answered = planner.answer_waiters(turn, self.waiters)
        children.tell(turn)
        if not turn.is_empty:
            try:
                self.state.version = self.rows.change(turn.change())
            except DuplicateCommand:
                return self._look_again()
        if are_answered:
            self.waiters.clear()
        self._carry_out(turn)
        self._turns += 1
        if self._turns % self.folds_every == 0:
            self.check_fold()
        return turn

    def shut_down(self) -> None:
        """The runtime closes: what runs is interrupted, nothing starts."""
        self.is_closing = True
        self.do(lambda turn: turn.orders.append(InterruptSteps(Interrupt.SHUTDOWN)))

    def tell(self, command: AnyCommand, *, message_no: int | None = None) -> Any:
        """Give it a command; what it was told so far, or None while it waits."""
        told = Told()
        asker = Asker(message_no=message_no) if message_no is not None else Asker(reply=told)

        def decide(turn: Turn) -> None:
            kind = RestorePoint if isinstance(command, Restore) else None
            refused = commands.refusal(turn, command, kind=kind)
            if refused is not None:
                turn.respond(asker, refused)
            elif isinstance(command, Restore):
                reopening.restore(turn, command, self.rows.point(int(command.checkpoint)), asker)
            else:
                commands.apply(turn, command, asker, self.waiters, is_closing=self.is_closing)

        self.do(decide)
        return told.answers[0] if told.answers else None

    def report(self, part: Part, outcome: Any, *, lingers: bool = False, used: Usage | None = None) -> Turn:
        """The body of a step ends, having used that."""
        generation, attempt = self.bodies.pop(part)
        self.interrupts.pop(part, None)
        step_no, item = part if isinstance(part, tuple) else (part, None)
        report = StepReport(step_no, generation, attempt, outcome, lingers, used, item)
        if lingers:
            self.threads.add(part)
        return self.do(lambda turn: planner.take_report(turn, report))

    def complete(self, *parts: Part, output: bytes = b'"done"', used: Usage | None = None) -> None:
        """Bodies return."""
        for part in parts:
            self.report(part, Completed(output), used=used)

    def fail(self, part: Part, *, lingers: bool = False, used: Usage | None = None) -> Turn:
        """A body raises, or is timed out while its thread `lingers`."""
        failed = Failed(Error(type="ValueError", message="no"), ("ValueError", "Exception"))
        return self.report(part, failed, lingers=lingers, used=used)

    def unwind(self, *parts: Part) -> None:
        """Bodies that were interrupted end so."""
        for part in parts or sorted(self.interrupts):
            self.report(part, Interrupted(self.interrupts[part]))

    def end_thread(self, part: Part) -> None:
        """The thread of a timed-out attempt comes to its end."""
        self.threads.discard(part)
        ended = StepEnded(*part) if isinstance(part, tuple) else StepEnded(part)
        self.do(lambda turn: looping.take_end(turn, ended))

    def advance(self, ms: int) -> None:
        """Time passes, and what is due fires."""
        self.now += ms
        self.do(planner.take_due)

    def id(self) -> str:
        """A command id nobody has used."""
        self._ids += 1
        return f"c{self._ids}"

    def states(self) -> list[str]:
        """The state of every step."""
        return [run.state.value for run in self.state.steps]

    def events(self) -> list[str]:
        """The types of the log's lines."""
        return [event.type for _, event in self.rows.events]

    def check_fold(self) -> None:
        """What the rows say is what the state in memory says."""
        folded = ExecutionState.fold(self.plan, self.rows.loaded())
        assert picture(folded) == picture(self.state)
        if self.rows.mirror is not None:
            real = self.rows.mirror.loaded()
            assert picture(ExecutionState.fold(self.plan, real)) == picture(self.state) | {
                "epoch": real.execution.epoch
            }
            assert {(t.kind, t.step_no): t.due_at for t in real.timers} == {
                key: _moment(due_at) for key, due_at in self.rows.timers.items()
            }
        waits = self.rows.state is State.AWAITING_COMPLETION
        waits_for = [self.plan.steps[no].wait for no in self.state.waiting]
        is_open = any(isinstance(wait, ForSignal | ForApproval | ForChild) for wait in waits_for)
        wakes = any(kind != WARN_TIMER for kind, _ in self.rows.timers)
        has_a_waker = is_open or wakes or self.state.no == 0
        assert not waits or has_a_waker, "asleep with nothing to wake it"
        asks = {no for no in self.state.waiting if isinstance(self.plan.steps[no].wait, ForApproval)}
        assert asks == {no for no, approval in self.state.approvals.items() if approval.asked_at is not None}

    def _look_again(self) -> Turn:
        """Nothing was written: go on from what the rows say."""
        before = self.state
        self.state = ExecutionState.fold(self.plan, self.rows.loaded())
        return self.do(lambda turn: planner.take_over(turn, before))

    def _new_turn(self) -> Turn:
        self.turn = Turn(self.state, now=self.now, chance=self.chance)
        return self.turn

    def _carry_out(self, turn: Turn) -> None:
        for order in turn.orders:
            match order:
                case Launch(step_no, item=item):
                    part = step_no if item is None else (step_no, item)
                    assert part not in self.bodies
                    assert part not in self.threads
                    run = self.state.steps[step_no]
                    attempt = run.attempt if item is None else run.loop.open[item].attempt
                    self.bodies[part] = (run.generation, attempt)
                    self.started.append(part)
                case InterruptSteps(reason):
                    for part in self.bodies:
                        self.interrupts.setdefault(part, reason)
                case Respond(reply, answer):
                    reply.answers.append(answer)
                case StartChild():
                    self.starts.append(order)
                case UndoChild():
                    self.undone.append(order)
                case Ring():
                    pass
                case _:
                    self.refused.append(order)


def picture(state: ExecutionState) -> dict[str, Any]:
    """Everything about a state that a crash must not change."""
    described = state.describe()
    for step in (*described["steps"].values(), *described["hooks"].values()):
        step.pop("heartbeat")
    return described | {
        "counts": (
            state.settled,
            state.completed,
            state.level_open,
            [max(0, unmet) for unmet in state.unmet],
        ),
        "flags": (state.is_blocked, state.is_exclusive),
        "columns": (state.remaining_ms, state.pause_mode, state.resume_count, state.started_at),
        "payload_bytes": state.payload_bytes,
        "signals": state.signals,
        "approvals": state.approvals,
        "mishaps": state.mishaps,
        "ends": [run.settled_version for run in state.steps],
        "warnings": state.warnings,
        "loops": [_picture_of(run.loop) for run in state.steps],
        "runs": [
            (run.lineage, run.output, run.deaths, run.died_alone, run.is_stored, _usage_of(run))
            for run in state.steps
        ],
    }


def _breaker(text: str | None) -> CircuitBreakerState | None:
    return None if text is None else msgspec.json.decode(text, type=CircuitBreakerState)


def _moment(ms: int | None) -> datetime | None:
    return None if ms is None else EPOCH + timedelta(milliseconds=ms)


def _usage_of(run: Any) -> Any:
    """What a step has used; what items use becomes part of that when the step next moves."""
    return run.usage if run.loop is None else None


def _picture_of(loop: Any) -> Any:
    if loop is None:
        return None
    items = sorted(
        (no, each.attempt, each.generation, each.deaths, each.state) for no, each in loop.open.items()
    )
    outputs = loop.outputs
    if outputs is not None:
        outputs = [*outputs, *[b"null"] * (loop.begun - len(outputs))]
    return (items, loop.waiting, outputs, loop.pages, loop.output_bytes, loop.error, loop.lineage)
