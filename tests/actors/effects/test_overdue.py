"""Waits that last: told of once, by timers that outlive whoever set them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from perdure.actors.decider import planner
from perdure.actors.instructions.waits import ForApproval, ForSignal, OnTimeout, OnUndecided, Sleep
from perdure.actors.messages import Approve, Cancel, Pause, PauseMode, Resume, Signal
from perdure.store.states import State

Make = Callable[..., Any]
AFTER_MS = 1_000
ASKS = {"wait": ForApproval()}
LISTENS = {"wait": ForSignal(name="go")}


def told(bench: Any) -> list[tuple[int | None, Any]]:
    """The steps and data of what was told of long waits."""
    return [
        (event.step_no, msgspec.json.decode(event.data))
        for _, event in bench.rows.events
        if event.type == "waiting_long"
    ]


@pytest.fixture
def make(make_bench: Make) -> Make:
    """A bench of a workflow that tells of what lasts for a second."""
    return lambda *needs, **options: make_bench(list(needs), warn_after_ms=AFTER_MS, **options).start()


@pytest.mark.parametrize("own", [ASKS, LISTENS], ids=["approval", "signal"])
def test_a_wait_that_lasts_is_told_of_once_by_whoever_is_there_then(make: Make, own: dict[str, Any]):
    """In the log of the execution, and to those who read log lines; nothing else changes."""
    bench = make((), steps={0: own})
    since = bench.now
    bench.advance(AFTER_MS - 1)
    assert told(bench) == []
    bench.now += 500
    bench.take_up(died=True)
    ((step_no, data),) = told(bench)
    assert (step_no, data["for"]) == (0, own["wait"].describe()["for"])
    assert (data["since_ms"], data["waited_ms"]) == (since, AFTER_MS + 499)
    assert bench.turn.lines == (("waiting_long", data | {"step": "s0"}),)
    assert (bench.state.state, bench.states()) == (State.AWAITING_COMPLETION, ["waiting"])
    assert planner.may_park(bench.turn, linger_ms=10, is_closing=False)
    bench.advance(10 * AFTER_MS)
    assert len(told(bench)) == 1


def test_each_pause_that_lasts_is_told_of(make: Make):
    """Once; the execution stays where it is."""
    bench = make((), (0,))
    bench.tell(Pause(id="p"))
    bench.complete(0)
    for _ in range(2):
        bench.take_up()
        bench.advance(AFTER_MS)
    assert bench.state.state is State.PAUSED
    bench.tell(Resume(id="r"))
    bench.tell(Pause(id="q", mode=PauseMode.INTERRUPT))
    bench.unwind()
    bench.advance(2 * AFTER_MS)
    assert [(data["for"], data["waited_ms"]) for _, data in told(bench)] == [
        ("pause", AFTER_MS),
        ("pause", 2 * AFTER_MS),
    ]


def test_a_wait_that_ends_sooner_is_not_told_of(make: Make):
    """Its timer goes with it."""
    bench = make((), (), steps={0: ASKS, 1: LISTENS})
    assert set(bench.rows.timers) == {("warn", 0), ("warn", 1)}
    bench.tell(Pause(id="p"))
    assert set(bench.rows.timers) == {("warn", -1), ("warn", 0), ("warn", 1)}
    bench.tell(Resume(id="r"))
    bench.tell(Approve(id="a", step="s0", by="ann"))
    assert set(bench.rows.timers) == {("warn", 1)}
    bench.tell(Signal(id="s", name="go"))
    assert (bench.rows.timers, bench.state.warnings) == ({}, {})
    bench.advance(2 * AFTER_MS)
    assert told(bench) == []


def test_nothing_is_set_for_a_wait_that_has_less_time_or_knows_its_moment(make: Make):
    """Nor for a signal that was there before."""
    steps = {
        0: {"wait": ForApproval(timeout_ms=AFTER_MS, on_timeout=OnUndecided.SKIP)},
        1: {"wait": ForSignal(name="go", timeout_ms=AFTER_MS, on_timeout=OnTimeout.SKIP)},
        2: {"wait": Sleep(until=lambda _values, now: now + 9 * AFTER_MS)},
        4: LISTENS,
    }
    bench = make((), (), (), (), (3,), steps=steps)
    bench.tell(Signal(id="s", name="go"))
    bench.tell(Signal(id="t", name="go"))
    bench.complete(3)
    assert {kind for kind, _ in bench.rows.timers} == {"wait"}


def test_an_execution_that_is_cancelled_tells_of_nothing(make: Make):
    """No timer outlives it."""
    bench = make((), steps={0: ASKS})
    bench.tell(Pause(id="p"))
    bench.tell(Cancel(id="c"))
    assert (bench.state.state, bench.rows.timers, bench.state.warnings) == (State.CANCELLED, {}, {})


def test_each_of_two_waits_of_a_paused_execution_is_told_of(make: Make):
    """The step's, which began before, and the pause itself."""
    bench = make((), steps={0: ASKS})
    bench.advance(10)
    bench.tell(Pause(id="p"))
    bench.advance(AFTER_MS)
    assert [step_no for step_no, _ in told(bench)] == [0, None]


def test_a_workflow_may_want_to_hear_of_nothing(make_bench: Make):
    """Then there is no timer."""
    bench = make_bench([()], steps={0: ASKS}).start()
    bench.tell(Pause(id="p"))
    assert bench.rows.timers == {}
