"""A state in memory is what its rows fold to: after any turn, any command, any crash.

The walks give random graphs random fates: bodies complete, fail, time out and are interrupted,
commands come at any moment, the process dies. `Bench` compares memory and rows after each turn and
`Rows` refuses what the tables do not allow; once the faults stop, every execution must come to its
end.
"""

from __future__ import annotations

import os
import random
import sqlite3
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, note
from hypothesis import strategies as st

from perdure.actors.decider import planner
from perdure.actors.instructions.plan import DependenciesPolicy, RetryPolicy, Scheduling
from perdure.actors.instructions.waits import ForSignal, OnTimeout, Sleep
from perdure.actors.messages import (
    Cancel,
    Completed,
    Failed,
    Interrupted,
    Pause,
    PauseMode,
    Restore,
    RestorePoint,
    Resume,
    Retry,
    Signal,
    TakeCheckpoint,
    UpdateContext,
)
from perdure.store.records import Error, Loaded
from perdure.store.scripts import apply, reads, transitions
from perdure.store.sqlite.connection import run
from perdure.store.sqlite.migrate import migrate
from perdure.store.states import TERMINAL, State, StepState
from perdure.store.writes import (
    EXECUTION_TIMER,
    Change,
    Claim,
    Delta,
    Deregister,
    Publish,
    PublishStep,
    Register,
    Start,
)

STEPS_MAX = 9
MOVES_MAX = 60
MIRRORED = 60  # walks that a database is told of, at scale 1
SCALE = float(os.environ.get("PERDURE_PROOF_SCALE", "1"))


def draw_needs(chance: random.Random) -> list[list[int]]:
    """A random graph in which later steps need some earlier ones."""
    width = chance.choice((1, 2, 3))
    return [
        sorted(chance.sample(range(no), min(no, chance.randint(0, width))))
        for no in range(chance.randint(1, STEPS_MAX))
    ]


def draw_step(chance: random.Random) -> dict[str, Any]:
    """The options of one step, mostly plain."""
    retry = RetryPolicy(
        max_retries=chance.choice((0, 0, 1, 3)),
        delay_ms=chance.choice((0, 10, 100)),
        jitter=chance.random() < 0.5,
        retryable_errors=chance.choice(((), (), ("Wanted",))),
    )
    return {"retry": retry, "is_optional": chance.random() < 0.15, "is_parallel": chance.random() < 0.85}


def draw_wait(chance: random.Random) -> dict[str, Any]:
    """What a step waits for, if it does."""
    if chance.random() < 0.7:
        return {}
    if chance.random() < 0.4:
        delay = chance.choice((-5, 0, 9, 200))
        return {"wait": Sleep(until=lambda values, now: now + delay + values.context["a"] - 1)}
    timeout_ms = chance.choice((None, None, 9, 300))
    return {
        "wait": ForSignal(
            name=chance.choice("ab"), timeout_ms=timeout_ms, on_timeout=chance.choice(tuple(OnTimeout))
        )
    }


def draw_condition(chance: random.Random) -> dict[str, Any]:
    """Whether a step asks before it starts, and which ends let it in."""
    answer = chance.choice((None, None, None, None, True, False, "?"))
    asks = {} if answer is None else {"when": lambda _values: answer}
    return asks | {"dependencies": chance.choice(tuple(DependenciesPolicy))}


def draw_options(chance: random.Random, steps: int) -> dict[str, Any]:
    """The options of a whole plan."""
    return {
        "steps": {no: draw_step(chance) | draw_wait(chance) | draw_condition(chance) for no in range(steps)},
        "scheduling": chance.choice(tuple(Scheduling)),
        "parallelism": chance.choice((None, None, 1, 2)),
        "continue_on_error": chance.random() < 0.4,
        "timeout_ms": chance.choice((None, None, 300, 5_000)),
    }


