"""Texts of the command line become values, or one readable refusal."""

from __future__ import annotations

import io
import json
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.runtime.cli.options import UsageError, read_inputs, read_json, read_period


def test_an_input_that_is_json_is_that_json_and_anything_else_is_text():
    """Numbers, booleans and lists need no quoting; quoting makes text of them."""
    pairs = ["n=2", "f=1.5", "yes=true", 'l=["a"]', "t=hello world", 'q="2"', "path=a=b", "empty=", "id=007"]
    assert read_inputs(None, pairs) == {
        "n": 2,
        "f": 1.5,
        "yes": True,
        "l": ["a"],
        "t": "hello world",
        "q": "2",
        "path": "a=b",
        "empty": "",
        "id": "007",
    }


def test_single_inputs_win_over_the_context():
    """`-i` corrects one value of a whole context."""
    assert read_inputs('{"a": 1, "b": 2}', ["b=3"]) == {"a": 1, "b": 3}


@pytest.mark.parametrize("pair", ["novalue", "=x", ""])
def test_an_input_without_a_name_or_equals_sign_is_refused(pair: str):
    """The message shows the form."""
    with pytest.raises(UsageError, match="NAME=VALUE"):
        read_inputs(None, [pair])


def test_json_is_read_from_a_file_and_from_stdin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """`@FILE` and `-` keep large contexts off the command line."""
    (tmp_path / "c.json").write_text('{"a": 1}')
    assert read_json(f"@{tmp_path}/c.json", what="--context") == {"a": 1}
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"[2]")))
    assert read_json("-", what="--data") == [2]


@pytest.mark.parametrize("text", ['{"a": 1, "b": 2, "a": 3}', '{"a": [{"x": {"b": 1, "b": 1}}]}'])
def test_a_key_that_is_there_twice_is_refused(text: str):
    """As in a file: whichever counted, it would be a guess."""
    with pytest.raises(UsageError, match=r"--context: the key '[ab]' is there twice"):
        read_inputs(text, [])


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "\udc80", "@no/such/file", '{"a":1} x', "[1]"])
def test_a_context_that_cannot_be_is_a_usage_error(text: str):
    """Broken, bottomless, undecodable, missing, trailing or of the wrong kind."""
    with pytest.raises(UsageError, match="--context"):
        read_inputs(text, [])


@given(st.text())
def test_any_text_is_a_value(text: str):
    """Nothing given with -i can crash the command line."""
    value = read_inputs(None, [f"x={text}"])["x"]
    assert value == text or json.loads(text) == value


def test_a_file_that_begins_with_a_byte_order_mark_is_read_as_one_without(tmp_path: Path):
    """As editors of some systems write it; definitions are read so, too."""
    (tmp_path / "inputs.json").write_bytes(b"\xef\xbb\xbf" + b'{"a": 1}')
    assert read_inputs(f"@{tmp_path / 'inputs.json'}", []) == {"a": 1}


def test_a_period_is_a_length_of_time_as_schedules_and_filters_take_it():
    """Seconds to weeks, also of several parts."""
    assert read_period("7d", what="--last") == timedelta(days=7)
    assert read_period("1h30m", what="--last") == timedelta(minutes=90)
    assert read_period("1.5h", what="--last") == timedelta(minutes=90)


@pytest.mark.parametrize("text", ["", "7", "d", "-1d", "7 days", "9" * 400 + "d", "1e9d"])
def test_a_period_that_cannot_be_is_refused_with_the_form(text: str):
    """Also one that overflows the calendar."""
    with pytest.raises(UsageError, match="such as"):
        read_period(text, what="--last")
