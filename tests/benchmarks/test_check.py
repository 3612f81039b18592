"""A loss that stays fails the check; noise, gains and what is new do not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.check import TRIES, losses, lost, shares_of

KEY = ("W2", "1,000 × 10", "perdure", "power", "steps_per_s")
Make = Callable[..., Any]


def test_a_share_sixteen_percent_lower_is_lost():
    """The limit is a ratio of ratios."""
    (loss,) = losses({KEY: 0.50}, {KEY: 0.42})
    assert str(loss) == "W2 1,000 × 10 power, steps_per_s: 42.0% of the floor, was 50.0% (-16%)"


def test_fourteen_percent_may_be_noise():
    """Nothing is said below the limit."""
    assert losses({KEY: 0.50}, {KEY: 0.43}) == []


def test_what_the_baseline_does_not_know_is_no_loss():
    """A new question has nothing to be compared with."""
    assert losses({}, {KEY: 0.01}) == []


def test_a_bad_moment_is_measured_again():
    """The best of the tries counts, and nothing more is measured once it is good enough."""
    measured = iter([0.30, 0.49, 0.10])
    assert lost({KEY: 0.50}, lambda: {KEY: next(measured)}) == []
    assert next(measured) == 0.10


def test_a_loss_that_stays_through_all_tries_is_reported():
    """With the best share that was seen."""
    measured = iter([0.30, 0.40, 0.20])
    (loss,) = lost({KEY: 0.50}, lambda: {KEY: next(measured)})
    assert (loss.before, loss.now) == (0.50, 0.40)
    assert next(measured, None) is None
    assert TRIES == 3


def test_only_results_with_a_floor_beside_them_are_compared(result: Make):
    """The floor itself has no share of itself."""
    found = [result(share=0.4), result(contender="floor")]
    assert shares_of(found) == {KEY: 0.4}
