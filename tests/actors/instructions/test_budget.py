"""Whether there is room in a budget, and what may be reported."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.actors.instructions.budget import NOTHING, InvalidUsage, Room, checked, room_for, shown
from perdure.store.usage import Limits, Usage

TENTH = Usage(cost=0.1)
AMOUNTS = st.builds(
    Usage, cost=st.integers(0, 10**12).map(lambda nanos: nanos / 10**9), tokens=st.integers(0, 10**6)
)


def test_three_tenths_fit_into_three_tenths():
    """Money is added in billionths, not in binary fractions."""
    used = TENTH + TENTH
    assert room_for(TENTH, used=used, reserved=NOTHING, limits=Limits(cost=0.3)) is Room.ENOUGH
    assert (used + TENTH).cost == 0.3


@pytest.mark.parametrize(
    ("estimate", "used", "reserved", "room"),
    [
        (None, Usage(cost=0.9), NOTHING, Room.ENOUGH),
        (None, Usage(cost=1), NOTHING, Room.NONE),
        (Usage(), Usage(cost=1), NOTHING, Room.ENOUGH),
        (Usage(), Usage(cost=1.1), NOTHING, Room.NONE),
        (Usage(cost=0.5), Usage(cost=0.5), NOTHING, Room.ENOUGH),
        (Usage(cost=0.5), Usage(cost=0.6), NOTHING, Room.NONE),
        (Usage(cost=0.5), Usage(cost=0.4), Usage(cost=0.2), Room.LATER),
        (None, Usage(cost=0.4), Usage(cost=0.6), Room.LATER),
        (None, Usage(tokens=99), NOTHING, Room.ENOUGH),
        (None, Usage(tokens=100), NOTHING, Room.NONE),
        (Usage(tokens=2), Usage(tokens=99), NOTHING, Room.NONE),
    ],
)
def test_a_step_begins_while_what_it_declares_fits_in(
    estimate: Usage | None, used: Usage, reserved: Usage, room: Room
):
    """And one that declares nothing while anything is left; one that declares to be free, to the last."""
    assert room_for(estimate, used=used, reserved=reserved, limits=Limits(cost=1, tokens=100)) is room


@given(AMOUNTS, AMOUNTS, AMOUNTS, AMOUNTS)
def test_what_was_let_begin_never_exceeds_the_budget_as_declared(
    estimate: Usage, used: Usage, reserved: Usage, most: Usage
):
    """ENOUGH means that all together fits; NONE that waiting would not help."""
    limits = Limits(cost=most.cost, tokens=most.tokens)
    room = room_for(estimate, used=used, reserved=reserved, limits=limits)
    together = used + reserved + estimate
    fits = together.cost_nanos <= most.cost_nanos and together.tokens <= most.tokens
    assert fits is (room is Room.ENOUGH)
    if room is Room.LATER:
        assert room_for(estimate, used=used, reserved=NOTHING, limits=limits) is Room.ENOUGH


@pytest.mark.parametrize(
    ("cost", "tokens"),
    [(-1, 0), (float("nan"), 0), (float("inf"), 0), (True, 0), ("1", 0), (0, 1.5), (0, -1)],
)
def test_what_is_no_amount_is_refused(cost: Any, tokens: Any):
    """At the place where it is reported."""
    with pytest.raises(InvalidUsage, match="give a"):
        checked(cost, tokens)


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (Usage(cost=0.25), "0.25"),
        (Usage(cost=1, tokens=1_200), "1 and 1,200 tokens"),
        (Limits(tokens=5), "5 tokens"),
        (Limits(), "no limit"),
        (Usage(), "0"),
    ],
)
def test_an_amount_is_shown_as_people_write_it(amount: Usage | Limits, text: str):
    """No trailing noughts, no unit nobody named."""
    assert shown(amount) == text
