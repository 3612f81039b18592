"""The circuit of an agent: closed, open, half open, whatever the order in which things happen."""

from __future__ import annotations

from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from perdure.actors.attempt.circuit import CLOSED, Circuit, CircuitState, enter, leave
from perdure.actors.instructions.guard import CircuitPolicy

POLICY = CircuitPolicy(errors=2, window_ms=1_000, cooldown_ms=500, probes=1)


def failing(circuit: Circuit, *moments: int, policy: CircuitPolicy = POLICY) -> Circuit:
    """Steps that were let through fail at those moments."""
    for now in moments:
        circuit = leave(circuit, policy, holder="x", now=now, is_good=False)
    return circuit


def test_so_many_failures_within_the_window_open_it():
    """Fewer, or such as are farther apart, do not."""
    assert failing(CLOSED, 0).state is CircuitState.CLOSED
    assert failing(CLOSED, 0, 1_000).state is CircuitState.CLOSED
    opened = failing(CLOSED, 0, 999)
    assert (opened.state, opened.opened_at, opened.retry_at) == (CircuitState.OPEN, 999, 1_499)
    assert opened.reason == "2 attempts failed within 1 s"


def test_a_success_is_not_even_written_down():
    """A healthy agent costs nothing."""
    assert leave(CLOSED, POLICY, holder="x", now=1, is_good=True) is CLOSED
    assert enter(CLOSED, POLICY, holder="x", now=1) == (CLOSED, None)


def test_an_attempt_that_was_called_off_says_nothing():
    """A pause is not the agent's fault."""
    assert leave(CLOSED, POLICY, holder="x", now=1, is_good=None) is CLOSED


def test_a_success_that_took_too_long_is_a_failure():
    """Where the policy has a latency."""
    policy = CircuitPolicy(errors=1, latency_ms=100)
    assert leave(CLOSED, policy, holder="x", now=1, is_good=True, took_ms=100) is CLOSED
    slow = leave(CLOSED, policy, holder="x", now=1, is_good=True, took_ms=101)
    assert slow.reason == "1 attempts failed or took longer than 0.1 s within 60 s"


def test_an_open_one_lets_nobody_through_until_it_has_cooled_down():
    """And says when to ask again; stragglers change nothing."""
    opened = failing(CLOSED, 0, 0)
    assert enter(opened, POLICY, holder="a", now=499) == (opened, 500)
    assert failing(opened, 100) is opened


def test_after_that_one_probe_decides():
    """Well: it closes, with nothing remembered. Badly: it opens again, for as long."""
    half, wait = enter(failing(CLOSED, 0, 0), POLICY, holder="a", now=500)
    assert (half.state, wait) == (CircuitState.HALF_OPEN, None)
    assert enter(half, POLICY, holder="b", now=600)[1] == 1_100
    assert leave(half, POLICY, holder="a", now=700, is_good=True) == CLOSED
    again = leave(half, POLICY, holder="a", now=700, is_good=False)
    assert (again.state, again.retry_at) == (CircuitState.OPEN, 1_200)


def test_a_probe_that_was_called_off_makes_room_for_another():
    """Nobody knows more than before."""
    half, _ = enter(failing(CLOSED, 0, 0), POLICY, holder="a", now=500)
    half = leave(half, POLICY, holder="a", now=600, is_good=None)
    assert enter(half, POLICY, holder="b", now=600)[1] is None


def test_a_probe_whose_process_died_is_believed_in_for_a_while_only():
    """Then another is let through."""
    half, _ = enter(failing(CLOSED, 0, 0), POLICY, holder="a", now=500)
    assert enter(half, POLICY, holder="b", now=60_499)[1] is not None
    assert enter(half, POLICY, holder="b", now=60_500)[1] is None


def test_several_probes_have_to_succeed_where_several_are_wanted():
    """No more of them than that are let through."""
    policy = CircuitPolicy(errors=1, cooldown_ms=1, probes=2)
    circuit = failing(CLOSED, 0, policy=policy)
    for holder in "ab":
        circuit, wait = enter(circuit, policy, holder=holder, now=10)
        assert wait is None
    assert enter(circuit, policy, holder="c", now=10)[1] is not None
    circuit = leave(circuit, policy, holder="a", now=11, is_good=True)
    assert circuit.state is CircuitState.HALF_OPEN
    assert enter(circuit, policy, holder="c", now=11)[1] is not None
    assert leave(circuit, policy, holder="b", now=12, is_good=True) == CLOSED


