"""Pictures: well-formed, to scale, and readable on light and dark pages."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from benchmarks.drawing import LABELS, RIGHT, THEMES, WIDTH, Mark, decades, dot_plot, position
from benchmarks.figures import Spread

MARKS = [
    Mark(label="ours", spread=Spread(median=0.5, min=0.4, max=0.6), colour="ours"),
    Mark(label="slow & <old>", spread=Spread(median=240.0, min=200.0, max=300.0)),
]
SVG = "{http://www.w3.org/2000/svg}"


def test_the_axis_spans_whole_decades_around_all_ends():
    """0.4 to 300 lie between 0.1 and 1,000."""
    assert decades(MARKS) == (-1, 3)


def test_a_single_round_value_still_has_an_axis():
    """Low and high are never the same."""
    assert decades([Mark(label="one", spread=Spread(median=10.0, min=10.0, max=10.0))]) == (1, 2)


def test_each_decade_is_as_wide_as_the_next():
    """The ends of the axis are the ends of the plot."""
    assert position(0.1, -1, 3) == LABELS
    assert position(1_000.0, -1, 3) == WIDTH - RIGHT
    assert position(10.0, -1, 3) == pytest.approx((LABELS + WIDTH - RIGHT) / 2)


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
def test_a_picture_is_well_formed_and_names_everybody(theme):
    """What a name holds is text, never markup."""
    root = ET.fromstring(dot_plot("A & B", MARKS, unit="ms", theme=theme))
    said = [text.text for text in root.iter(f"{SVG}text")]
    assert {"A & B", "ours", "slow & <old>", "0.5", "240", "ms, logarithmic"} <= set(said)
    dots = list(root.iter(f"{SVG}circle"))
    assert [dot.get("fill") for dot in dots] == [theme.ours, theme.other]
    assert float(dots[0].get("cx")) < float(dots[1].get("cx"))
