"""Schedules from the command line: each command over a real file, printed for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from perdure.runtime.cli import run_command, timetable
from perdure.runtime.cli.options import Reading
from perdure.runtime.cli.session import open_session

WORKFLOW = "name: report\nsteps:\n  - {key: write, agent: writer, prompt: '{{ day }}'}\n"
Cli = Callable[..., str]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """Carry out a command line in an empty folder with one definition; what it printed as data."""
    Path("report.yaml").write_text(WORKFLOW)

    def perform(line: str, *more: str, code: int = 0) -> str:
        assert run_command([*line.split(), *more]) == code
        captured = capsys.readouterr()
        return captured.err if code else captured.out

    return perform


@pytest.fixture
def nightly(cli: Cli) -> Cli:
    """The same, with a schedule."""
    cli(
        "schedule add nightly report.yaml --timezone Europe/Berlin --overlap queue -i day=monday --cron",
        "0 2 * * *",
    )
    return cli


def data(text: str) -> Any:
    """What was printed with --format json."""
    return json.loads(text)


def test_a_schedule_is_added_for_a_definition_file_and_for_a_published_name(nightly: Cli):
    """The file is published by it; from then on its name will do."""
    nightly("schedule add often report --every 90m --missed all --missed-window 2h --jitter 1m -i day=now")
    nightly_, often = data(nightly("schedule list --format json"))
    assert nightly_["rule"] == {
        "cron": "0 2 * * *",
        "timezone": "Europe/Berlin",
        "missedWindowMs": 86_400_000,
        "overlap": "queue",
        "input": {"day": "monday"},
        "text": "0 2 * * * (Europe/Berlin)",
    }
    assert often["rule"] == {
        "everyMs": 5_400_000,
        "missed": "all",
        "missedWindowMs": 7_200_000,
        "jitterMs": 60_000,
        "input": {"day": "now"},
        "text": "every 1h30m",
    }


def test_a_schedule_whose_starts_would_be_refused_is_not_added(cli: Cli):
    """What is missing is named; a value has the type that is declared for it."""
    Path("strict.yaml").write_text(
        "name: strict\n"
        "inputs: {required: [day], properties: {day: {type: string}, limit: {type: integer, default: 3}}}\n"
        "steps: [{key: rest, sleep: 1}]\n"
    )
    said = cli("schedule add x strict.yaml --every 1h -i limit=many", code=2)
    assert "input 'day' is missing: string" in said
    assert 'input \'limit\': "many" is not of type "integer"' in said
    assert data(cli("schedule list --format json")) == []
    cli("schedule add x strict --every 1h -i day=7")
    [added] = data(cli("schedule list --format json"))
    assert added["rule"]["input"] == {"day": "7"}


def test_a_list_shows_what_starts_and_when_next(nightly: Cli):
    """A paused one says so instead."""
    head, row = nightly("schedule list").splitlines()
    assert head.split() == ["ID", "WORKFLOW", "WHEN", "NEXT", "LAST"]
    assert row.startswith("nightly  report    0 2 * * * (Europe/Berlin)  in ")
    assert "paused" in nightly("schedule pause nightly")
    assert "paused" in nightly("schedule list")
    assert "next in" in nightly("schedule resume nightly")


def test_the_next_moments_are_told_by_the_schedules_own_clock(nightly: Cli):
    """Each on a line; for programs as UTC."""
    lines = nightly("schedule next nightly -n 3").splitlines()[1:]
    assert [line.split()[2] for line in lines] == ["02:00:00"] * 3
    assert len(data(nightly("schedule next nightly -n 4 --format json"))) == 4


def test_a_trigger_and_a_backfill_print_what_they_start(nightly: Cli):
    """Dates are read by the schedule's clock; the same period again starts nothing new."""
    assert nightly("schedule trigger nightly").startswith("nightly.")
    period = "schedule backfill nightly --from 2026-01-01 --to 2026-01-03"
    ids = nightly(period).split()
    assert ids == ["nightly.20260101T010000Z", "nightly.20260102T010000Z"]
    assert nightly(period).split() == ids
    assert len(nightly("list -q").split()) == 3


def test_one_is_shown_with_its_rule_its_moments_and_its_history(nightly: Cli):
    """Everything on one screen, or as one object."""
    text = nightly("schedule show nightly")
    assert "overlap         queue" in text
    assert text.count("02:00:00") == 5
    assert "missedWindow    1d" in text
    shown = data(nightly("schedule show nightly --format json"))
    assert (shown["schedule"]["id"], len(shown["next"]), shown["history"]) == ("nightly", 5, [])
    assert nightly("schedule history nightly").split() == ["MOMENT", "BECAME", "COUNT", "EXECUTION"]


def test_the_history_tells_moments_apart_that_a_clock_shows_twice(capsys: pytest.CaptureFixture[str]):
    """By the offset, as the clocks go back."""
    moments = [datetime(2026, 10, 25, hour, 30, tzinfo=UTC) for hour in (0, 1)]
    fired: list[Any] = [
        SimpleNamespace(due_at=at, decision="started", count=1, execution_id="x", reason=None)
        for at in moments
    ]
    berlin: Any = SimpleNamespace(rule={"timezone": "Europe/Berlin"})
    timetable._show_history(open_session(Reading()), berlin, fired)
    lines = capsys.readouterr().out.splitlines()[1:]
    told = [line.split("  ")[0] for line in lines]
    assert told == ["2026-10-25 02:30:00 +0200", "2026-10-25 02:30:00 +0100"]


def test_a_removed_one_is_gone(nightly: Cli):
    """And nobody can look at it any more."""
    nightly("schedule rm nightly")
    assert "there is none yet" in nightly("schedule show nightly", code=3)


@pytest.mark.parametrize(
    ("line", "said", "code"),
    [
        ("schedule add x report.yaml", "either `cron` or `every`", 2),
        ("schedule add x report.yaml --every soon", "such as 30s", 2),
        ("schedule add x report.yaml --every 1h -i oops", "NAME=VALUE", 2),
        ("schedule add x nobody --every 1h", "nobody", 3),
        ("schedule add x none.yaml --every 1h", "cannot be read", 4),
        ("schedule backfill nightly --from yesterday --to 2026-01-01", "such as 2026-03-01", 2),
        ("schedule backfill nightly --from 2026-01-02 --to 2026-01-01", "before --from", 2),
        ("schedule pause other", "there are: nightly", 3),
    ],
)
def test_a_wrong_line_is_one_screen_and_a_code(nightly: Cli, line: str, said: str, code: int):
    """What is right is said, too."""
    assert said in nightly(line, code=code)


def test_the_group_alone_tells_its_commands(cli: Cli):
    """As does --help."""
    assert "backfill" in cli("schedule")
    assert cli("schedule --help") == cli("schedule")
