"""A bench for the pure machine: plans from a list of needs, and an actor without a loop.

`Bench` stands in for the execution's actor: it carries out what the planner decides on rows in memory,
and after every single turn asks whether folding them gives the state it holds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from bench_rows import BEGIN_MS, Rows, moment_of

from perdure.actors.decider import commands, planner, reopening
from perdure.actors.decider.kinds import children, looping
from perdure.actors.effects.orders import Ring, StartChild, UndoChild
from perdure.actors.effects.turn import Asker, InterruptSteps, Launch, Respond, Turn
from perdure.actors.instructions.plan import Hook, Plan, PlannedStep
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
from perdure.store.errors import DuplicateCommand
from perdure.store.records import (
    Error,
)
from perdure.store.states import (
    Role,
    State,
)
from perdure.store.usage import Usage
from perdure.store.writes import WARN_TIMER

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
                key: moment_of(due_at) for key, due_at in self.rows.timers.items()
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
