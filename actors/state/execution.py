"""An execution as its actor holds it in memory: folded from the store, owned by one incarnation.

Beside where each step stands (`StepRun`) it has what scheduling needs to know without looking at
every step: how many needs are open, how many steps of each level are, what is ready. Nothing here
decides; `schedule` and `planner` do.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final

import msgspec

from perdure.actors.instructions.budget import NOTHING
from perdure.actors.instructions.plan import DependenciesPolicy, Plan, PlannedStep, Scheduling
from perdure.actors.instructions.waits import child_id
from perdure.actors.state.family import Family
from perdure.actors.state.loop import Loop
from perdure.actors.state.mishaps import mishaps_of
from perdure.actors.state.standing import describe
from perdure.actors.state.step_run import StepRun, ms_of
from perdure.actors.state.trial import Trial
from perdure.store.asking import Approval
from perdure.store.circuits import CircuitBreakerState
from perdure.store.records import Error, Execution, KeptSignal, Loaded, ResumePlan
from perdure.store.states import SETTLED_STEP, Role, State, StepState
from perdure.store.usage import Limits
from perdure.store.writes import WARN_TIMER

RETRY_TIMER: Final = "retry"
WAIT_TIMER: Final = "wait"
DEADLINE_TIMER: Final = "deadline"


class ExecutionState:
    """All an execution's actor knows. Changed only by a `Turn`; thrown away when a commit fails."""

    __slots__ = (
        "agents",
        "approvals",
        "breaker",
        "completed",
        "context",
        "deadline_at",
        "end",
        "entering",
        "epoch",
        "error",
        "family",
        "id",
        "is_blocked",
        "is_exclusive",
        "level",
        "level_open",
        "limits",
        "lingering",
        "looping",
        "mishaps",
        "no",
        "pause_mode",
        "payload_bytes",
        "plan",
        "queue",
        "ready",
        "remaining_ms",
        "resume_count",
        "resume_plan",
        "rollback_reason",
        "running",
        "settled",
        "signals",
        "size",
        "slot",
        "started_at",
        "state",
        "steps",
        "timeout_ms",
        "trace_id",
        "trial",
        "undoing",
        "unmet",
        "usage",
        "version",
        "waiting",
        "wanted",
        "warnings",
    )

    def __init__(self, plan: Plan, *, execution_id: str, trace_id: str, context: dict[str, Any]) -> None:
        """An execution that does not exist yet."""
        self.plan = plan
        self.no = 0
        self.id = execution_id
        self.trace_id = trace_id
        self.context = context
        self.agents: str | None = None
        self.state = State.IDLE
        self.version = 0
        self.epoch = 1
        self.error: Error | None = None
        self.deadline_at: int | None = None
        self.remaining_ms: int | None = None
        self.timeout_ms = plan.timeout_ms  # of the whole execution, each time it is opened
        self.pause_mode: str | None = None
        self.family = Family()
        self.resume_count = 0
        self.rollback_reason: str | None = None  # once what was done is to be undone
        self.resume_plan: ResumePlan | None = None
        self.started_at: int | None = None
        self.size = plan.size
        self.steps = [StepRun() for _ in plan.steps]
        self.payload_bytes = 0
        self.lingering: set[int] = set()
        self.usage = NOTHING  # of all attempts, whatever became of them
        self.limits: Limits | None = None  # its own budget, where it is not the workflow's
        self.queue: str | None = None  # the one it waits in, before it may begin
        self.slot: str | None = None  # the queue that has admitted it
        self.breaker: CircuitBreakerState | None = None  # once it has tripped
        self.mishaps: list[int] = []  # when the bad attempts ended that count towards the next trip
        self.signals: list[KeptSignal] = []  # those that nobody has taken, oldest first
        self.approvals: dict[int, Approval] = {}  # by step
        self.end: State | None = None  # which it comes to, while its hooks run
        self.warnings: dict[int, int] = {}  # when (ms) to tell that it waits for long, by step; -1: paused
        self._count_none()

    @classmethod
    def fold(cls, plan: Plan, loaded: Loaded) -> ExecutionState:
        """Rebuild the state from the rows: of each step the newest attempt of the newest generation."""
        execution = loaded.execution
        self = cls(plan, execution_id=execution.id, trace_id=execution.trace_id, context=execution.context)
        self._take_columns(execution)
        for attempt in loaded.attempts:
            self.steps[attempt.step_no].take(attempt)
        self.mishaps = mishaps_of(plan, loaded.attempts, breaker=self.breaker)
        for kept in loaded.loops:
            run = self.steps[kept.step_no]
            run.loop = Loop.fold(kept, generation=run.generation)
        self.signals = list(loaded.signals)
        self.approvals = {approval.step_no: approval for approval in loaded.approvals}
        warnings = [timer for timer in loaded.timers if timer.kind == WARN_TIMER]
        self.warnings = {timer.step_no: ms_of(timer.due_at) or 0 for timer in warnings}
        self.reindex()
        return self

    def _take_columns(self, execution: Execution) -> None:
        self.no = execution.no
        self.agents = execution.agents
        self.state = execution.state
        self.version = execution.version
        self.epoch = execution.epoch
        self.error = execution.error
        self.deadline_at = ms_of(execution.deadline_at)
        self.remaining_ms = execution.remaining_ms
        if execution.timeout_ms is not None:
            self.timeout_ms = execution.timeout_ms
        self.pause_mode = execution.pause_mode
        self.family.parent_id = execution.parent_id
        self.family.parent_step = execution.parent_step
        self.family.paused_by = execution.paused_by
        self.usage = execution.usage or NOTHING
        self.limits = execution.budget
        self.breaker = execution.circuit_breaker_state
        self.queue, self.slot = execution.queue, execution.slot
        self.resume_count = execution.resume_count
        self.rollback_reason = execution.rollback_reason
        self.resume_plan = execution.resume_plan
        self.started_at = ms_of(execution.started_at)

    def reindex(self) -> None:
        """Count anew what is running, waiting, settled and open; `ready` starts empty.

        A waiting step leaves `waiting` for `ready` when it is due.
        """
        self._count_none()
        self._count_all()

    def _count_none(self) -> None:
        """Begin to count: no step has been touched."""
        plan = self.plan
        self.ready: deque[int] = deque()
        self.entering: deque[int] = deque()  # let in by their needs; what they are to do is undecided
        self.running: set[int] = set()
        self.waiting: set[int] = set()
        self.looping: set[int] = set()  # those of `running` that go over items
        self.trial: Trial | None = None  # while steps that may be killing the process are tried
        self.undoing: list[int] | None = None  # what is left to undo, the next at the end; None is unknown
        self.settled = 0
        self.completed = 0
        self.level = 0
        self.level_open = [len(level) for level in plan.levels]
        self.unmet = [len(step.needs) for step in plan.steps]  # 0 or less: enough has settled
        joins = ((step.no, step.dependencies) for step in plan.steps)
        self.wanted = {no: count for no, count in joins if isinstance(count, int)}  # needs that are to come
        self.is_blocked = False
        self.is_exclusive = False

    def _count_all(self) -> None:
        plan = self.plan
        for step, run in zip(plan.steps, self.steps, strict=True):
            if run.state is StepState.RUNNING:
                self.running.add(step.no)
                if step.for_each is not None:
                    self.looping.add(step.no)
                self.is_exclusive = not step.is_parallel
            elif run.state is StepState.WAITING:
                self.waiting.add(step.no)
            elif run.state in SETTLED_STEP:
                self.count_settled(step.no)
        self.family.reindex(self)
        self.payload_bytes = sum(len(run.output) for run in self.steps if run.output)
        while self.level < len(plan.levels) - 1 and not self.level_open[self.level]:
            self.level += 1

    def count_settled(self, step_no: int) -> None:
        """Take one settled step of the graph into the counts."""
        step = self.plan.steps[step_no]
        if step.role is not Role.GRAPH:
            return
        run = self.steps[step_no]
        self.settled += 1
        self.completed += run.state is StepState.COMPLETED
        self.level_open[step.level] -= 1
        for dependent in step.dependents:
            self.unmet[dependent] -= 1
        if self.wanted and self.is_met(step_no):
            self._count_arrival(step)
        if run.state is StepState.FAILED and not step.is_optional and not self.plan.continue_on_error:
            self.is_blocked = True

    def _count_arrival(self, step: PlannedStep) -> None:
        """A step has come that some may want so many of: who has enough waits for no more."""
        for dependent in self.wanted.keys() & set(step.dependents):
            self.wanted[dependent] -= 1
            if self.wanted[dependent] == 0:
                self.unmet[dependent] = 0

    @property
    def is_eager(self) -> bool:
        """Whether steps start as soon as their own needs are met."""
        return self.plan.scheduling is Scheduling.EAGER

    @property
    def is_guarded(self) -> bool:
        """Whether more than its needs and the room beside others decides when a step begins."""
        return self.plan.budget is not None or self.limits is not None

    @property
    def is_everything_settled(self) -> bool:
        """Whether no step has anything left to do."""
        return self.settled == self.size

    @property
    def has_graph_ended(self) -> bool:
        """Whether nothing of the graph can run any more."""
        return self.is_everything_settled or (
            self.is_blocked and not any(self.may_go_on(no) for no in range(self.size))
        )

    def may_go_on(self, step_no: int) -> bool:
        """Whether a step has begun, is neither running nor settled, and nothing it needs is in its way.

        Only in a version that an execution has moved to may something be.
        """
        return self.steps[step_no].is_cut and self.unmet[step_no] <= 0 and self.lets_in(step_no)

    def timer_of(self, step_no: int) -> str:
        """The kind of timer a waiting step has: for its next attempt, or for what it waits for."""
        return RETRY_TIMER if self.plan.steps[step_no].wait is None else WAIT_TIMER

    def child_of(self, step_no: int) -> str:
        """The id of the child that the attempt which counts now starts, or that made the outcome."""
        run, key = self.steps[step_no], self.plan.steps[step_no].key
        generation = run.generation if run.made_in is None else run.made_in
        return child_id(self.id, step=key, generation=generation, attempt=run.attempt)

    def approval_of(self, step_no: int) -> Approval | None:
        """What a step asks people, and what they have decided, unless it was reopened since."""
        approval = self.approvals.get(step_no)
        is_of_now = approval is not None and approval.generation == self.steps[step_no].generation
        return approval if is_of_now else None

    def lets_in(self, step_no: int) -> bool:
        """Whether the needs of a step, as many as it waits for, have ended so that it may run."""
        step = self.plan.steps[step_no]
        if isinstance(step.dependencies, int):
            return sum(map(self.is_met, step.needs)) >= step.dependencies
        if step.dependencies is DependenciesPolicy.ALL_SUCCESS:
            return all(map(self.is_met, step.needs))
        if step.dependencies is DependenciesPolicy.ANY and step.needs:
            return any(map(self.is_met, step.needs))
        return True

    def is_met(self, step_no: int) -> bool:
        """Whether a step has settled in a way that lets its dependents run."""
        run = self.steps[step_no]
        return run.state is StepState.COMPLETED or (
            run.state is StepState.FAILED and self.plan.steps[step_no].is_optional
        )

    def output(self, step_no: int) -> Any:
        """The output of a settled step, decoded anew for each reader, so that none can change another's."""
        output = self.steps[step_no].output
        return None if output is None else msgspec.json.decode(output)

    def outputs(self) -> dict[str, Any]:
        """The outputs of completed and of failed optional steps (null), by key."""
        graph = self.plan.steps[: self.size]
        return {step.key: self.output(step.no) for step in graph if self.is_met(step.no)}

    def describe(self) -> dict[str, Any]:
        """The answer to a query: where everything stands, as plain values."""
        return describe(self)