def test_as_many_successes_as_a_new_policy_wants_have_closed_it():
    """The one it was half opened under wanted more; nobody is left who could close it."""
    half = Circuit(state=CircuitState.HALF_OPEN, successes=2)
    assert enter(half, POLICY, holder="a", now=1) == (CLOSED, None)


@pytest.mark.parametrize("state", list(CircuitState))
def test_a_circuit_is_kept_as_it_is(state: CircuitState):
    """What is written is what is read."""
    circuit = {
        CircuitState.CLOSED: failing(CLOSED, 0),
        CircuitState.OPEN: failing(CLOSED, 0, 0),
        CircuitState.HALF_OPEN: enter(failing(CLOSED, 0, 0), POLICY, holder="a", now=500)[0],
    }[state]
    assert circuit.state is state
    assert msgspec.convert(msgspec.json.decode(msgspec.json.encode(circuit)), Circuit) == circuit


@given(st.lists(st.integers(0, 2_000), max_size=40), st.integers(1, 5), st.integers(1, 3_000))
def test_it_opens_exactly_when_the_window_is_full_of_failures(gaps: list[int], errors: int, window_ms: int):
    """Compared with remembering all of them."""
    policy = CircuitPolicy(errors=errors, window_ms=window_ms)
    circuit, now, every = CLOSED, 0, list[int]()
    for gap in gaps:
        now += gap
        every.append(now)
        circuit = leave(circuit, policy, holder="x", now=now, is_good=False)
        is_full = len([at for at in every if at > now - window_ms]) >= errors
        assert (circuit.state is CircuitState.OPEN) is is_full
        if is_full:
            return


class Town(RuleBasedStateMachine):
    """Holders come, are let through or not, and end as they like, in any order, at any time."""

    policy = CircuitPolicy(errors=3, window_ms=5_000, cooldown_ms=1_000, probes=2)

    def __init__(self) -> None:
        """Nobody is inside."""
        super().__init__()
        self.now = 0
        self.circuit = CLOSED
        self.inside: list[str] = []
        self.came = 0

    @rule(ms=st.integers(0, 70_000))
    def time_passes(self, ms: int) -> None:
        """Moments, or longer than a probe is believed in."""
        self.now += ms

    @rule()
    def somebody_comes(self) -> None:
        """And is told to come again, at a moment that has not been yet, or is let through."""
        self.came += 1
        holder = f"h{self.came}"
        before = self.circuit
        self.circuit, wait = enter(before, self.policy, holder=holder, now=self.now)
        if wait is None:
            assert before.state is not CircuitState.OPEN or self.now >= (before.retry_at or 0)
            self.inside.append(holder)
        else:
            assert wait > self.now
            assert self.circuit.state is not CircuitState.CLOSED

    @precondition(lambda self: self.inside)
    @rule(which=st.randoms(use_true_random=False), is_good=st.sampled_from([True, False, None]))
    def somebody_ends(self, which: Random, *, is_good: bool | None) -> None:
        """Only a probe moves what is not closed."""
        holder = which.choice(self.inside)
        self.inside.remove(holder)
        before = self.circuit
        self.circuit = leave(before, self.policy, holder=holder, now=self.now, is_good=is_good)
        if before.state is not CircuitState.CLOSED and all(p.holder != holder for p in before.probes):
            assert self.circuit is before
        if is_good is None:
            assert self.circuit.state is before.state

    @invariant()
    def no_more_probes_than_wanted(self) -> None:
        """However many come."""
        living = [probe for probe in self.circuit.probes if probe.until > self.now]
        assert len(living) + self.circuit.successes <= self.policy.probes
        assert (self.circuit.state is CircuitState.HALF_OPEN) or not self.circuit.probes

    @invariant()
    def it_never_stays_shut_for_ever(self) -> None:
        """Whoever comes late enough is let through."""
        assert enter(self.circuit, self.policy, holder="late", now=self.now + 10_000_000)[1] is None


TestTown = Town.TestCase
TestTown.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
