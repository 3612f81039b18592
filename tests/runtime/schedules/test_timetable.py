"""The moments of a rule: those of Debian's cron, and those of a clock that counts from 1970."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.runtime.arguments import InvalidArgument
from perdure.runtime.schedules import Rule, rule_of
from perdure.runtime.schedules.timetable import LAST, check_cron, delayed, moments
from perdure.store.scripts.rows import milliseconds, moment

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def firsts(rule: Rule, count: int, *, after: datetime = NOON) -> list[str]:
    """The first moments after that one, in UTC."""
    return [moment(ms).isoformat() for ms in islice(moments(rule, after=milliseconds(after)), count)]


def lines(path: Path) -> Iterable[dict[str, Any]]:
    """The vectors of one file."""
    return map(json.loads, path.read_text("utf-8").splitlines())


def test_every_vector_that_is_agreed_upon_is_met_and_the_others_follow_debian(cases: Path):
    """Where two well-known libraries differ, it is about clock changes: ours follows cronsim."""
    for vector in lines(cases / "cron" / "differential.jsonl"):
        wanted = vector["utc"] if vector["agree"] else vector["cronsim_utc"]
        rule = Rule(cron=vector["expr"], timezone=vector["tz"])
        assert firsts(rule, len(wanted), after=datetime.fromisoformat(vector["start"])) == wanted, vector[
            "expr"
        ]


def test_what_others_have_recorded_of_the_same_dialect_holds(cases: Path):
    """The vectors that go forward, in five or six fields."""
    tried = 0
    for vector in lines(cases / "cron" / "recorded.jsonl"):
        if (vector["from"], vector["way"], vector["options"]) == ("cronsim", "next", {}) and vector["tz"]:
            begin = datetime.fromisoformat(vector["start"])
            rule = Rule(cron=vector["expr"], timezone=vector["tz"])
            found = moments(rule, after=milliseconds(begin.astimezone(UTC)))
            local = [datetime.fromisoformat(each).astimezone(UTC) for each in vector["expect"]]
            assert [moment(ms) for ms in islice(found, len(local))] == local, vector["expr"]
            tried += 1
    assert tried > 40


def test_what_is_no_cron_expression_is_refused(cases: Path):
    """With an error of ours that says what one looks like."""
    for vector in lines(cases / "cron" / "rejects.jsonl"):
        if vector["cronsim"] == "reject":
            with pytest.raises(InvalidArgument, match="cron is"):
                check_cron(vector["expr"])
        else:
            check_cron(vector["expr"])


def test_every_so_often_is_counted_from_1970():
    """So it does not hang on when the schedule was made, or on restarts."""
    assert firsts(rule_of({"every": "6h"}), 3) == [
        "2026-03-01T18:00:00+00:00",
        "2026-03-02T00:00:00+00:00",
        "2026-03-02T06:00:00+00:00",
    ]


def test_a_fixed_hour_that_the_clock_skips_or_repeats_comes_once():
    """In Berlin 2:30 does not exist on 29 March 2026, and comes twice on 25 October."""
    rule = Rule(cron="30 2 * * *", timezone="Europe/Berlin")
    assert firsts(rule, 2, after=datetime(2026, 3, 28, 12, tzinfo=UTC)) == [
        "2026-03-29T01:00:00+00:00",  # as the clock jumps to 3:00
        "2026-03-30T00:30:00+00:00",
    ]
    assert firsts(rule, 2, after=datetime(2026, 10, 24, 12, tzinfo=UTC)) == [
        "2026-10-25T00:30:00+00:00",
        "2026-10-26T01:30:00+00:00",
    ]


def test_with_six_fields_a_fixed_hour_follows_real_time():
    """What is skipped does not come, what comes twice comes twice: Debian's cron has no such jobs."""
    rule = Rule(cron="0 30 2 * * *", timezone="Europe/Berlin")
    assert firsts(rule, 1, after=datetime(2026, 3, 28, 12, tzinfo=UTC)) == ["2026-03-30T00:30:00+00:00"]
    assert firsts(rule, 2, after=datetime(2026, 10, 24, 12, tzinfo=UTC)) == [
        "2026-10-25T00:30:00+00:00",
        "2026-10-25T01:30:00+00:00",
    ]


@pytest.mark.parametrize("minute", [0, 10, 30, 59])
def test_who_asks_while_an_hour_comes_for_the_second_time_is_told_of_no_moment_of_the_first(minute: int):
    """2:30 was when it came first: what is asked for is what comes after now."""
    rule = Rule(cron="30 2 * * *", timezone="Europe/Berlin")
    again = datetime(2026, 10, 25, 1, minute, tzinfo=UTC)
    assert firsts(rule, 1, after=again) == ["2026-10-26T01:30:00+00:00"]


@pytest.mark.parametrize("timezone", ["Europe/Berlin", "America/New_York", "UTC"])
def test_the_moments_end_with_the_calendar_of_each_zone(timezone: str):
    """Which is over earlier in the east."""
    rule = Rule(cron="30 * * * *", timezone=timezone)
    assert len(list(moments(rule, after=LAST - 90 * 60_000))) <= 2
    assert list(moments(rule, after=LAST - 1)) == []


@pytest.mark.parametrize("cron", ["0 0 31 4 *", "0 0 30 2 *"])
def test_a_day_that_never_comes_is_refused(cron: str):
    """Never an endless search."""
    with pytest.raises(InvalidArgument, match="day-of-month"):
        rule_of({"cron": cron})


@given(st.integers(0, 10**13), st.integers(1, 10**9))
def test_a_delay_hangs_on_the_moment_alone(at: int, jitter_ms: int):
    """Whoever asks, and however often; and it is shorter than the jitter."""
    rule = Rule(every_ms=10**10, jitter_ms=jitter_ms)
    assert 0 <= delayed(rule, at, schedule_id="a") - at < jitter_ms
    assert delayed(rule, at, schedule_id="a") == delayed(rule, at, schedule_id="a")


@given(
    st.integers(0, 4 * 10**12),
    st.sampled_from(["*/7 * * * *", "15 3 * * 1-5", "0 0 1 */3 *", "*/20 * * * * *"]),
)
def test_moments_come_in_order_and_going_on_from_one_continues(after: int, cron: str):
    """Going on from any of them gives the ones that follow it."""
    rule = Rule(cron=cron, timezone="America/New_York")
    found = list(islice(moments(rule, after=after), 6))
    assert found == sorted(set(found))
    assert list(islice(moments(rule, after=found[2]), 3)) == found[3:]


def test_without_the_extra_cron_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    """And `every` does not need it."""
    monkeypatch.setitem(sys.modules, "cronsim", None)
    with pytest.raises(InvalidArgument, match=r"pip install 'perdure\[schedules\]'"):
        rule_of({"cron": "* * * * *"})
    assert rule_of({"every": "1h"}).every_ms == 3_600_000
