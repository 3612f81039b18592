"""Schedules that a workflow declares: read with places, printed back, no part of the revision."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from perdure.runtime.language import DefinitionError, Workflow, parse
from perdure.runtime.language.scheduling import rules_of
from perdure.runtime.schedules import Missed, Overlap, Rule

STEPS = "steps: [{key: a, agent: noop}]\n"
DECLARED = """\
name: report
schedule:
  - cron: 0 2 * * *
    timezone: Europe/Berlin
    missed: all
    missedWindow: 2d
    input: {day: today}
  - {every: 15m, overlap: queue, jitter: 30s}
  - {id: weekly, every: 7d}
steps: [{key: a, agent: noop}]
"""


def workflow(*schedule: dict[str, Any]) -> Workflow:
    """One declared in Python."""
    return Workflow("report", schedule=schedule).agent_step("a", agent="noop")


def test_schedules_come_to_rules_under_their_ids():
    """Those without one are called after the workflow and their place."""
    assert rules_of(parse(DECLARED)) == {
        "report": Rule(
            cron="0 2 * * *",
            timezone="Europe/Berlin",
            missed=Missed.ALL,
            missed_window_ms=2 * 86_400_000,
            input={"day": "today"},
        ),
        "report-2": Rule(every_ms=900_000, overlap=Overlap.QUEUE, jitter_ms=30_000),
        "weekly": Rule(every_ms=7 * 86_400_000),
    }


def test_text_and_python_come_to_the_same_and_print_the_same():
    """As YAML and JSON that read back equal; lengths of time may be timedeltas in Python."""
    read = Workflow.parse(DECLARED)
    made = workflow(
        {
            "cron": "0 2 * * *",
            "timezone": "Europe/Berlin",
            "missed": "all",
            "missedWindow": timedelta(days=2),
            "input": {"day": "today"},
        },
        {"every": "15m", "overlap": "queue", "jitter": 30_000},
        {"id": "weekly", "every": timedelta(days=7)},
    )
    assert made.definition == read.definition
    assert made.to_yaml() == read.to_yaml()
    assert parse(made.to_yaml()) == parse(made.to_json()) == read.definition


def test_when_a_workflow_starts_is_no_part_of_its_revision():
    """Another hour is the same workflow; a loaded one keeps its schedules."""
    assert workflow({"every": "1h"}).revision == workflow({"every": "2h"}).revision == workflow().revision
    assert Workflow.from_definition(parse(DECLARED)).definition == parse(DECLARED)


def test_every_problem_is_told_at_once_with_its_place():
    """Types, words, calendars, ids."""
    text = (
        "name: report\n"
        "schedule:\n"
        "  - {cron: 0 99 * * *, timezone: Europe/Berlim}\n"
        "  - {every: soon}\n"
        "  - {every: 1h, cron: 0 2 * * *, mised: all}\n"
        "  - {every: 1h, timezone: UTC, overlap: both, jitter: 2h, id: report}\n"
        "  - {id: no name, every: 10ms}\n" + STEPS
    )
    with pytest.raises(DefinitionError) as caught:
        parse(text, source="report.yaml")
    told = [(one.line, one.path) for one in caught.value.problems]
    assert told == [
        (3, "schedule[0].cron"),
        (3, "schedule[0].timezone"),
        (4, "schedule[1].every"),
        (5, "schedule[2].mised"),
        (6, "schedule[3].timezone"),
        (6, "schedule[3].overlap"),
        (6, "schedule[3].jitter"),
        (6, "schedule[3].id"),
        (7, "schedule[4].id"),
        (7, "schedule[4].every"),
    ]
    words = str(caught.value)
    for word in ("Bad hour", "Europe/Berlin", "90s", "missed", "jitter must be shorter", "one second"):
        assert word in words


def test_an_input_with_which_nothing_could_start_is_refused():
    """By what the workflow declares, with its defaults; at the input, or at the schedule without one."""
    inputs = "inputs: {required: [day], properties: {day: {type: string}, limit: {default: 3}}}\n"
    text = f"name: report\n{inputs}schedule:\n  - every: 1h\n    input: {{day: 3}}\n  - every: 2h\n{STEPS}"
    with pytest.raises(DefinitionError) as caught:
        parse(text, source="report.yaml")
    assert [(one.line, one.path, one.message) for one in caught.value.problems] == [
        (5, "schedule[0].input", "input 'day': 3 is not of type \"string\": no start would be accepted"),
        (6, "schedule[1]", "input 'day' is missing: string: no start would be accepted"),
    ]


def test_a_schedule_without_moments_is_refused():
    """Both ways of saying when are one too many, none is one too few."""
    for schedule in ("{}", "{cron: 0 2 * * *, every: 1h}"):
        with pytest.raises(DefinitionError, match="either `cron` or `every`"):
            parse(f"name: report\nschedule: [{schedule}]\n{STEPS}")


@pytest.mark.parametrize(
    ("schedule", "said"),
    [({"cron": 5}, "not text"), ({"evry": "1h"}, "every"), ({"every": timedelta(0)}, "length of time")],
)
def test_python_is_checked_like_text(schedule: dict[str, Any], said: str):
    """When the definition is asked for."""
    with pytest.raises(DefinitionError, match=said):
        _ = workflow(schedule).definition
