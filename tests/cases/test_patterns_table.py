"""Every pattern has an answer, a workflow and a test, and the page says so."""

from __future__ import annotations

import json
from pathlib import Path

import patterns

from perdure.runtime import CycleError, Workflow


def test_every_pattern_of_the_literature_is_in_the_table(cases: Path):
    """None is left out, none is invented, and each has its name."""
    rows = [json.loads(line) for line in (cases / "patterns" / "patterns.jsonl").read_text().splitlines()]
    told = {str(no): pattern.name for no, pattern in patterns.patterns().items()}
    assert told == {row["pattern"]: row["name"] for row in rows}
    assert len(told) == 43


def test_every_pattern_has_a_test_and_every_test_is_about_one():
    """The number is in the name of the test."""
    about = {no for no, _ in patterns.tests()}
    assert about == set(patterns.patterns())


def test_what_is_native_or_by_other_means_can_be_read_and_what_is_refused_cannot():
    """Every workflow of the page."""
    for pattern in patterns.patterns().values():
        for text in pattern.workflows:
            try:
                assert Workflow.parse(text).definition
            except CycleError:
                assert pattern.answer == "refused"
            else:
                assert pattern.answer != "refused"


def test_the_page_is_written_from_the_table():
    """Never by hand: `python tests/cases/patterns.py`."""
    assert patterns.PAGE.read_text() == patterns.page(patterns.patterns())
