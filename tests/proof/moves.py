"""Drives the pure machine with random moves, and holds every one of them against the model.

A program of its own: `python moves.py --seed N --count TRANSITIONS` prints what it did as JSON; a
life that went wrong is told with the line that repeats it. The machine decides over rows in memory
(`tests/actors/bench.py`), so there is no loop and no file; a transition is one change of an
execution that those rows have taken.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from pathlib import Path
from typing import Any, Final

import msgspec

sys.path.insert(0, str(Path(__file__).parents[1] / "actors"))

from bench import BEGIN_MS, Bench, make_plan
from model import Model
from modelled_states import ENDS, TAKEN_IN
from modelled_step import Step

from perdure.actors.instructions.plan import RetryPolicy, Scheduling
from perdure.actors.messages import (
    AnyCommand,
    Cancel,
    Completed,
    Failed,
    Interrupted,
    Pause,
    PauseMode,
    Restore,
    Resume,
    Retry,
    Signal,
    TakeCheckpoint,
    UpdateContext,
)
from perdure.store.records import Error
from perdure.store.states import State

WISHES: Final = tuple(TAKEN_IN)
FUTILE: Final = 0.15  # how likely a wish is drawn from all there are, and not from what will be taken
STEPS_MAX: Final = 7
MOVES_MAX: Final = 80
DULL: Final = 0.3  # how likely an execution that is completed, which nothing reopens, is left alone
FOLDS_EVERY: Final = 5  # turns; a crash folds the rows as well
CHANCE: Final = 0.5  # what the machine is given for jitter: half of each delay
RUNNING: Final = (State.SCHEDULING, State.EXECUTING, State.AWAITING_COMPLETION)
WORDS: Final = {state: "running" if state in RUNNING else state.value for state in State}  # the model's


class Ran(msgspec.Struct, frozen=True, kw_only=True):
    """What a run has done."""

    lives: int
    moves: int
    transitions: int
    seconds: float


class LifeFailed(AssertionError):
    """A life went wrong; says which, and how to live it again."""


def run_plain(seed: int, count: int) -> Ran:
    """Live lives until `count` transitions have been taken. Raises LifeFailed."""
    begun = time.perf_counter()
    lives = moves = transitions = 0
    while transitions < count:
        life = Life(f"{seed}/{lives}")
        life.live()
        lives += 1
        moves += life.moves
        transitions += life.bench.rows.version
    seconds = round(time.perf_counter() - begun, 1)
    return Ran(lives=lives, moves=moves, transitions=transitions, seconds=seconds)


class Life:
    """One execution, in the machine and in the model."""

    def __init__(self, seed: str) -> None:
        """Draw a workflow."""
        self.seed = seed
        self.moves = 0
        self.log: list[str] = []
        self.chance = chance = random.Random(seed)
        width = chance.choice((1, 2, 3))
        drawn = [self._draw_step(no, width) for no in range(chance.randint(1, STEPS_MAX))]
        options = {
            "parallelism": chance.choice((None, None, 1, 2)),
            "continue_on_error": chance.random() < 0.4,
            "timeout_ms": chance.choice((None, None, 300, 5_000)),
        }
        eager = chance.random() < 0.5
        plan = make_plan(
            [step.needs for step, _ in drawn],
            steps={no: planned for no, (_, planned) in enumerate(drawn)},
            scheduling=Scheduling.EAGER if eager else Scheduling.LEVEL,
            **options,
        )
        self.bench = Bench(plan, context={"a": 1}, chance=CHANCE)
        self.model = Model([step for step, _ in drawn], eager=eager, context={"a": 1}, **options)
        self.bench.folds_every = FOLDS_EVERY
        self.model.now = BEGIN_MS
        self.told: list[Any] = []
        self.version = 0

    def live(self) -> None:
        """Through random moves, then without faults to the end."""
        try:
            self.begin()
            for _ in range(self.chance.randint(1, MOVES_MAX)):
                if self.model.state == "completed" and self.chance.random() < DULL:
                    break
                self.do(self.chance.choices(*MOVES[self._mood()])[0])
            self.finish()
        except Exception as error:
            again = f"python tests/proof/moves.py --life {self.seed}"
            stand = f"machine: {self.bench.state.describe()}\nmodel: {self.model}"
            raise LifeFailed(
                f"{again}: {error!r} after\n  " + "\n  ".join(self.log[-12:]) + f"\n{stand}"
            ) from error

    def finish(self) -> None:
        """No more faults: it has to come to its end."""
        for _ in range(len(self.model.steps) * 12 + 20):
            if self.model.state in ENDS:
                return
            self.do(Life.go_on)
        raise AssertionError(f"it never ends: {self.model.state}")

    def begin(self) -> None:
        """Start it, or let it wait for its turn first."""
        bench, model = self.bench, self.model
        if self.chance.random() < 0.2:
            model.remaining = self.chance.choice((None, 200))
            bench.enqueue(remaining_ms=model.remaining).take_up()
            model.is_taken_up(died=False)
        else:
            bench.start()
            model.begin()
        self._compare()

    def _mood(self) -> str:
        if self.model.state in ENDS | {"paused"}:
            return "at rest"
        return "at work" if self.model.bodies else "waiting"

    def do(self, move: Any) -> None:
        """One move of both, and the comparison."""
        self.moves += 1
        self.bench.started.clear()
        self.log.append(f"{move.__name__} in {self.model.state}")
        move(self)
        self._compare()

    def end_body(self) -> None:
        """A body ends, in whatever way; so may a thread that was left behind."""
        bench, model, chance = self.bench, self.model, self.chance
        if model.threads and chance.random() < 0.5:
            no = chance.choice(sorted(model.threads))
            bench.end_thread(no)
            model.thread_ends(no)
            return
        if not model.bodies:
            return
        no = chance.choice(sorted(model.bodies))
        if no in model.asked_to_stop and chance.random() < 0.7:
            self._unwind(no)
        elif chance.random() < 0.35:
            retryable, lingers = chance.random() < 0.8, chance.random() < 0.2
            error = Error(type="ValueError", message="no")
            bench.report(no, Failed(error, ("ValueError",), may_retry=retryable), lingers=lingers)
            model.report(no, "failed", retryable=retryable, lingers=lingers)
        else:
            self._complete(no)

    def pass_time(self) -> None:
        """Some time passes."""
        ms = self.chance.choice((0, 1, 9, 60, 400))
        self.log[-1] += f" {ms}"
        self.bench.advance(ms)
        self.model.tick(ms)

    def crash(self) -> None:
        """The process dies, or another one takes over."""
        died, held = self.chance.random() < 0.5, self.chance.random() < 0.3
        self.log[-1] += f" died={died} held={held}"
        self.told.clear()
        self.model.is_taken_up(died=died, held=held)
        self.bench.take_up(died=died, launches=not held)

    def shut_down(self) -> None:
        """In good order; until everything has unwound, commands still come."""
        self.bench.shut_down()
        self.model.closes()

    def command(self) -> None:
        """Somebody wants something, lawful or not, stale or said before."""
        bench, model, chance = self.bench, self.model, self.chance
        own: dict[str, Any] = {"id": bench.id(), "by": "tester"}
        if model.commands and chance.random() < 0.1:
            own["id"] = chance.choice(sorted(model.commands))
        is_stale = chance.random() < 0.1
        if is_stale or chance.random() < 0.1:
            own["expected_version"] = bench.rows.version - is_stale
        kind, command, what = self._draw_command(own)
        self.log[-1] += f" {kind} {own['id']} {what} stale={is_stale}"
        message_no = chance.randrange(1, 10**6) if chance.random() < 0.2 else None
        waiting = len(bench.waiters)
        told = bench.tell(command, message_no=message_no)
        expected = model.command(kind, id=own["id"], stale=is_stale, **what)
        if message_no is None and expected != "DuplicateCommand":
            assert _word(told) == expected, f"told {told}, expected {expected}"
        if expected in {"Conflict", "IllegalTransition"}:
            assert not bench.started or waiting == len(bench.waiters)

    def go_on(self) -> None:
        """Whatever takes it nearer to its end."""
        bench, model = self.bench, self.model
        if model.state == "paused":
            command_id = bench.id()
            bench.tell(Resume(id=command_id))
            model.command("resume", id=command_id)
        elif model.asked_to_stop:
            self._unwind(min(model.asked_to_stop))
        elif model.bodies:
            self._complete(min(model.bodies))
        elif model.is_closing:
            self.crash()
        elif model.threads:
            no = min(model.threads)
            bench.end_thread(no)
            model.thread_ends(no)
        else:
            times = [step.due for step in model.steps if step.due is not None]
            ms = max(0, min(times, default=bench.now) - bench.now)
            bench.advance(ms)
            model.tick(ms)

    def _complete(self, no: int) -> None:
        output = self.chance.randrange(100)
        self.bench.report(no, Completed(b"%d" % output))
        self.model.report(no, "completed", output=b"%d" % output)

    def _unwind(self, no: int) -> None:
        self.bench.report(no, Interrupted(self.bench.interrupts[no]))
        self.model.report(no, "interrupted")

    def _draw_step(self, no: int, width: int) -> tuple[Step, dict[str, Any]]:
        """The same step for the model and for the machine, mostly plain."""
        chance = self.chance
        needs = sorted(chance.sample(range(no), min(no, chance.randint(0, width))))
        retries, delay_ms = chance.choice((0, 0, 1, 3)), chance.choice((0, 10, 100))
        jitter = chance.random() < 0.5
        shared = {"is_optional": chance.random() < 0.15, "is_parallel": chance.random() < 0.85}
        retry = RetryPolicy(max_retries=retries, delay_ms=delay_ms, jitter=jitter)
        step = Step(needs, retries=retries, delay_ms=delay_ms * (CHANCE if jitter else 1), **shared)
        return step, {"retry": retry} | shared

    def _draw_command(self, own: dict[str, Any]) -> tuple[str, AnyCommand, dict[str, Any]]:
        chance = self.chance
        mode = chance.choice(tuple(PauseMode))
        patch = {"b": chance.randrange(9)}
        version = chance.choice(sorted(self.bench.rows.checkpoints) or [None])
        futile = chance.random() < FUTILE
        match chance.choice(WISHES if futile else FIT[self.model.state]):
            case "pause":
                return "pause", Pause(mode=mode, **own), {"interrupt": mode is PauseMode.INTERRUPT}
            case "resume":
                return "resume", Resume(data=patch, **own), {"data": patch}
            case "cancel":
                return "cancel", Cancel(**own), {}
            case "update":
                return "update", UpdateContext(patch=patch, **own), {"data": patch}
            case "checkpoint":
                return "checkpoint", TakeCheckpoint(label="here", **own), {}
            case "retry":
                return "retry", Retry(**own), {}
            case "restore" if version is not None:
                return "restore", Restore(checkpoint=version, **own), {"version": version}
            case _:
                return "signal", Signal(name="go", payload=[1], **own), {}

    def _compare(self) -> None:
        """Everything the model knows, in memory and in the rows."""
        bench, model = self.bench, self.model
        model.starts(bench.started)
        model.check_busy()
        state, rows = bench.state, bench.rows
        assert WORDS[state.state] == model.state, f"{state.state}, not {model.state}"
        assert rows.state is state.state
        steps = [
            (run.state.value, run.generation, run.attempt, run.lineage, run.due_at, run.output)
            for run in state.steps
        ]
        assert steps == model.picture(), f"{steps}\nnot {model.picture()}"
        assert (state.context, state.deadline_at, state.remaining_ms, state.resume_count) == (
            model.context,
            model.deadline,
            model.remaining,
            model.resumes,
        )
        assert set(bench.bodies) == model.bodies
        assert set(bench.interrupts) == model.asked_to_stop
        assert len(bench.waiters) == model.waiters
        assert bool(state.error) == bool(model.error)
        assert self.version <= rows.version <= self.version + 2
        self.version = rows.version
        model.remember(rows.version)


FIT: Final = {
    state: [wish for wish in WISHES if state in TAKEN_IN[wish]] or WISHES
    for state in {*ENDS, *frozenset().union(*TAKEN_IN.values())}
}
KINDS: Final = (Life.end_body, Life.pass_time, Life.command, Life.crash, Life.shut_down)
MOVES: Final = {
    "at work": (KINDS, (10, 2, 6, 1, 0.3)),
    "waiting": (KINDS, (1, 10, 6, 1, 0.3)),
    "at rest": (KINDS, (0, 1, 20, 1, 0.3)),
}


def _word(told: Any) -> str | None:
    """An answer as the model speaks of it."""
    if told is None or isinstance(told, Exception):
        return None if told is None else type(told).__name__
    return WORDS[told.state]


def main() -> None:
    """Run, and print what was done."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=10_000, help="so many transitions")
    parser.add_argument("--life", help="this life only (SEED/NUMBER)")
    options = parser.parse_args()
    if options.life:
        life = Life(options.life)
        life.live()
        print("\n".join(life.log))
        return
    print(json.dumps(msgspec.to_builtins(run_plain(options.seed, options.count))))


if __name__ == "__main__":
    main()
