"""Text for terminals is harmless and lines up."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.runtime.cli.text import COLOURS, Cell, clean, columns, cut, paint, width


@given(st.text())
def test_clean_text_holds_nothing_a_terminal_would_obey(text: str):
    """Whatever goes in, what comes out is printable and without line ends."""
    assert clean(text).isprintable()


def test_escape_sequences_become_visible():
    """A step's name cannot clear the screen."""
    assert clean("a\x1b[2Jb\n") == "a\\x1b[2Jb\\n"


def test_every_naughty_string_can_be_a_table_cell(cases: Path):
    """One line goes in as one line."""
    for text in json.loads((cases / "naughty-strings" / "blns.json").read_text()):
        assert columns(("A", "B"), [(text, "x")], in_colour=False).count("\n") == 2


def test_wide_and_combining_characters_count_as_terminals_show_them():
    """East Asian wide characters take two columns, accents none."""
    assert width("日本") == 4
    assert width("e\u0301") == 1
    assert width("abc") == 3


def test_columns_line_up_and_leave_no_trailing_spaces():
    """Colour changes nothing about the columns."""
    rows = [("a", Cell("running", "blue"), ""), ("日本語", "x", "end")]
    plain = columns(("ID", "STATE", "NOTE"), rows, in_colour=False)
    assert plain == "ID      STATE    NOTE\na       running\n日本語  x        end\n"
    assert re.sub(r"\x1b\[\d+m", "", columns(("ID", "STATE", "NOTE"), rows, in_colour=True)) == plain


def test_long_cells_are_cut_with_an_ellipsis():
    """A payload cannot push the other columns away."""
    assert cut("abcdef", limit=4) == "abc…"
    assert cut("abcd", limit=4) == "abcd"


@pytest.mark.parametrize("colour", COLOURS)
def test_paint_adds_colour_only_where_colours_are_shown(colour: str):
    """Without colour the text is untouched; with it the colour ends after the text."""
    assert paint("x", colour, in_colour=False) == "x"
    assert paint("x", colour, in_colour=True) == COLOURS[colour] + "x\x1b[0m"
