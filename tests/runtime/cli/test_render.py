"""Records read well for people and exactly for programs."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta

import pytest

from perdure.runtime.cli.render import LOOKS, Format, Output, ago, duration, progress, since, size, value
from perdure.runtime.config import Setting
from perdure.store.states import Status, StepState

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
RECORDS = [Setting(name=name, value=1, source="default", meaning="ü") for name in ("a", "b")]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "now"),
        (5, "5 s ago"),
        (59.7, "1 min ago"),
        (90, "2 min ago"),
        (3_599, "1 h ago"),
        (7_200, "2 h ago"),
        (604_800, "7 d ago"),
        (-30, "in 30 s"),
    ],
)
def test_times_are_relative_to_now(seconds: float, text: str):
    """The unit is the one that matters."""
    assert ago(NOW - timedelta(seconds=seconds), now=NOW) == text


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (None, "–"),
        (12, "12 ms"),
        (3_400, "3.4 s"),
        (999.6, "1.0 s"),
        (59_970, "1 min 0 s"),
        (119_700, "2 min 0 s"),
        (125_000, "2 min 5 s"),
        (3_599_700, "1 h 0 min"),
        (11_400_000, "3 h 10 min"),
        (100_000_000, "1 d 3 h"),
    ],
)
def test_durations_show_two_units_at_most(milliseconds: int | None, text: str):
    """Milliseconds do not matter after an hour."""
    assert duration(milliseconds) == text


def test_something_that_goes_on_has_been_going_on_until_now():
    """Without an end the time so far is shown, without a start nothing."""
    assert since(NOW - timedelta(seconds=2), None, now=NOW) == "2.0 s"
    assert since(None, None, now=NOW) == "–"


def test_sizes_progress_and_values_fit_a_column():
    """Each is one short line."""
    assert [size(512), size(3_200), size(1_500_000)] == ["512 B", "3.2 kB", "1.5 MB"]
    assert progress(1, 2) == "█████░░░░░ 1/2"
    assert progress(0, 0) == "░░░░░░░░░░ 0/0"
    assert value({"a": [1]}) == '{"a":[1]}'
    assert len(value("x" * 1_000)) == 80


def test_every_status_and_step_state_has_a_glyph_and_a_colour():
    """Nothing is told by colour alone."""
    assert {str(each) for each in (*Status, *StepState)} <= set(LOOKS)
    for glyph, colour in LOOKS.values():
        assert glyph
        assert colour


def test_json_prints_records_as_one_array():
    """What `--format json` prints is one JSON document."""
    stream = io.StringIO()
    Output(stream, format="json").records(RECORDS)
    assert [record["name"] for record in json.loads(stream.getvalue())] == ["a", "b"]


def test_jsonl_prints_one_record_a_line():
    """What `--format jsonl` prints can be read line by line."""
    stream = io.StringIO()
    Output(stream, format="jsonl").records(RECORDS)
    assert [json.loads(line)["name"] for line in stream.getvalue().splitlines()] == ["a", "b"]


def test_programs_never_get_colour():
    """Colour is for tables, whatever was asked for."""
    assert not Output(io.StringIO(), format="json", in_colour=True).in_colour


@pytest.mark.parametrize("format", ["json", "jsonl"])
def test_what_an_encoding_has_no_room_for_is_an_escape_of_json(format: Format):
    """A program reads the same data from any stream: no glyph is made plainer there."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    Output(stream, format=format).json({"name": "✔ 😀 – É"})
    stream.seek(0)
    assert json.loads(stream.read()) == {"name": "✔ 😀 – É"}
