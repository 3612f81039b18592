"""Executions that are undone in any order of what may happen: the rules hold, and they come to an end."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from perdure.actors.decider.course.ending import HOOK_OF
from perdure.actors.instructions.plan import Hook, OnFailure, RetryPolicy, Scheduling
from perdure.actors.messages import Cancel, Pause, PauseMode, Resume, Retry, Rollback
from perdure.store.states import SETTLED_STEP, TERMINAL, State

Make = Callable[..., Any]
SEEDS = 100
MOVES = 60
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


def move(bench: Any, chance: random.Random) -> None:
    """Let one thing happen."""
    what = chance.random()
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


def bring_to_an_end(bench: Any) -> None:
    """Nothing more goes wrong."""
    for _ in range(200):
        if bench.state.state in TERMINAL:
            return
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
    for seed in range(SEEDS):
        print(f"seed {seed}")
        chance = random.Random(seed)
        bench = make_bench(
            GRAPH,
            steps={1: AGAIN, 4: AGAIN},
            undo={0: {}, 2: AGAIN, 3: {}, 4: {}},
            hooks={Hook.FAILURE: {}, Hook.CANCEL: AGAIN, Hook.SUCCESS: AGAIN, Hook.FINALLY: AGAIN},
            scheduling=scheduling,
            on_failure=on_failure,
        ).start()
        for _ in range(chance.randrange(MOVES)):
            move(bench, chance)
        bring_to_an_end(bench)
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
            assert "completed" not in undoable
            assert "pending" not in bench.states()[: state.size]
        assert state.outputs().keys() <= {f"s{no}" for no in range(len(GRAPH))}
    assert ends == {State.COMPLETED, State.ROLLED_BACK, State.FAILED, State.CANCELLED}
