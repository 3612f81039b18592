"""The page: words with tables and pictures in the places that ask for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks import questions, results
from benchmarks.check import BASELINE
from benchmarks.page import DOCS, PEER_RESULTS, PICTURES, WORDS, page, ranked

Make = Callable[..., Any]


def test_a_table_has_ours_with_the_floor_beside_it(result: Make):
    """The floor is a column, not a row; what is to be reached is told apart from what is."""
    own = [result(40_000.0, contender="floor"), result(12_345.0, share=0.31)]
    text, _ = page("<!-- table W2 -->", own, [])
    head, _, row = text.splitlines()
    assert head.split(" | ")[-3:] == ["floor", "share of the floor", "to reach |"]
    assert "| **12,345** |" in row
    assert row.endswith("| 40,000 | 31% (31% to 31%) | 10,000 ✓ |")


def test_a_server_and_a_process_of_its_own_have_rows_of_their_own(result: Make):
    """Only where one was measured is there a column that tells which is which."""
    own = [
        result(40_000.0, contender="floor"),
        result(9_000.0),
        result(12_000.0, contender="perdure, hosted"),
        result(3_000.0, contender="postgres"),
    ]
    text, _ = page("<!-- table W2 -->", own, [])
    head, _, embedded, hosted, server = text.splitlines()
    assert head.startswith("| which |")
    assert embedded.startswith("| embedded |")
    assert embedded.endswith("10,000 ✗ |")
    assert hosted.startswith("| hosted |")
    assert hosted.endswith("10,000 ✓ |")
    assert server.startswith("| over PostgreSQL |")
    assert "**3,000**" in server
    assert "10,000" not in server


def test_a_figure_that_is_missed_is_marked(result: Make):
    """Honesty is a column."""
    text, _ = page("<!-- table W2 -->", [result(9_000.0)], [])
    assert text.endswith("10,000 ✗ |")


def test_a_question_without_results_says_so():
    """Rather than showing an empty table."""
    assert page("<!-- table W2 -->", [], [])[0] == "*Not measured yet.*"


def test_peers_come_best_first(result: Make):
    """For a rate the highest, for a time the lowest."""
    rates = [result(1.0, contender="slow"), result(9.0, contender="fast")]
    assert [each.contender for each in ranked(rates, "steps_per_s")] == ["fast", "slow"]
    times = [result(each.spread.median, contender=each.contender, more_is_better=False) for each in rates]
    assert [each.contender for each in ranked(times, "steps_per_s")] == ["slow", "fast"]


def test_a_picture_is_drawn_for_light_and_dark(result: Make):
    """The page shows the one that suits it."""
    text, pictures = page("<!-- picture W2 steps_per_s -->", [], [result()])
    assert sorted(pictures) == ["w2-dark.svg", "w2-light.svg"]
    assert all(f"{PICTURES}/{name}" in text for name in pictures)


def test_the_committed_page_is_what_the_committed_results_render_to():
    """`make bench-page` after new results; nobody edits figures by hand."""
    text, pictures = page(WORDS.read_text(), results.read(BASELINE), results.read(PEER_RESULTS))
    assert (DOCS / "benchmarks.md").read_text() == text
    drawn = {path.name: path.read_text() for path in (DOCS / PICTURES).glob("*.svg")}
    assert drawn == pictures


def test_the_page_has_a_place_for_every_question():
    """A question nobody reads about need not be asked."""
    words = WORDS.read_text()
    assert [code for code in questions.codes() if f"<!-- table {code} -->" not in words] == []


def test_every_result_belongs_to_a_question_that_is_still_asked():
    """A case that was renamed leaves no old figure behind."""
    for found in results.read(BASELINE):
        question = questions.question(found.question)
        assert found.case in {case.name for case in question.cases}
        assert found.figure in {figure.name for figure in question.figures}
