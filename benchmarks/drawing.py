"""Results as a picture: a dot with its ends for each contender on a logarithmic axis, light or dark."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final
from xml.sax.saxutils import escape

import msgspec

from benchmarks.figures import Spread
from benchmarks.table import number

WIDTH: Final = 760
LABELS: Final = 190  # the column of names
RIGHT: Final = 110  # room for the value behind the last dot
ROW: Final = 30
TOP: Final = 46
BOTTOM: Final = 40


class Theme(msgspec.Struct, frozen=True, kw_only=True):
    """The colours of a picture."""

    name: str
    ink: str
    faint: str
    ours: str
    other: str
    floor: str


THEMES: Final = (
    Theme(name="light", ink="#1f2328", faint="#d1d9e0", ours="#0969da", other="#59636e", floor="#1a7f37"),
    Theme(name="dark", ink="#e6edf3", faint="#3d444d", ours="#58a6ff", other="#9198a1", floor="#3fb950"),
)


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """One row of a picture."""

    label: str
    spread: Spread
    colour: str = "other"  # a field of the theme


def dot_plot(title: str, marks: Sequence[Mark], *, unit: str, theme: Theme) -> str:
    """An SVG of all marks; its background is whatever it is put on."""
    low, high = decades(marks)
    height = TOP + ROW * len(marks) + BOTTOM
    body = "\n".join(
        (
            _text(0, 20, title, theme.ink, size=15, weight="600"),
            *_axis(low, high, height=height, unit=unit, theme=theme),
            *(line for row, mark in enumerate(marks) for line in _row(row, mark, low, high, theme)),
        )
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'font-family="system-ui, sans-serif">\n<title>{escape(title)}</title>\n{body}\n</svg>\n'
    )


def decades(marks: Sequence[Mark]) -> tuple[int, int]:
    """The powers of ten between which all marks lie, at least one apart."""
    low = math.floor(math.log10(min(mark.spread.min for mark in marks)))
    high = math.ceil(math.log10(max(mark.spread.max for mark in marks)))
    return low, max(high, low + 1)


def position(value: float, low: int, high: int) -> float:
    """Where a value is on the axis, in pixels."""
    return LABELS + (math.log10(value) - low) / (high - low) * (WIDTH - LABELS - RIGHT)


def _axis(low: int, high: int, *, height: int, unit: str, theme: Theme) -> Iterator[str]:
    bottom = height - BOTTOM
    for power in range(low, high + 1):
        x = position(10.0**power, low, high)
        yield f'<path d="M{x:.1f} {TOP - 8}V{bottom}" stroke="{theme.faint}"/>'
        yield _text(x, bottom + 16, number(10.0**power), theme.other, anchor="middle")
    yield _text(WIDTH - RIGHT, bottom + 33, f"{unit}, logarithmic", theme.other, anchor="end")


def _row(row: int, mark: Mark, low: int, high: int, theme: Theme) -> Iterator[str]:
    y = TOP + ROW * row + ROW / 2
    colour = getattr(theme, mark.colour)
    spread = mark.spread
    left, middle, right = (position(value, low, high) for value in (spread.min, spread.median, spread.max))
    yield _text(LABELS - 12, y + 4, mark.label, theme.ink, anchor="end")
    yield f'<path d="M{left:.1f} {y}H{right:.1f}" stroke="{colour}" stroke-width="3" stroke-linecap="round"/>'
    yield f'<circle cx="{middle:.1f}" cy="{y}" r="5.5" fill="{colour}"/>'
    yield _text(max(middle, right) + 12, y + 4, number(spread.median), colour, weight="600")


def _text(
    x: float, y: float, said: str, colour: str, *, size: int = 12, anchor: str = "start", weight: str = "400"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" '
        f'text-anchor="{anchor}" fill="{colour}">{escape(said)}</text>'
    )
