"""The law of states: complete, closed, and walked the same way by a second walker."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.store.errors import NotFound
from perdure.store.states import (
    PASSING,
    SETTLED_STEP,
    STATES_OF,
    STATUS,
    STEP_TRANSITIONS,
    TERMINAL,
    TRANSITIONS,
    State,
    Status,
    StepState,
    can_become,
    status_named,
    step_can_become,
)

LEAVES_A_TERMINAL_STATE = {State.COMPENSATING, State.SCHEDULING, State.RESTORING_CHECKPOINT}


def reachable(start: State) -> set[State]:
    """Where one written move may lead, found level by level: past passing states, never past others."""
    reached = set(TRANSITIONS[start])
    while True:
        further = {after for state in reached & PASSING for after in TRANSITIONS[state]} - reached
        if not further:
            return reached
        reached |= further


def test_the_tables_know_every_state():
    """No state is without a row, and no row leads to what is no state."""
    assert set(TRANSITIONS) == set(STATUS) == set(State)
    assert set(STEP_TRANSITIONS) == set(StepState)
    assert set(STATES_OF) == set(Status)
    assert set().union(*STATES_OF.values()) == set(State)
    assert all(state in STATES_OF[state.status] for state in State)


@given(st.sampled_from(State), st.sampled_from(State))
def test_one_change_leads_exactly_where_the_table_leads_past_passing_states(before: State, after: State):
    """`can_become` agrees with a breadth-first walk written without looking at it."""
    expected = after in reachable(before) or (before is after and before not in TERMINAL)
    assert can_become(before, after) is expected


@pytest.mark.parametrize("terminal", sorted(TERMINAL))
def test_a_terminal_state_is_left_only_by_the_explicit_commands(terminal: State):
    """Retry, restore and rollback lead out; nothing else does."""
    assert TRANSITIONS[terminal] <= LEAVES_A_TERMINAL_STATE


@pytest.mark.parametrize("final", [State.COMPLETED, State.ROLLED_BACK])
def test_what_has_ended_for_good_takes_no_change_that_stays(final: State):
    """A failed or cancelled execution may be reopened and come to the same end within one change."""
    assert not can_become(final, final)
    assert can_become(State.FAILED, State.FAILED)


def test_what_was_rolled_back_or_completed_never_runs_again():
    """Of the terminal states only failed and cancelled can be reopened."""
    running = {State.SCHEDULING, State.EXECUTING, State.AWAITING_COMPLETION}
    assert not any(can_become(State.ROLLED_BACK, after) for after in State)
    assert not any(can_become(State.COMPLETED, after) for after in running)
    assert all(can_become(State.FAILED, after) for after in running)


def test_every_state_can_come_to_an_end():
    """From everywhere but the end a walk leads to an end."""
    for start in State:
        seen, ends = {start}, [start]
        while ends:
            found = TRANSITIONS[ends.pop()] - seen
            seen |= found
            ends += found
        assert seen & TERMINAL


def test_paused_is_not_terminal():
    """It may be resumed, restored, cancelled or rolled back."""
    assert State.PAUSED not in TERMINAL
    assert can_become(State.PAUSED, State.EXECUTING)
    assert can_become(State.PAUSED, State.CANCELLED)


@pytest.mark.parametrize("settled", sorted(SETTLED_STEP - {StepState.COMPLETED}))
def test_a_settled_step_moves_no_more(settled: StepState):
    """It is reopened in a new generation, which is a new row."""
    assert not any(step_can_become(settled, after) for after in StepState)


def test_a_completed_step_can_only_be_compensated():
    """And that is all."""
    allowed = {after for after in StepState if step_can_become(StepState.COMPLETED, after)}
    assert allowed == {StepState.COMPENSATED}


@pytest.mark.parametrize("status", list(Status))
def test_a_status_is_known_by_its_exact_name(status: Status):
    """As it is printed, so it is read."""
    assert status_named(str(status)) is status


@pytest.mark.parametrize(
    "text", ["", "Paused", "PAUSED", " paused", "success", "in_progress", None, 1, b"paused"]
)
def test_any_other_text_is_refused_by_name(text: object):
    """Nothing is guessed or mapped; the refusal names what there is."""
    with pytest.raises(NotFound, match="there are: initiated, running, paused"):
        status_named(text)
