"""Steps that are performed for each of many items: which are in flight, and what their ends mean."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from perdure.actors.instructions.breaker import Breaker, OnTrip
from perdure.actors.instructions.budget import Budget, OnExceeded
from perdure.actors.instructions.plan import ITEMS_MAX, ForEach, RetryPolicy, Scheduling
from perdure.actors.messages import (
    Cancel,
    Completed,
    Pause,
    PauseMode,
    Restore,
    Resume,
    Retry,
    TakeCheckpoint,
)
from perdure.store.records import PAYLOAD_BYTES_MAX
from perdure.store.states import State
from perdure.store.usage import Limits, Usage

Make = Callable[..., Any]
BOTH = [{}, {"scheduling": Scheduling.EAGER}]


def each(items: Any = 3, *, retries: int = 0, delay_ms: int = 0, **options: Any) -> dict[str, Any]:
    """The options of a step that goes over these items."""
    policy = RetryPolicy(max_retries=retries, delay_ms=delay_ms, jitter=False)
    return {"for_each": ForEach(items=lambda _values: items, **options), "retry": policy}


def give(bench: Any, *items: int, output: bytes | None = None) -> None:
    """The bodies of these items of step 0 return their numbers."""
    for item in items:
        bench.report((0, item), Completed(str(item).encode() if output is None else output))


@pytest.mark.parametrize("options", BOTH)
def test_a_step_is_performed_for_each_item_and_gives_the_list_of_what_they_give(
    make_bench: Make, options: dict[str, Any]
):
    """In the order of the items, whatever the order of their ends."""
    bench = make_bench([(), (0,)], steps={0: each()}, **options).start()
    assert bench.started == [(0, 0), (0, 1), (0, 2)]
    give(bench, 2, 0)
    assert bench.states() == ["running", "pending"]
    give(bench, 1)
    assert bench.states() == ["completed", "running"]
    assert bench.state.output(0) == [0, 1, 2]
    assert bench.rows.events[-2][1].type == "checkpoint_created" or options
    done = next(event for _, event in bench.rows.events if event.type == "step_completed")
    assert msgspec.json.decode(done.data) == {"items": 3, "failed": 0}
    bench.complete(1)
    assert bench.state.state is State.COMPLETED


def test_no_more_items_are_in_flight_than_may_be(make_bench: Make):
    """Whoever ends makes room for the next."""
    bench = make_bench([()], steps={0: each(1_000, max_concurrency=2)}).start()
    give(bench, 0)
    assert bench.bodies.keys() == {(0, 1), (0, 2)}
    assert len(bench.state.steps[0].loop.open) == 2
    for item in range(1, 1_000):
        give(bench, item)
    assert bench.state.output(0) == list(range(1_000))


@pytest.mark.parametrize("options", BOTH)
@pytest.mark.parametrize("nothing", [0, [], ()])
def test_a_step_without_items_completes_at_once(make_bench: Make, options: dict[str, Any], nothing: Any):
    """And so does what follows it, if it has none either."""
    bench = make_bench([(), (0,), (1,)], steps={0: each(nothing), 1: each(nothing)}, **options).start()
    assert bench.states() == ["completed", "completed", "running"]
    assert bench.state.output(1) == []


@pytest.mark.parametrize(
    ("items", "told"),
    [
        ("abc", "'abc' is no list, and no count of items"),
        (True, "True is no list"),
        (None, "None is no list"),
        ({"a": 1}, "is no list"),
        (-1, "there are -1 items"),
        (ITEMS_MAX + 1, "there are 1,000,001 items"),
        ([1, object()], "the list of items, up to 1, cannot be kept"),
        (["x" * 1_000_000] * 20, "the list of items, up to 19, is 20,000,061 bytes"),
        (["x" * 10_000] * 2_000, "the list of items, up to 1,999, is 20,006,002 bytes"),
    ],
)
def test_what_cannot_be_gone_over_fails_the_step(make_bench: Make, items: Any, told: str):
    """Before anything of it runs."""
    bench = make_bench([()], steps={0: each(items)}).start()
    assert bench.states() == ["failed"]
    assert bench.state.steps[0].error.type == "ExpressionError"
    assert told in bench.state.steps[0].error.message


def test_items_are_taken_once_and_kept(make_bench: Make):
    """A list that would be another one later, and a crash between."""
    lists = [list("abcd"), list("xyz")]
    steps = {0: {"for_each": ForEach(items=lambda _values: lists.pop(0), max_concurrency=1)}}
    bench = make_bench([()], steps=steps).start()
    bench.take_up()
    loop = bench.state.steps[0].loop
    assert [loop.item(no) for no in range(4)] == list("abcd")
    assert loop.item(0) == "a"


def test_an_item_has_the_retries_of_the_step(make_bench: Make):
    """While it waits for the next attempt it keeps its place."""
    bench = make_bench([()], steps={0: each(3, retries=1, delay_ms=500, max_concurrency=2)}).start()
    bench.fail((0, 0))
    assert bench.bodies.keys() == {(0, 1)}
    give(bench, 1)
    assert bench.bodies.keys() == {(0, 2)}
    bench.advance(500)
    assert bench.bodies.keys() == {(0, 2), (0, 0)}
    give(bench, 0, 2)
    assert bench.state.output(0) == [0, 1, 2]


def test_while_items_only_wait_for_their_next_attempts_a_row_waits(make_bench: Make):
    """Nothing is hot; the timer is that of the first of them."""
    bench = make_bench([()], steps={0: each(2, retries=1, delay_ms=60_000)}).start()
    bench.fail((0, 0))
    bench.now += 1_000
    bench.fail((0, 1))
    assert (bench.states(), bench.state.state) == (["waiting"], State.AWAITING_COMPLETION)
    bench.take_up()
    bench.advance(59_000)
    assert bench.bodies.keys() == {(0, 0)}
    give(bench, 0)
    assert bench.states() == ["waiting"]
    bench.advance(1_000)
    give(bench, 1)
    assert bench.state.output(0) == [0, 1]


def test_an_item_that_fails_for_good_fails_the_step_when_those_in_flight_have_ended(make_bench: Make):
    """No other begins; a retry goes on with it and with those that are left."""
    bench = make_bench([(), (0,)], steps={0: each(4, max_concurrency=2)}).start()
    bench.fail((0, 0))
    assert bench.bodies.keys() == {(0, 1)}
    give(bench, 1)
    assert (bench.state.state, bench.states()) == (State.FAILED, ["failed", "pending"])
    assert bench.state.steps[0].error.type == "ItemFailed"
    assert "item 0 of step 's0' failed after 1 attempt: ValueError: no" in bench.state.error.message
    bench.take_up()
    bench.tell(Retry(id="r"))
    assert bench.started == [(0, 0), (0, 1), (0, 0), (0, 2)]
    give(bench, 0, 2, 3)
    assert bench.state.output(0) == [0, 1, 2, 3]
    assert bench.rows.items.starts == {(0, 0, 0): 2, (0, 0, 1): 1, (0, 0, 2): 1, (0, 0, 3): 1}


def test_a_step_may_go_on_without_items_that_failed(make_bench: Make):
    """Their places are null, and the log says why."""
    bench = make_bench([(), (0,)], steps={0: each(3, continue_on_error=True)}).start()
    bench.fail((0, 1))
    give(bench, 0, 2)
    assert bench.states() == ["completed", "running"]
    assert bench.state.output(0) == [0, None, 2]
    failed = next(event for _, event in bench.rows.events if event.type == "item_failed")
    data = {"item": 1, "error": {"type": "ValueError", "message": "no"}, "will_retry": False}
    assert msgspec.json.decode(failed.data) == data


def test_a_list_that_is_too_long_for_a_payload_becomes_a_reference(make_bench: Make):
    """The items stay in the store; what is held in memory is let go."""
    half = b'"' + b"x" * (PAYLOAD_BYTES_MAX // 2) + b'"'
    bench = make_bench([()], steps={0: each(3, max_concurrency=1)}).start()
    give(bench, 0, output=half)
    give(bench, 1, output=half)
    bench.take_up()
    assert bench.state.steps[0].loop.outputs is None
    give(bench, 2, output=b"1")
    assert bench.state.output(0) == {
        "execution_id": "x",
        "step": "s0",
        "lineage": 0,
        "total": 3,
        "failed": 0,
        "bytes": 2 * len(half) + 1,
    }


def test_after_a_crash_what_was_in_flight_starts_again_and_nothing_else(make_bench: Make):
    """With the attempts they had."""
    bench = make_bench([()], steps={0: each(5, max_concurrency=2, retries=1)}).start()
    give(bench, 0)
    bench.fail((0, 1))
    bench.take_up(died=True)
    assert bench.bodies == {(0, 1): (0, 2), (0, 2): (0, 1)}
    give(bench, 1, 2, 3, 4)
    assert bench.state.output(0) == [0, 1, 2, 3, 4]


def test_deaths_count_for_the_items_in_flight_and_the_one_that_kills_is_found_out(make_bench: Make):
    """Two deaths make suspects; the third, with nothing else in flight, fails the item."""
    bench = make_bench([()], steps={0: each(40, max_concurrency=4, continue_on_error=True)}).start()
    give(bench, 0, 1, 2)
    bench.take_up(died=True)
    bench.take_up(died=True)
    assert bench.bodies.keys() == {(0, 6)}  # a suspect is tried before others start
    give(bench, 6)
    assert bench.bodies.keys() == {(0, 5)}
    bench.take_up(died=True)
    assert (0, 5) not in bench.bodies
    failed = [event for _, event in bench.rows.events if event.type == "item_failed"]
    assert msgspec.json.decode(failed[0].data)["error"]["type"] == "CrashBudgetExceeded"
    assert "while step 's0[5]' was running" in failed[0].data.decode()
    for item in (3, 4, *range(7, 40)):
        give(bench, item)
    assert bench.state.output(0)[5] is None


@pytest.mark.parametrize("continues", [True, False])
def test_an_item_found_out_while_a_pause_is_pending_stays_found_out(make_bench: Make, continues: bool):  # noqa: FBT001
    """Its end is in its row; the next owner does not run it again."""
    bench = make_bench([()], steps={0: each(1, continue_on_error=continues)}).start()
    bench.take_up(died=True)
    bench.take_up(died=True)
    bench.tell(Pause(id="p"))
    bench.take_up(died=True)
    bench.take_up()
    if bench.state.state is State.PAUSED:
        bench.tell(Resume(id="r"))
    assert bench.bodies == {}
    assert bench.states() == ["completed" if continues else "failed"]


@pytest.mark.parametrize("mode", ["drain", "interrupt"])
def test_a_pause_lets_no_further_item_begin_and_the_resume_goes_on(make_bench: Make, mode: str):
    """Drained or interrupted, no attempt is used up."""
    bench = make_bench([()], steps={0: each(4, max_concurrency=2)}).start()
    bench.tell(Pause(id="p", mode=PauseMode(mode)))
    if mode == "drain":
        give(bench, 0, 1)
    else:
        bench.unwind()
    assert (bench.state.state, bench.states()) == (State.PAUSED, ["pending"])
    bench.take_up()
    assert bench.bodies == {}
    bench.tell(Resume(id="r"))
    first = (2, 3) if mode == "drain" else (0, 1)
    assert bench.bodies == {(0, item): (0, 1) for item in first}
    for item in range(4):
        if (0, item) in bench.bodies:
            give(bench, item)
    assert bench.state.output(0) == [0, 1, 2, 3]


def test_a_shut_down_leaves_the_rest_to_the_next_owner(make_bench: Make):
    """What was cut off is pending, and starts again."""
    bench = make_bench([()], steps={0: each(4, max_concurrency=2)}).start()
    bench.shut_down()
    bench.unwind()
    assert bench.states() == ["pending"]
    bench.take_up()
    give(bench, 0, 1, 2, 3)
    assert bench.state.output(0) == [0, 1, 2, 3]


def test_a_cancel_ends_what_is_in_flight_and_a_retry_goes_on(make_bench: Make):
    """Items that completed are not performed again."""
    bench = make_bench([()], steps={0: each(4, max_concurrency=2)}).start()
    give(bench, 0)
    bench.tell(Cancel(id="c"))
    give(bench, 1)
    bench.unwind()
    assert (bench.state.state, bench.states()) == (State.CANCELLED, ["cancelled"])
    bench.tell(Retry(id="r"))
    assert bench.bodies == {(0, 2): (1, 1), (0, 3): (1, 1)}
    give(bench, 2, 3)
    assert bench.state.output(0) == [0, 1, 2, 3]


def test_a_cancel_while_items_wait_for_their_next_attempts_ends_at_once(make_bench: Make):
    """And the retry gives them all their attempts."""
    bench = make_bench([()], steps={0: each(1, retries=1, delay_ms=60_000)}).start()
    bench.fail((0, 0))
    bench.tell(Cancel(id="c"))
    assert (bench.state.state, bench.states()) == (State.CANCELLED, ["cancelled"])
    bench.tell(Retry(id="r"))
    assert bench.bodies == {(0, 0): (1, 1)}
    bench.fail((0, 0))
    bench.advance(60_000)
    give(bench, 0)
    assert bench.state.state is State.COMPLETED


@pytest.mark.parametrize("options", BOTH)
def test_no_item_begins_once_a_required_step_has_failed(make_bench: Make, options: dict[str, Any]):
    """Those in flight end, the step is cancelled, a retry goes on."""
    bench = make_bench([(), ()], steps={0: each(4, max_concurrency=2)}, **options).start()
    bench.fail(1)
    give(bench, 0, 1)
    assert (bench.state.state, bench.states()) == (State.FAILED, ["cancelled", "failed"])
    bench.tell(Retry(id="r"))
    give(bench, 2, 3)
    bench.complete(1)
    assert bench.state.output(0) == [0, 1, 2, 3]


def test_waits_for_next_attempts_are_called_off_by_the_failure_of_another_step(make_bench: Make):
    """Nobody waits before the execution fails."""
    bench = make_bench([(), ()], steps={0: each(1, retries=1, delay_ms=60_000)}).start()
    bench.fail((0, 0))
    bench.fail(1)
    assert (bench.state.state, bench.states()) == (State.FAILED, ["cancelled", "failed"])


def test_a_restore_into_a_loop_begins_it_anew_and_one_after_it_keeps_what_it_gave(make_bench: Make):
    """Another lineage: other keys, and the items are asked for again."""
    bench = make_bench([(), (0,)], steps={0: each(2)}).start()
    give(bench, 0)
    bench.tell(TakeCheckpoint(id="t", label="within"))
    within = max(bench.rows.checkpoints)
    give(bench, 1)
    after = max(bench.rows.checkpoints)
    bench.fail(1)
    bench.tell(Restore(id="a", checkpoint=after))
    assert bench.state.output(0) == [0, 1]
    bench.tell(Restore(id="b", checkpoint=within))
    bench.tell(Resume(id="r"))
    assert bench.bodies.keys() == {(0, 0), (0, 1)}
    assert bench.state.steps[0].lineage > 0
    give(bench, 0, 1)
    assert bench.state.output(0) == [0, 1]


def test_a_thread_that_goes_on_after_its_timeout_keeps_its_place(make_bench: Make):
    """The next attempt of the item begins when it has ended."""
    bench = make_bench([()], steps={0: each(2, retries=1, max_concurrency=1)}).start()
    bench.fail((0, 0), lingers=True)
    assert bench.bodies == {}
    assert bench.states() == ["running"]
    bench.end_thread((0, 0))
    assert bench.bodies == {(0, 0): (0, 2)}
    give(bench, 0, 1)
    assert bench.state.output(0) == [0, 1]


def test_the_log_is_told_of_each_hundredth_and_not_of_each_item(make_bench: Make):
    """A million items are no million lines."""
    bench = make_bench([()], steps={0: each(1_000, max_concurrency=50)}).start()
    for item in range(1_000):
        give(bench, item)
    assert bench.events().count("step_progressed") == 99


MOVES = ["give", "give", "give", "fail", "crash", "death", "pause", "interrupt", "resume", "wait"]
GUARDS: list[dict[str, Any]] = [
    {},
    {"budget": Budget(limits=Limits(cost=1.0))},
    {"budget": Budget(limits=Limits(cost=1.0), on_exceeded=OnExceeded.FAIL)},
    {"circuit_breaker": Breaker(errors=2, window_ms=1_500)},
    {"circuit_breaker": Breaker(errors=3, window_ms=10_000, latency_ms=900, on_trip=OnTrip.PAUSE)},
]
ENDINGS = ["cancel", "retry", "fail other", "give other"]


@example(
    moves=[("cancel", 0), ("fail", 1), ("fail", 0)],
    total=2,
    width=2,
    delay_ms=0,
    eager=False,
    continues=False,
    guard=GUARDS[0],
)
@given(
    moves=st.lists(st.tuples(st.sampled_from([*MOVES, *ENDINGS]), st.integers(0, 99)), max_size=40),
    total=st.integers(0, 6),
    width=st.integers(1, 3),
    delay_ms=st.sampled_from([0, 500]),
    eager=st.booleans(),
    continues=st.booleans(),
    guard=st.sampled_from(GUARDS),
)
@settings(deadline=None, max_examples=300)
def test_whatever_happens_each_item_completes_once_and_is_in_its_place(  # noqa: PLR0917 - drawn
    make_bench: Make,
    moves: list[tuple[str, int]],
    total: int,
    width: int,
    delay_ms: int,
    eager: bool,  # noqa: FBT001
    continues: bool,  # noqa: FBT001
    guard: dict[str, Any],
):
    """After every turn the rows fold to the state in memory; in the end nothing is missing."""
    options: dict[str, Any] = guard | ({"scheduling": Scheduling.EAGER} if eager else {})
    loop = each(total, retries=1, delay_ms=delay_ms, max_concurrency=width, continue_on_error=continues)
    loop["estimate"] = Usage(cost=0.4)
    bench = make_bench([(), ()], steps={0: loop}, **options).start()
    for move, pick in moves:
        _move(bench, move, pick)
        assert len([part for part in bench.bodies if isinstance(part, tuple)]) <= width
    for _ in range(200):
        if bench.state.state is State.COMPLETED:
            break
        for move in ("resume", "retry", "wait", "give other", "give", "unwind"):
            _move(bench, move, 0)
    assert bench.state.state is State.COMPLETED
    expected = [0 if continues and output is None else no for no, output in enumerate(bench.state.output(0))]
    assert [output or 0 for output in bench.state.output(0)] == expected


def _move(bench: Any, move: str, pick: int) -> None:  # noqa: C901, PLR0912 - a table of moves
    items = sorted(part for part in bench.bodies if isinstance(part, tuple))
    state = bench.state.state
    bench.now += 1  # what began before a breaker was reset began before that moment
    if move in {"crash", "death"}:
        if state not in {State.COMPLETED, State.FAILED, State.CANCELLED}:
            bench.take_up(died=move == "death" and pick < 20)
    elif move == "wait":
        bench.advance(1_000)
    elif move in {"pause", "interrupt"}:
        if state in {State.EXECUTING, State.AWAITING_COMPLETION}:
            bench.tell(Pause(id=bench.id(), mode=PauseMode.DRAIN if move == "pause" else PauseMode.INTERRUPT))
    elif move == "unwind":
        bench.unwind()
    elif move == "resume":
        if state in {State.PAUSED, State.PAUSING}:
            bench.tell(Resume(id=bench.id(), budget=more(bench)))
    elif move == "cancel":
        if state in {State.EXECUTING, State.AWAITING_COMPLETION, State.PAUSED}:
            bench.tell(Cancel(id=bench.id()))
    elif move == "retry":
        if state in {State.FAILED, State.CANCELLED}:
            bench.tell(Retry(id=bench.id(), budget=more(bench)))
    elif move == "give other" and 1 in bench.bodies:
        bench.complete(1)
    elif move == "fail other" and 1 in bench.bodies:
        bench.fail(1)
    elif move in {"give", "fail"} and items:
        part = items[pick % len(items)]
        if move == "give":
            bench.report(part, Completed(str(part[1]).encode()), used=Usage(cost=0.3))
        else:
            bench.fail(part)


def more(bench: Any) -> Limits | None:
    """Where there is a budget: one that has room for some more."""
    return Limits(cost=bench.state.usage.cost + 1) if bench.state.is_guarded else None
