"""Levels, order and circles, against slower definitions of the same."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from perdure.runtime.language.graph import (
    CYCLES_MAX,
    by_level,
    cycles_of,
    dependents_of,
    level_of,
    not_ancestors,
    order_of,
)

LONG = 50_000


@st.composite
def graphs(draw: st.DrawFn) -> list[list[int]]:
    """Graphs without circles: each step needs some of those before it."""
    count = draw(st.integers(1, 12))
    return [draw(st.lists(st.integers(0, no - 1), unique=True) if no else st.just([])) for no in range(count)]


@given(graphs())
def test_every_step_comes_after_its_needs_and_one_level_above_the_highest(needs):
    """The order respects the needs; a level is the longest path."""
    order = order_of(needs)
    assert sorted(order) == list(range(len(needs)))
    assert all(order.index(need) < order.index(no) for no in order for need in needs[no])
    level = level_of(needs, order)
    assert all(level[no] == max((level[need] + 1 for need in needs[no]), default=0) for no in order)
    assert sorted(no for each in by_level(level) for no in each) == sorted(order)


@given(graphs())
def test_dependents_are_needs_turned_round(needs):
    """Step b is a dependent of a exactly when b needs a."""
    found = {(need, no) for need, each in enumerate(dependents_of(needs)) for no in each}
    assert found == {(need, no) for no, each in enumerate(needs) for need in each}


@given(graphs())
def test_ancestors_are_told_by_paths(needs):
    """Whoever is not reachable over needs is not an ancestor."""
    above: list[set[int]] = []
    for each in needs:
        above.append(set(each).union(*(above[need] for need in each)))
    pairs = [(no, other) for no in range(len(needs)) for other in range(len(needs))]
    expected = {(no, other) for no, other in pairs if other not in above[no]}
    assert not_ancestors(needs, order_of(needs), pairs) == expected


def test_the_order_is_that_of_the_file_where_needs_allow():
    """Steps keep their places unless a need moves them."""
    assert order_of([[2], [], [], []]) == [1, 2, 0, 3]


@given(st.integers(2, 8).flatmap(lambda n: st.lists(st.lists(st.integers(0, n - 1)), min_size=n, max_size=n)))
def test_a_circle_is_found_exactly_when_there_is_one_and_is_one(needs):
    """Every reported circle follows needs and repeats no step."""
    needs = [[need for need in each if need != no] for no, each in enumerate(needs)]
    cycles = cycles_of(needs)
    assert bool(cycles) == (len(order_of(needs)) < len(needs))
    for cycle in cycles:
        assert len(set(cycle)) == len(cycle)
        assert all(after in needs[before] for before, after in zip(cycle, cycle[1:] + cycle[:1], strict=True))


def test_two_circles_through_one_step_are_both_reported():
    """Both a ↔ b and a ↔ c are two circles."""
    assert cycles_of([[1, 2], [0], [0]]) == [[0, 1], [0, 2]]


def test_no_more_circles_are_followed_than_anybody_reads():
    """A graph in which everybody needs everybody is answered soon."""
    count = 100
    needs = [[other for other in range(count) if other != no] for no in range(count)]
    assert len(cycles_of(needs)) == CYCLES_MAX


def test_a_chain_of_fifty_thousand_steps_has_as_many_levels():
    """Nothing recurses."""
    needs = [[no - 1] if no else [] for no in range(LONG)]
    order = order_of(needs)
    assert level_of(needs, order)[-1] == LONG - 1
    assert not_ancestors(needs, order, [(LONG - 1, 0), (0, LONG - 1)]) == {(0, LONG - 1)}


def test_a_circle_of_fifty_thousand_steps_is_found():
    """The walk is a loop."""
    (cycle,) = cycles_of([[(no + 1) % LONG] for no in range(LONG)])
    assert cycle == list(range(LONG))