class Mirror:
    """A real database that is told whatever the rows of a bench are told."""

    def __init__(self) -> None:
        """A new one, in memory, with one workflow of `STEPS_MAX` steps."""
        self.database = sqlite3.connect(":memory:", isolation_level=None)
        migrate(self.database, ":memory:")
        step = {"level": 0, "agent": "a", "needs": ()}
        steps = tuple(PublishStep(no=no, key=f"s{no}", **step) for no in range(STEPS_MAX))
        revision = {"name": "w", "revision": "r", "definition": b"{}", "steps": steps, "tags": (), "at": 0}
        nobody = dict.fromkeys(("version", "description", "author"))
        self.workflow_no = run(self.database, apply.publish(Publish(**revision, **nobody)))
        self.runners = 0
        self.runner_no = self._register()
        self.no = 0

    def start(self, state: State, delta: Delta, *, at: int, **times: Any) -> None:
        """Insert the execution."""
        plain = dict.fromkeys(("triggered_by", "parent_id", "agents", "deadline_at", "remaining_ms"))
        write = Start(
            id="x",
            workflow_no=self.workflow_no,
            state=state,
            runner_no=None if state is State.IDLE else self.runner_no,
            priority=0,
            trace_id="t",
            context=b'{"a":1}',
            at=at,
            delta=delta,
            **(plain | times),
        )
        self.no = run(self.database, transitions.start(write)).execution_no

    def change(self, change: Change) -> None:
        """Move it on; messages are left out, as nobody has posted them here."""
        delta = msgspec.structs.replace(change.delta, messages=())
        epoch = self.loaded().execution.epoch
        real = msgspec.structs.replace(change, execution_no=self.no, epoch=epoch, delta=delta)
        run(self.database, transitions.change(real))

    def claim(self, *, died: bool) -> None:
        """Bury the owner, or let it leave, and give the execution to another runner."""
        run(self.database, apply.deregister(Deregister(runner_no=self.runner_no, died=died)))
        self.runner_no = self._register()
        epoch = self.loaded().execution.epoch
        claim = Claim(execution_no=self.no, execution_id="x", epoch=epoch, runner_no=self.runner_no, at=0)
        run(self.database, transitions.claim(claim))

    def loaded(self) -> Loaded:
        """What the next owner is given."""
        return run(self.database, reads.load_by_no(self.no))

    def point(self, version: int) -> RestorePoint:
        """The outcomes and the context as of a version."""
        outcomes = run(self.database, reads.fold("x", version))
        context = run(self.database, reads.context_at("x", version))
        return RestorePoint(
            version, None, outcomes, context, run(self.database, reads.signals_taken("x", version))
        )

    def _register(self) -> int:
        self.runners += 1
        nothing = {"lock_path": None, "doorbell": None, "at": 0}
        entry = Register(id=f"r{self.runners}", pid=1, host="h", kind="worker", **nothing)
        return run(self.database, apply.register(entry))


