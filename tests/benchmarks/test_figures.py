"""Medians, percentiles and shares of the floor."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.figures import Spread, percentile, share, shares

VALUES = st.lists(st.floats(min_value=0.001, max_value=1e6), min_size=1)


def test_a_spread_is_the_middle_and_both_ends():
    """Also of an even number of rounds."""
    assert Spread.of([4.0, 1.0, 2.0, 3.0]) == Spread(median=2.5, min=1.0, max=4.0)


def test_the_99th_percentile_of_a_hundred_values_is_the_second_largest():
    """Nearest rank: always a value that was measured."""
    assert percentile(list(range(1, 101)), 99) == 99


def test_the_percentile_of_one_value_is_that_value():
    """However small the percentage."""
    assert percentile([7.0], 1) == 7.0


@given(VALUES, st.floats(min_value=0, max_value=100))
def test_at_least_so_many_percent_do_not_exceed_the_percentile(values: list[float], percent: float):
    """The definition, over any values."""
    limit = percentile(values, percent)
    assert sum(value <= limit for value in values) >= len(values) * percent / 100
    assert limit in values


@pytest.mark.parametrize(("more_is_better", "expected"), [(True, 0.5), (False, 2.0)])
def test_a_share_above_one_is_faster_than_the_floor(*, more_is_better: bool, expected: float):
    """Half the rate is half the speed; half the time is twice the speed."""
    assert share(5.0, 10.0, more_is_better=more_is_better) == expected


def test_shares_pair_the_rounds_so_that_a_slow_moment_hits_both():
    """A machine that is three times as slow in the second round changes no share."""
    assert shares([10.0, 30.0], [5.0, 15.0], more_is_better=False) == Spread(median=0.5, min=0.5, max=0.5)
