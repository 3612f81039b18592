"""The picture of a running execution shows what matters, in the room there is."""

from __future__ import annotations

from typing import Any

from perdure.runtime.cli.tree import tree


def _step(state: str, **more: Any) -> dict[str, Any]:
    return {"state": state, "attempt": 1, "started_at_ms": 1_000, "heartbeat": None, "error": None} | more


def _draw(levels: list[list[str]], steps: dict[str, Any], *, lines_max: int = 50, **more: Any) -> list[str]:
    given = {"ended_ms": {}, "now_ms": 3_500} | more
    lines = tree({"levels": levels, "steps": steps}, lines_max=lines_max, **given)
    return ["".join(cell.text for cell in line).rstrip() for line in lines]


def test_each_step_stands_in_its_level_with_its_state_and_duration():
    """Steps in flight show the time so far, settled ones the time they took."""
    steps = {
        "parse": _step("completed"),
        "scan": _step("running", attempt=2, heartbeat="3/10 files"),
        "report": _step("pending", attempt=0, started_at_ms=None),
    }
    drawn = _draw([["parse"], ["scan"], ["report"]], steps, ended_ms={"parse": 1_200})
    assert drawn == [
        "├─ level 1  1/1",
        "│  ✔ parse   completed  200 ms",
        "├─ level 2  0/1",
        "│  ● scan    running    2.5 s  attempt 2  3/10 files",
        "└─ level 3  0/1",
        "   · report  pending",
    ]


def test_a_failed_step_says_why():
    """The error stands beside the step."""
    steps = {"a": _step("failed", error={"type": "ValueError", "message": "no\nsuch"})}
    assert "ValueError: no\\nsuch" in _draw([["a"]], steps)[1]


def test_a_waiting_step_says_for_what_since_when_and_until_when():
    """In UTC, to the second; without a timeout there is no until."""
    signal = {"for": "signal", "signal": "paid"}
    steps = {
        "a": _step("waiting", waits=signal, due_at_ms=61_000),
        "b": _step("waiting", waits=signal, due_at_ms=None),
        "c": _step("waiting", waits={"for": "time"}, due_at_ms=2_000),
    }
    since = "since 1970-01-01 00:00:01Z"
    assert [line.rpartition("2.5 s  ")[2] for line in _draw([["a", "b", "c"]], steps)[1:]] == [
        f"waits for signal paid {since}, until 1970-01-01 00:01:01Z",
        f"waits for signal paid {since}",
        f"waits for a moment {since}, until 1970-01-01 00:00:02Z",
    ]


def test_a_wide_execution_fits_the_screen_and_keeps_what_is_in_flight():
    """Uniform levels shrink to a line; of an open level running and failed steps stay."""
    first = {f"a{n}": _step("completed") for n in range(500)}
    second = {f"b{n}": _step("completed") for n in range(500)} | {
        "b499": _step("running"),
        "b498": _step("failed"),
    }
    third = {f"c{n}": _step("pending") for n in range(500)}
    drawn = _draw([list(first), list(second), list(third)], first | second | third, lines_max=20)
    text = "\n".join(drawn)
    assert len(drawn) <= 24
    assert "level 1  500/500" in text
    assert "b499" in text
    assert "b498" in text
    assert "and 483 more" in text


def test_hostile_keys_and_notes_stay_on_their_line():
    """Nothing a step says can steer the terminal."""
    steps = {"a": _step("running", heartbeat="x\x1b[2J\n" * 100)}
    assert all(line.isprintable() for line in _draw([["a"]], steps))
