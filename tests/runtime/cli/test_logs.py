"""Log lines come out one a line, for people or for programs, and never fail over a value."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator

import pytest

from perdure.actors.log import get_logger
from perdure.runtime.cli.logs import leave_out, show_logs


@pytest.fixture(autouse=True)
def _logging_left_as_it_was() -> Iterator[None]:
    logger = logging.getLogger("perdure")
    before = (list(logger.handlers), logger.level, logger.propagate)
    yield
    logger.handlers[:], logger.level, logger.propagate = before


def test_json_lines_carry_the_event_and_its_fields(capsys: pytest.CaptureFixture[str]):
    """A value that is no JSON becomes its text."""
    show_logs(level="info", format="json")
    get_logger("perdure.test").info("step_started", step="a", what=object())
    line = json.loads(capsys.readouterr().err)
    assert (line["event"], line["step"], line["level"]) == ("step_started", "a", "info")
    assert line["what"].startswith("<object")


def test_lines_for_people_are_harmless_and_less_important_ones_are_left_out(
    capsys: pytest.CaptureFixture[str],
):
    """A field cannot steer the terminal."""
    show_logs(level="warning", format="console")
    log = get_logger("perdure.test")
    log.info("unimportant")
    log.warning("step_failed", why="\x1b[2J\n")
    (line,) = capsys.readouterr().err.splitlines()
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ warning  step_failed", line)
    assert "\x1b" not in line


def test_an_event_that_is_told_in_another_way_is_left_out(capsys: pytest.CaptureFixture[str]):
    """Until the next set-up; the others stay."""
    show_logs(level="info", format="console")
    leave_out("store_unavailable")
    log = get_logger("perdure.test")
    log.error("store_unavailable", error="full")
    log.info("step_started")
    assert capsys.readouterr().err.count("\n") == 1
    leave_out()
    log.error("store_unavailable", error="full")
    assert "full" in capsys.readouterr().err


def test_asking_twice_does_not_print_twice(capsys: pytest.CaptureFixture[str]):
    """The last one counts."""
    show_logs(level="info", format="json")
    show_logs(level="info", format="console")
    get_logger("perdure.test").info("once")
    assert capsys.readouterr().err.count("once") == 1
