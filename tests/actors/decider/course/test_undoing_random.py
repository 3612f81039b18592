"""Executions that are undone in any order of what may happen: the rules hold, and they come to an end."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from perdure.actors.decider.course import undoing
from perdure.actors.decider.course.ending import HOOK_OF
from perdure.actors.decider.kinds import children
from perdure.actors.instructions.plan import Hook, OnFailure, RetryPolicy, Scheduling
from perdure.actors.instructions.waits import ForChild
from perdure.actors.messages import (
    Cancel,
    ChildEnded,
    ChildStarted,
    Pause,
    PauseMode,
    Resume,
    Retry,
    Rollback,
)
from perdure.store.states import SETTLED_STEP, TERMINAL, State

Make = Callable[..., Any]
SEEDS = 100
MOVES = 60
CHILD = 3
GRAPH = [(), (), (0, 1), (2,), (2,), (3, 4)]
AGAIN = {"retry": RetryPolicy(max_retries=1, delay_ms=100, jitter=False)}
COMMANDS: list[Callable[[str], Any]] = [
    lambda id_: Pause(id=id_),
    lambda id_: Pause(id=id_, mode=PauseMode.INTERRUPT),
    lambda id_: Resume(id=id_),
    lambda id_: Resume(id=id_),
    lambda id_: Cancel(id=id_),
    lambda id_: Cancel(id=id_, compensate=True),
    lambda id_: Rollback(id=id_, reason="chance"),
    lambda id_: Rollback(id=id_, reason="chance"),
    lambda id_: Retry(id=id_),
    lambda id_: Retry(id=id_),
]


class Children:
    """The executions that the one step starts which has no compensation of its own, and how they stand."""

    def __init__(self, bench: Any) -> None:
        """None yet."""
        self.states: dict[str, State] = {}
        self._bench = bench

    def go_on(self, chance: random.Random) -> bool:
        """One is there, or has ended, or was asked to undo what it did; False where nothing is to be told."""
        bench = self._bench
        if bench.starts:
            order = bench.starts.pop()
            self.states.setdefault(order.child, State.EXECUTING)
            started = ChildStarted(step_no=order.step_no, child=order.child)
            bench.do(lambda turn: children.take_started(turn, started))
            return True
        for child in [child for child, state in self.states.items() if state is State.EXECUTING]:
            self._end(child, chance.choice([State.COMPLETED, State.COMPLETED, State.FAILED, State.CANCELLED]))
            return True
        if not bench.undone:
            return False
        child = bench.undone.pop().child
        if self.states[child] is State.ROLLED_BACK:
            bench.do(lambda turn: undoing.take_undone(turn, child, None))
        else:
            self._end(child, chance.choice([State.ROLLED_BACK, State.ROLLED_BACK, State.FAILED]))
        return True

    def _end(self, child: str, state: State) -> None:
        self.states[child] = state
        id_ = self._bench.id()
        ended = ChildEnded(id=id_, child=child, step_no=CHILD, state=state, outputs=msgspec.Raw(b"null"))
        self._bench.tell(ended)


def move(bench: Any, family: Children, chance: random.Random) -> None:
    """Let one thing happen."""
    what = chance.random()
    if what < 0.2 and family.go_on(chance):
        return
    if what < 0.55 and bench.bodies:
        step_no = chance.choice(sorted(bench.bodies))
        if step_no in bench.interrupts and chance.random() < 0.7:
            bench.unwind(step_no)
        elif chance.random() < 0.25:
            bench.fail(step_no)
        else:
            bench.complete(step_no)
    elif what < 0.75:
        bench.tell(chance.choice(COMMANDS)(bench.id()))
    elif what < 0.85:
        bench.take_up(died=chance.random() < 0.5)
    else:
        bench.advance(100)


def bring_to_an_end(bench: Any, family: Children, chance: random.Random) -> None:
    """Nobody wants anything any more."""
    for _ in range(200):
        if bench.state.state in TERMINAL:
            return
        if family.go_on(chance):
            continue
        if bench.bodies:
            step_no = min(bench.bodies)
            (bench.unwind if step_no in bench.interrupts else bench.complete)(step_no)
        elif bench.state.state is State.PAUSED:
            bench.tell(Resume(id=bench.id()))
        else:
            bench.advance(100)
    raise AssertionError(f"it hangs {bench.state.state}: {bench.states()}")


@pytest.mark.parametrize("scheduling", list(Scheduling))
@pytest.mark.parametrize("on_failure", list(OnFailure))
def test_whatever_happens_it_ends_and_what_was_rolled_back_is_undone(
    make_bench: Make, scheduling: Scheduling, on_failure: OnFailure
):
    """The bench folds its rows after each turn, and refuses what may not run beside what."""
    ends = set()
    undone_children = 0
    for seed in range(SEEDS):
        print(f"seed {seed}")
        chance = random.Random(seed)
        bench = make_bench(
            GRAPH,
            steps={1: AGAIN, 4: AGAIN, CHILD: {"wait": ForChild(workflow="c", input=lambda _values: {})}},
            undo={0: {}, 2: AGAIN, 4: {}},
            hooks={Hook.FAILURE: {}, Hook.CANCEL: AGAIN, Hook.SUCCESS: AGAIN, Hook.FINALLY: AGAIN},
            scheduling=scheduling,
            on_failure=on_failure,
        ).start()
        family = Children(bench)
        for _ in range(chance.randrange(MOVES)):
            move(bench, family, chance)
        bring_to_an_end(bench, family, chance)
        state = bench.state
        ends.add(state.state)
        assert not bench.bodies
        assert not bench.waiters
        assert "waiting" not in bench.states()
        is_undone = state.state is State.ROLLED_BACK
        hook = Hook.CANCEL if is_undone and state.error is None else HOOK_OF.get(state.state, Hook.FAILURE)
        assert {state.steps[state.plan.hooks[of]].state for of in (hook, Hook.FINALLY)} <= SETTLED_STEP
        if state.state is State.ROLLED_BACK:
            undoable = [bench.states()[step.no] for step in bench.plan.steps[: state.size] if step.undo]
            undoable.append(bench.states()[CHILD])
            assert "completed" not in undoable
            assert "pending" not in bench.states()[: state.size]
        if bench.states()[CHILD] == "compensated":
            assert family.states[state.child_of(CHILD)] is State.ROLLED_BACK
            undone_children += 1
        assert state.outputs().keys() <= {f"s{no}" for no in range(len(GRAPH))}
    assert undone_children
    assert ends == {State.COMPLETED, State.ROLLED_BACK, State.FAILED, State.CANCELLED}
