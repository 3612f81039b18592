"""What is decided about moments that have come: every one of them, and each once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.runtime.schedules.policy import (
    LATE_MS,
    MOMENTS_MAX,
    QUEUE_LOOK_MS,
    Decision,
    Standing,
    decide,
    execution_id,
)
from perdure.runtime.schedules.rule import Missed, Overlap, Rule

HOUR = 3_600_000
NOON = 500_000 * HOUR


def hourly(
    missed: Missed = Missed.LATEST, overlap: Overlap = Overlap.ALLOW, *, window: int = 24 * HOUR
) -> Rule:
    """A rule for every full hour."""
    return Rule(every_ms=HOUR, missed=missed, overlap=overlap, missed_window_ms=window)


def after(hours: float, rule: Rule, *, is_active: bool = False, pending: tuple[int, ...] = ()) -> Decision:
    """What is decided so many hours after noon, at which the last moment was decided."""
    standing = Standing(id="s", considered_at=NOON, pending=pending, is_last_active=is_active)
    return decide(rule, standing, now=NOON + round(hours * HOUR))


def told(decision: Decision) -> list[tuple[float, str, int]]:
    """The firings, as hours after noon."""
    return [((one.due_at - NOON) / HOUR, one.decision, one.count) for one in decision.firings]


def test_nothing_is_decided_before_its_time():
    """And the next look is at that time."""
    decision = after(0.99, hourly())
    assert (decision.start, decision.firings, decision.considered_at) == ((), (), NOON)
    assert decision.next_at == NOON + HOUR


def test_a_moment_that_has_come_starts_one_execution():
    """Its id says which moment it belongs to."""
    decision = after(1, hourly())
    assert told(decision) == [(1, "started", 1)]
    assert decision.firings[0].execution_id == execution_id("s", NOON + HOUR)
    assert decision.next_at == NOON + 2 * HOUR


@pytest.mark.parametrize(
    ("missed", "wanted"),
    [
        (Missed.SKIP, [(1, "missed", 5)]),
        (Missed.LATEST, [(1, "missed", 4), (5, "started", 1)]),
        (Missed.ALL, [(hour, "started", 1) for hour in range(1, 6)]),
    ],
)
def test_what_nobody_was_there_for_is_made_up_for_as_the_rule_says(
    missed: Missed, wanted: list[tuple[float, str, int]]
):
    """Half an hour past the last of five moments: all five are late."""
    assert told(after(5.5, hourly(missed))) == wanted


@pytest.mark.parametrize("late_s", [0.5, 90])
def test_of_more_than_one_look_takes_in_only_the_latest_is_made_up_for(late_s: float):
    """The moments of a whole night come in several decisions, and are one night."""
    rule = Rule(every_ms=100_000, missed_window_ms=10**12, overlap=Overlap.ALLOW)
    first = NOON // rule.every_ms * rule.every_ms
    now = first + 2 * MOMENTS_MAX * rule.every_ms + 5 * rule.every_ms + round(late_s * 1_000)
    standing, started = Standing(id="s", considered_at=first), []
    while (decision := decide(rule, standing, now=now)).firings:
        started += decision.start
        standing = Standing(id="s", considered_at=decision.considered_at)
    assert started == [first + 2 * MOMENTS_MAX * rule.every_ms + 5 * rule.every_ms]


def test_nothing_is_made_up_for_that_lies_before_the_window():
    """What is older is written down as missed."""
    decision = after(5.5, hourly(Missed.ALL, window=2 * HOUR))
    assert told(decision) == [(1, "missed", 3), (4, "started", 1), (5, "started", 1)]


def test_a_moment_met_late_by_a_minute_is_met():
    """A restart misses nothing, whatever the rule says of what is missed."""
    assert told(after(1 + LATE_MS / HOUR, hourly(Missed.SKIP))) == [(1, "started", 1)]
    assert told(after(1 + (LATE_MS + 1) / HOUR, hourly(Missed.SKIP))) == [(1, "missed", 1)]


@pytest.mark.parametrize(
    ("overlap", "wanted"),
    [
        (Overlap.ALLOW, [(1, "started", 1)]),
        (Overlap.SKIP, [(1, "skipped", 1)]),
        (Overlap.QUEUE, [(1, "queued", 1)]),
        (Overlap.REPLACE, [(1, "started", 1)]),
    ],
)
def test_what_meets_an_execution_that_goes_on_does_as_the_rule_says(
    overlap: Overlap, wanted: list[tuple[float, str, int]]
):
    """Only `replace` cancels it."""
    decision = after(1, hourly(overlap=overlap), is_active=True)
    assert told(decision) == wanted
    assert decision.cancels_last is (overlap is Overlap.REPLACE)


def test_a_queue_moves_on_one_by_one():
    """The first begins when the one before has ended; the queue looks again soon while it is not empty."""
    waiting = after(1, hourly(overlap=Overlap.QUEUE), is_active=True)
    assert waiting.next_at == NOON + HOUR + QUEUE_LOOK_MS
    moved = after(1.5, hourly(overlap=Overlap.QUEUE), pending=(NOON - HOUR, NOON))
    assert told(moved) == [(-1, "started", 1), (1, "queued", 1)]
    assert moved.pending == (NOON, NOON + HOUR)


@pytest.mark.parametrize(
    ("overlap", "wanted"),
    [
        (Overlap.ALLOW, [(-1, "started", 1), (0, "started", 1)]),
        (Overlap.SKIP, [(-1, "started", 1), (0, "skipped", 1)]),
        (Overlap.REPLACE, [(0, "started", 1), (-1, "skipped", 1)]),
    ],
)
def test_what_was_queued_is_decided_by_the_rule_there_is_now(
    overlap: Overlap, wanted: list[tuple[float, str, int]]
):
    """Another rule has come meanwhile: nothing stays queued for ever."""
    decision = after(0.5, hourly(overlap=overlap), pending=(NOON - HOUR, NOON))
    assert (told(decision), decision.pending) == (wanted, ())


RULES = st.builds(
    Rule,
    every_ms=st.integers(1_000, 10 * HOUR),
    missed=st.sampled_from(Missed),
    overlap=st.sampled_from(Overlap),
    missed_window_ms=st.integers(0, 48 * HOUR),
)


@given(RULES, st.lists(st.tuples(st.integers(0, 5 * HOUR), st.booleans()), max_size=8))
def test_every_moment_is_decided_once(rule: Rule, looks: list[tuple[int, bool]]):
    """However often, and however late, somebody looks: no gap, no moment twice, nothing started twice."""
    decided: list[int] = []
    started: list[int] = []
    standing = Standing(id="s", considered_at=NOON)
    now = NOON
    for pause_ms, is_active in looks:
        now += pause_ms
        decision = decide(rule, standing, now=now)
        queued_before = set(standing.pending)
        decided += [
            ms for one in decision.firings for ms in moments_of(rule, one.due_at, one.count, queued_before)
        ]
        started += decision.start
        standing = Standing(
            id="s",
            considered_at=decision.considered_at,
            pending=decision.pending,
            is_last_active=is_active,
        )
    assert sorted(decided) == [
        NOON // rule.every_ms * rule.every_ms + n * rule.every_ms for n in range(1, len(decided) + 1)
    ]
    assert len(set(started)) == len(started)


def moments_of(rule: Rule, due_at: int, count: int, known: set[int]) -> Iterator[int]:
    """The moments a firing speaks of, but for those that were queued before and now begin."""
    assert rule.every_ms is not None
    return (ms for ms in range(due_at, due_at + count * rule.every_ms, rule.every_ms) if ms not in known)
