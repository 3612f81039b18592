"""The restart decision: two tables and a backoff."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.actors.kernel import Action, Backoff, Crash, Restart, Verdict, decide

RANDOM = st.floats(0, 1, exclude_max=True)


@pytest.mark.parametrize(
    ("restart", "crash", "action"),
    [
        (Restart.PERMANENT, None, Action.RESTART),
        (Restart.PERMANENT, Crash.TRANSIENT, Action.RESTART),
        (Restart.PERMANENT, Crash.OUTAGE, Action.RESTART),
        (Restart.PERMANENT, Crash.DETERMINISTIC, Action.ESCALATE),
        (Restart.PERMANENT, Crash.LOST, Action.DROP),
        (Restart.TRANSIENT, None, Action.STOP),
        (Restart.TRANSIENT, Crash.TRANSIENT, Action.RESTART),
        (Restart.TRANSIENT, Crash.OUTAGE, Action.RESTART),
        (Restart.TRANSIENT, Crash.DETERMINISTIC, Action.QUARANTINE),
        (Restart.TRANSIENT, Crash.LOST, Action.DROP),
        (Restart.TEMPORARY, None, Action.STOP),
        (Restart.TEMPORARY, Crash.TRANSIENT, Action.STOP),
        (Restart.TEMPORARY, Crash.OUTAGE, Action.STOP),
        (Restart.TEMPORARY, Crash.DETERMINISTIC, Action.QUARANTINE),
        (Restart.TEMPORARY, Crash.LOST, Action.DROP),
    ],
)
def test_the_first_end_is_decided_by_type_and_kind(
    restart: Restart, crash: Crash | None, action: Action
) -> None:
    """The whole table."""
    verdict = decide(restart, crash, crashes=1, intensity=5, backoff=Backoff(), random01=0.0)
    assert verdict.action is action
    assert (verdict.delay_s > 0) == (action is Action.RESTART)


@pytest.mark.parametrize(
    ("restart", "action"), [(Restart.PERMANENT, Action.ESCALATE), (Restart.TRANSIENT, Action.QUARANTINE)]
)
def test_one_crash_more_than_the_intensity_is_too_many(restart: Restart, action: Action) -> None:
    """The intensity itself is still allowed."""
    for crashes, expected in ((5, Action.RESTART), (6, action)):
        verdict = decide(
            restart, Crash.TRANSIENT, crashes=crashes, intensity=5, backoff=Backoff(), random01=0.5
        )
        assert verdict.action is expected


def test_an_outage_is_waited_out_however_long_it_lasts() -> None:
    """Without overflow, at the longest delay."""
    verdict = decide(
        Restart.TRANSIENT, Crash.OUTAGE, crashes=1_000_000, intensity=0, backoff=Backoff(), random01=0.0
    )
    assert verdict == Verdict(action=Action.RESTART, delay_s=30.0)


def test_the_delays_double_up_to_their_cap() -> None:
    """Without jitter."""
    backoff = Backoff(first_s=1, max_s=10)
    assert [backoff.delay_s(n, random01=0.0) for n in range(7)] == [0, 1, 2, 4, 8, 10, 10]


@given(
    crashes=st.integers(1, 10_000),
    first_s=st.floats(0.001, 10),
    max_s=st.floats(0.001, 1_000),
    jitter=st.floats(0, 1),
    random01=RANDOM,
)
def test_a_delay_lies_between_its_jittered_and_its_full_length(
    crashes: int, first_s: float, max_s: float, jitter: float, random01: float
) -> None:
    """And grows with the crashes when the dice fall the same."""
    backoff = Backoff(first_s=first_s, max_s=max_s, jitter=jitter)
    full = backoff.delay_s(crashes, random01=0.0)
    delay = backoff.delay_s(crashes, random01=random01)
    assert full * (1 - jitter) <= delay <= full <= max_s
    assert delay <= backoff.delay_s(crashes + 1, random01=random01)


@given(
    restart=st.sampled_from(Restart),
    crash=st.none() | st.sampled_from(Crash),
    crashes=st.integers(1, 50),
    intensity=st.integers(0, 20),
    random01=RANDOM,
)
def test_every_end_has_a_verdict_and_only_a_restart_has_a_delay(
    restart: Restart, crash: Crash | None, crashes: int, intensity: int, random01: float
) -> None:
    """No combination is forgotten."""
    verdict = decide(
        restart, crash, crashes=crashes, intensity=intensity, backoff=Backoff(), random01=random01
    )
    assert verdict.delay_s == 0 or verdict.action is Action.RESTART
