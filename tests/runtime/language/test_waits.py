"""Steps that wait, as they are written: kinds, lengths of time, moments, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from perdure.runtime import DefinitionError, Workflow
from perdure.runtime.language.waits import BadMoment, moment_ms, performer_of


@pytest.mark.parametrize(
    ("written", "ms"),
    [("90s", 90_000), ("1h30m", 5_400_000), ("3d", 259_200_000), (500, 500)],
)
def test_a_length_of_time_is_text_or_milliseconds_and_one_canonical_number(
    steps: Callable[[str], Any], written: Any, ms: int
):
    """So that two ways to write it are one revision."""
    (step,) = steps(f"  - {{key: a, sleep: {written}}}").steps
    assert step.sleep == ms


@pytest.mark.parametrize(
    ("step", "told"),
    [
        ("{key: a}", "'agent' is missing, expected one of agent, capabilities, sleep, "),
        ("{key: a, agent: x, sleep: 3d}", "has agent and sleep: a step is one of them"),
        ("{key: a, sleep: soon}", "expected a length of time such as 90s, 1h30m or 3d, or milliseconds"),
        ("{key: a, sleep: 0}", "expected a length of time"),
        ("{key: a, sleep: 3d, prompt: x}", "prompt means nothing to it"),
        ("{key: a, sleep: 3d, parallel: false}", "parallel means nothing to it"),
        ("{key: a, sleep: 3d, retryPolicy: {maxRetries: 3}}", "retryPolicy means nothing to it"),
        ("{key: a, until: tomorrow}", "'tomorrow' is no moment"),
        ("{key: a, until: '2030-01-01T00:00:00'}", "is no moment: give a time with its offset"),
        ("{key: a, until: '{{a.b}}'}", "is the output of step 'a' itself"),
        ("{key: a, waitFor: {timeout: 3d}}", "'signal' is missing"),
        ("{key: a, waitFor: {signal: s, onTimeout: skip}}", "has onTimeout and no timeout"),
        ("{key: a, waitFor: {signal: s, timeout: 1d, onTimeout: skipp}}", "did you mean 'skip'?"),
    ],
)
def test_what_is_no_sound_wait_is_a_problem(refused: Callable[..., DefinitionError], step: str, told: str):
    """Told when it is read."""
    assert told in str(refused(f"name: w\nsteps:\n  - {step}\n"))


@pytest.mark.parametrize(
    ("value", "ms"),
    [
        ("1970-01-01T00:00:01Z", 1_000),
        ("1970-01-01T01:00:00+01:00", 0),
        (" 1970-01-02T00:00:00+00:00 ", 86_400_000),
        (5, 5),
    ],
)
def test_a_moment_is_a_time_with_its_offset_or_milliseconds(value: Any, ms: int):
    """No time zone is guessed."""
    assert moment_ms(value) == ms


@pytest.mark.parametrize("value", [None, True, 1.5, "1970-01-01T00:00:00", "12:00", {}, []])
def test_anything_else_is_no_moment(value: Any):
    """Typed, saying what would be."""
    with pytest.raises(BadMoment, match="give a time with its offset"):
        moment_ms(value)


def test_python_and_yaml_say_the_same():
    """One canonical form, one revision, printed and read back."""
    python = (
        Workflow("w")
        .sleep_step("nap", timedelta(minutes=90), optional=True)
        .until_step("day", datetime(2030, 1, 1, tzinfo=UTC), optional=True, after="nap")
        .signal_step("paid", signal="paid", timeout=60, on_timeout="skip", after="day", when="inputs.x")
    )
    text = """
name: w
steps:
  - {key: nap, sleep: 1h30m, optional: true}
  - {key: day, until: "2030-01-01T00:00:00+00:00", optional: true, dependencies: [nap]}
  - {key: paid, waitFor: {signal: paid, timeout: 1m, onTimeout: skip}, dependencies: [day], when: inputs.x}
"""
    assert Workflow.parse(text).revision == python.revision
    assert Workflow.parse(python.to_yaml()).revision == python.revision
    assert [performer_of(step) for step in python.definition.steps] == ["sleep", "until", "waitFor"]