class Walk:
    """One execution's random life."""

    def __init__(
        self, make_bench: Callable[..., Any], chance: random.Random, *, mirror: Mirror | None = None
    ) -> None:
        """Draw a graph and start, or queue, an execution of it; `mirror` is told the same."""
        self.chance = chance
        needs = draw_needs(chance)
        self.bench = make_bench(needs, context={"a": 1}, **draw_options(chance, len(needs)))
        self.bench.rows.mirror = mirror
        if chance.random() < 0.2:
            self.bench.enqueue(remaining_ms=chance.choice((None, 200))).take_up()
        else:
            self.bench.start()

    def go(self) -> None:
        """Live through faults, then without them until the end."""
        for _ in range(self.chance.randint(0, MOVES_MAX)):
            self.move()
            self.check()
        self.finish()

    def move(self) -> None:
        """Let one thing happen."""
        kinds = (self.end_body, self.end_body, self.end_body, self.pass_time, self.command, self.crash)
        self.chance.choice(kinds)()

    def end_body(self) -> None:
        """A body ends, one way or another; a thread that lingers may end too."""
        bench, chance = self.bench, self.chance
        if bench.state.lingering and chance.random() < 0.5:
            bench.end_thread(chance.choice(sorted(bench.state.lingering)))
            return
        if not bench.bodies:
            return
        step_no = chance.choice(sorted(bench.bodies))
        if step_no in bench.interrupts and chance.random() < 0.8:
            bench.report(step_no, Interrupted(bench.interrupts[step_no]))
        elif chance.random() < 0.35:
            name = chance.choice(("Wanted", "Other"))
            failed = Failed(Error(type=name, message="no"), (name,), may_retry=chance.random() < 0.9)
            bench.report(step_no, failed, lingers=chance.random() < 0.2)
        else:
            bench.report(step_no, Completed(b'{"n":%d}' % chance.randrange(100)))

    def pass_time(self) -> None:
        """Some time passes."""
        self.bench.advance(self.chance.choice((0, 1, 9, 60, 400)))

    def command(self) -> None:
        """Somebody wants something, legal or not."""
        bench, chance = self.bench, self.chance
        own: dict[str, Any] = {"id": bench.id(), "by": "tester"}
        applied = [event.command_id for _, event in bench.rows.events if event.command_id]
        if applied and chance.random() < 0.1:
            own["id"] = chance.choice(applied)
        if chance.random() < 0.1:
            own["expected_version"] = bench.state.version - chance.randint(0, 1)
        checkpoint = chance.choice(sorted(bench.rows.checkpoints) or [None])
        choices = [
            Pause(mode=chance.choice(tuple(PauseMode)), **own),
            Pause(mode=chance.choice(tuple(PauseMode)), **own),
            Resume(data=chance.choice((None, {"b": chance.randrange(9)})), **own),
            Resume(**own),
            Cancel(**own),
            Signal(name=chance.choice("ab"), payload=chance.randrange(9), **own),
            Signal(name=chance.choice("ab"), payload=chance.randrange(9), **own),
            UpdateContext(patch={"c": chance.randrange(9)}, **own),
            TakeCheckpoint(label="here", **own),
            Retry(**own),
        ]
        if checkpoint is not None:
            choices.append(Restore(checkpoint=checkpoint, **own))
        message_no = chance.randrange(1, 10**6) if chance.random() < 0.3 else None
        bench.tell(chance.choice(choices), message_no=message_no)

    def crash(self) -> None:
        """The process dies, or shuts down and hands the execution over."""
        bench, chance = self.bench, self.chance
        if chance.random() < 0.6:
            return
        if chance.random() < 0.5:
            bench.take_up(died=chance.random() < 0.5, launches=chance.random() < 0.7)
            return
        bench.shut_down()
        started = len(bench.started)
        while bench.bodies or chance.random() < 0.3:
            chance.choice((self.end_body, self.command))()
        assert len(bench.started) == started
        bench.take_up()

    def check(self) -> None:
        """What must hold between any two turns."""
        bench = self.bench
        state = bench.state
        assert set(bench.bodies) == state.running
        assert bench.threads == state.lingering
        awaited = {no for no, run in enumerate(state.steps) if run.state is StepState.WAITING}
        assert {no for _, no in bench.rows.timers} <= awaited | {EXECUTION_TIMER}, "a timer nobody waits for"
        limit = state.plan.parallelism
        assert limit is None or len(bench.bodies) <= limit
        alone = [no for no in bench.bodies if not state.plan.steps[no].is_parallel]
        assert not alone or len(bench.bodies) == 1
        if state.plan.scheduling is Scheduling.LEVEL:
            assert len({state.plan.steps[no].level for no in bench.bodies}) <= 1
        if state.state in TERMINAL or state.state is State.PAUSED:
            assert not bench.bodies
            assert not bench.waiters
        if state.state in TERMINAL:
            assert not bench.rows.timers
        assert all(due_at > bench.now for due_at in planner.due_times(state)), "woken again and again"

    def finish(self) -> None:
        """No more faults: it must come to its end within a bounded number of events."""
        bench = self.bench
        steps = len(bench.plan.steps)
        for _ in range(steps * 12 + 20):
            if bench.state.state in TERMINAL:
                break
            self.check()
            if bench.state.state is State.PAUSED:
                bench.tell(Resume(id=bench.id()))
            elif bench.interrupts:
                bench.unwind()
            elif bench.bodies:
                bench.complete(min(bench.bodies))
            elif bench.state.lingering:
                bench.end_thread(min(bench.state.lingering))
            elif any(isinstance(bench.plan.steps[no].wait, ForSignal) for no in bench.state.waiting):
                bench.tell(Signal(id=bench.id(), name="ab"[bench.state.version % 2]))
            else:
                bench.now = max(bench.now, min(bench.rows.timers.values(), default=0))
                bench.advance(0)
        assert bench.state.state in TERMINAL, f"{bench.state.state} with {bench.states()}"


@given(chance=st.randoms(use_true_random=False))
def test_any_life_of_an_execution_is_lawful_and_comes_to_its_end(
    make_bench: Callable[..., Any], chance: random.Random
) -> None:
    """Hypothesis looks for the smallest life that breaks a law."""
    walk = Walk(make_bench, chance)
    note(f"needs: {[step.needs for step in walk.bench.plan.steps]}")
    walk.go()


@pytest.mark.parametrize("part", range(5))
def test_a_database_keeps_what_the_rows_of_the_bench_keep(make_bench: Callable[..., Any], part: int) -> None:
    """The same lives, each change also given to SQLite: it takes them all and folds to the same."""
    for seed in range(int(part * MIRRORED * SCALE) // 5, int((part + 1) * MIRRORED * SCALE) // 5):
        mirror = Mirror()
        walk = Walk(make_bench, random.Random(seed), mirror=mirror)
        try:
            walk.go()
        except Exception as error:
            error.add_note(f"seed {seed}; log: {walk.bench.events()[-30:]}")
            raise
        finally:
            mirror.database.close()
