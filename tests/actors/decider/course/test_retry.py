"""How long, and whether, a failed attempt is followed by another."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.actors.decider.course.retry import delay_before, may_retry
from perdure.actors.instructions.plan import RetryPolicy
from perdure.actors.messages import Failed
from perdure.store.records import Error


def failed(*names: str, retryable: bool = True) -> Failed:
    """A failure by these names."""
    return Failed(Error(type="E", message=""), names, may_retry=retryable)


@pytest.mark.parametrize(
    ("retry", "expected"), [(1, 100), (2, 200), (3, 400), (4, 800), (5, 1_000), (50, 1_000)]
)
def test_the_delay_doubles_up_to_its_cap(retry: int, expected: int):
    """Each retry waits `multiplier` times as long as the one before, at most the maximum."""
    policy = RetryPolicy(delay_ms=100, multiplier=2.0, max_delay_ms=1_000, jitter=False)
    assert delay_before(policy, retry=retry, chance=0.9) == expected


@pytest.mark.parametrize(
    ("multiplier", "expected"), [(1.0, 100), (0.5, 0), (1e308, 1_000), (float("inf"), 1_000)]
)
def test_no_multiplier_overflows_however_many_retries_came_before(multiplier: float, expected: int):
    """Constant, shrinking and absurd multipliers end in a number."""
    policy = RetryPolicy(delay_ms=100, multiplier=multiplier, max_delay_ms=1_000, jitter=False)
    assert delay_before(policy, retry=1_000_000, chance=0.5) == expected


def test_no_delay_stays_none_whatever_multiplies_it():
    """Zero times infinity is zero here."""
    policy = RetryPolicy(delay_ms=0, multiplier=float("inf"), jitter=False)
    assert delay_before(policy, retry=3, chance=0.5) == 0


@given(
    delay_ms=st.integers(0, 10**400),
    multiplier=st.floats(0, sys.float_info.max),
    max_delay_ms=st.integers(0, 10**9),
    retry=st.integers(1, 10**6),
    chance=st.floats(0, 1, exclude_max=True),
)
def test_jitter_takes_a_part_of_the_delay(
    delay_ms: int, multiplier: float, max_delay_ms: int, retry: int, chance: float
):
    """Never negative, never above the plain delay, never above the cap."""
    policy = RetryPolicy(delay_ms=delay_ms, multiplier=multiplier, max_delay_ms=max_delay_ms)
    plain = RetryPolicy(delay_ms=delay_ms, multiplier=multiplier, max_delay_ms=max_delay_ms, jitter=False)
    with_jitter = delay_before(policy, retry=retry, chance=chance)
    assert 0 <= with_jitter <= delay_before(plain, retry=retry, chance=chance) <= max_delay_ms


@pytest.mark.parametrize(("attempt", "expected"), [(1, True), (2, True), (3, False)])
def test_an_attempt_is_retried_until_the_retries_are_used_up(attempt: int, expected: bool):  # noqa: FBT001
    """Two retries make three attempts."""
    assert may_retry(RetryPolicy(max_retries=2), failed(), attempt=attempt) is expected


def test_without_a_policy_nothing_is_retried():
    """The default is no retry."""
    assert not may_retry(RetryPolicy(), failed("ValueError"), attempt=1)


def test_only_named_errors_are_retried_and_a_base_class_names_its_children():
    """`retryableErrors` is compared with the error's type and its bases."""
    policy = RetryPolicy(max_retries=1, retryable_errors=("OSError",))
    assert may_retry(policy, failed("ConnectionError", "OSError", "Exception"), attempt=1)
    assert not may_retry(policy, failed("ValueError", "Exception"), attempt=1)


def test_what_can_never_succeed_is_not_retried():
    """An output that cannot be kept will not fit next time either."""
    assert not may_retry(RetryPolicy(max_retries=9), failed(retryable=False), attempt=1)
