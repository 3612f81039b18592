"""Who performs a step that asks for capabilities: the rule, what is written, what counts as in flight."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from perdure.actors.effects.turn import Launch
from perdure.actors.effects.workload import Workload
from perdure.actors.instructions.plan import Candidate, Mode

Make = Callable[..., Any]


def candidates(*names: str) -> dict[str, Any]:
    """A step that any of those may perform."""
    found = [
        Candidate(
            agent=name, inputs=lambda _values: {}, perform=lambda _context, _bound: None, mode=Mode.ASYNC
        )
        for name in names
    ]
    return {"candidates": lambda: found, "capabilities": ("maths",)}


def chosen(bench: Any) -> list[dict[str, Any]]:
    """What the log says of choices."""
    return [msgspec.json.decode(event.data) for _, event in bench.rows.events if event.type == "agent_chosen"]


def test_the_one_with_least_in_flight_performs_it_and_of_equals_the_first_by_name(make_bench: Make):
    """Also of those that start in one transition; the log says who, why and among whom."""
    bench = make_bench([(), (), ()], steps=dict.fromkeys(range(3), candidates("zoe", "bob"))).start()
    assert [each["agent"] for each in chosen(bench)] == ["bob", "zoe", "bob"]
    assert [each["why"] for each in chosen(bench)] == [
        "first by name of those with least in flight",
        "least in flight",
        "first by name of those with least in flight",
    ]
    assert chosen(bench)[1] == {
        "agent": "zoe",
        "capabilities": ["maths"],
        "why": "least in flight",
        "candidates": {"bob": 1, "zoe": 0},
    }
    launches = [order for order in bench.turn.orders if isinstance(order, Launch)]
    assert [order.chosen.agent for order in launches] == ["bob", "zoe", "bob"]


def test_the_choice_is_in_the_log_before_the_body_runs_and_made_anew_after_a_crash(make_bench: Make):
    """In the very transition that starts the attempt; the same attempt starts again."""
    bench = make_bench([()], steps={0: candidates("ann")}).start()
    assert bench.events() == ["workflow_started", "step_started", "agent_chosen"]
    bench.take_up(died=True)
    assert bench.events()[-2:] == ["step_started", "agent_chosen"]
    assert [each["why"] for each in chosen(bench)] == ["the only one"] * 2


def test_where_nobody_is_capable_any_more_the_body_is_left_to_say_so(make_bench: Make):
    """Nothing is chosen."""
    bench = make_bench([()], steps={0: candidates()}).start()
    assert chosen(bench) == []
    assert bench.states() == ["running"]


def test_a_step_that_names_its_agent_counts_for_it(make_bench: Make):
    """Where others may choose that one."""
    bench = make_bench([(), ()], steps={0: {"agent": "ann"}, 1: candidates("ann", "bob")}).start()
    assert [each["agent"] for each in chosen(bench)] == ["bob"]


def test_what_nobody_holds_counts_no_more():
    """A turn that is never written leaves nothing behind."""
    workload = Workload()
    held, lost = workload.take("ann"), workload.take("ann")
    assert workload.of("ann") == 2
    del lost
    gc.collect()
    assert workload.of("ann") == 1
    held.give_back()
    held.give_back()
    assert workload.of("ann") == 0


@given(st.lists(st.sampled_from("abc"), max_size=20))
def test_the_least_busy_is_never_busier_than_another(taken: list[str]):
    """Whatever is in flight."""
    workload = Workload()
    tickets = [workload.take(agent) for agent in taken]
    least = workload.least(["c", "b", "a"])
    assert (workload.of(least), least) == min((taken.count(agent), agent) for agent in "abc")
    assert len(tickets) == len(taken)
