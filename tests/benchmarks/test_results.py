"""Records of measurements: made from rounds, kept as JSON lines, replaced by newer ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import results
from benchmarks.question import Case, Figure, Question
from benchmarks.rounds import Measured

RATE = Figure(name="steps_per_s", unit="steps/s", more_is_better=True)
MEMORY = Figure(name="peak_mb", unit="MB")
QUESTION = Question(code="W2", title="", figures=(RATE, MEMORY), cases=())
CASE = Case(name="small", size=1)
Make = Callable[..., Any]


def test_shares_are_taken_within_each_round():
    """The second round is half as fast for both: the share is the same."""
    measured = Measured(
        rounds={
            "floor": [{"steps_per_s": 40.0}, {"steps_per_s": 20.0}],
            "perdure": [{"steps_per_s": 10.0}, {"steps_per_s": 5.0}],
        },
        foreign_cpu=0.1234,
    )
    floor, ours = results.results_of(QUESTION, CASE, "power", measured)
    assert (floor.contender, floor.spread.median, floor.of_floor) == ("floor", 30.0, None)
    assert (ours.of_floor.min, ours.of_floor.max) == (0.25, 0.25)
    assert ours.foreign_cpu == 0.123


def test_a_figure_that_a_contender_does_not_give_makes_no_result():
    """The floor has no memory worth a figure."""
    measured = Measured(
        rounds={"floor": [{"steps_per_s": 4.0}], "perdure": [{"steps_per_s": 2.0, "peak_mb": 50.0}]},
        foreign_cpu=None,
    )
    found = results.results_of(QUESTION, CASE, "power", measured)
    assert [(each.contender, each.figure) for each in found] == [
        ("floor", "steps_per_s"),
        ("perdure", "steps_per_s"),
        ("perdure", "peak_mb"),
    ]
    assert found[-1].of_floor is None


def test_a_count_has_no_share_of_the_floors_speed():
    """Nothing run again is no division by zero."""
    count = Figure(name="run_again", unit="steps run again", is_speed=False)
    question = Question(code="W6", title="", figures=(count,), cases=())
    measured = Measured(
        rounds={"floor": [{"run_again": 0.0}], "perdure": [{"run_again": 0.0}]}, foreign_cpu=None
    )
    found = results.results_of(question, CASE, "power", measured)
    assert [(each.spread.median, each.of_floor) for each in found] == [(0.0, None), (0.0, None)]


def test_what_was_written_reads_back(tmp_path: Path, result: Make):
    """One JSON line each."""
    path = tmp_path / "new" / "results.jsonl"
    kept = [result(), result(contender="floor")]
    results.write(path, kept)
    assert results.read(path) == kept
    assert len(path.read_text().splitlines()) == 2


def test_no_file_is_no_results(tmp_path: Path):
    """A first run has nothing to merge with."""
    assert results.read(tmp_path / "missing.jsonl") == []


def test_a_new_result_replaces_the_old_one_and_questions_stay_in_order(result: Make):
    """W10 comes after W2, whatever their letters say."""
    old = [result(1.0, question="W10"), result(2.0)]
    assert [(each.question, each.spread.median) for each in results.merged(old, [result(3.0)])] == [
        ("W2", 3.0),
        ("W10", 1.0),
    ]
