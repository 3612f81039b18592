"""The picture of a running execution: levels, steps, progress and durations as lines of cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from perdure.runtime.cli.render import LOOKS, duration, value
from perdure.runtime.cli.text import Cell, clean, cut

NAME_CHARACTERS_MAX: Final = 40  # a longer key would push what happens off the line
NOTE_CHARACTERS_MAX: Final = 90  # a heartbeat, an error or what is waited for, beside the duration
OPEN_STATES: Final = frozenset({"running", "waiting"})
DONE_STATES: Final = frozenset({"completed", "failed", "cancelled", "skipped", "compensated"})

Line = list[Cell]


def tree(query: Mapping[str, Any], *, ended_ms: Mapping[str, int], now_ms: int, lines_max: int) -> list[Line]:
    """Draw what a query answered, in at most about `lines_max` lines.

    `ended_ms` says when steps settled. When there is not room for every step, levels that are all
    settled or all pending shrink to one line, then the steps of open levels are cut, those in
    flight and those that failed staying longest.
    """
    levels: Sequence[Sequence[str]] = query["levels"]
    steps: Mapping[str, Mapping[str, Any]] = query["steps"]
    is_tight = len(steps) + len(levels) > lines_max
    open_levels = sum(1 for level in levels if not _is_uniform(level, steps)) or 1
    room = max(3, (lines_max - len(levels)) // open_levels)
    names = min(NAME_CHARACTERS_MAX, max((len(key) for key in steps), default=0))

    lines: list[Line] = []
    for number, level in enumerate(levels, start=1):
        is_last = number == len(levels)
        lines.append(_level_line(number, level, steps, is_last=is_last))
        if is_tight and _is_uniform(level, steps):
            continue
        shown = _most_telling(level, steps, room=room) if is_tight else level
        stem = "   " if is_last else "│  "
        lines.extend(
            [
                Cell(stem, "dim"),
                *_step_cells(key, steps[key], names, ended_ms=ended_ms.get(key), now_ms=now_ms),
            ]
            for key in shown
        )
        if len(shown) < len(level):
            lines.append([Cell(f"{stem}… and {len(level) - len(shown)} more", "dim")])
    return lines


def _is_uniform(level: Sequence[str], steps: Mapping[str, Mapping[str, Any]]) -> bool:
    states = {steps[key]["state"] for key in level}
    return states <= {"completed"} or states <= {"pending"} or states <= {"skipped"}


def _most_telling(level: Sequence[str], steps: Mapping[str, Mapping[str, Any]], *, room: int) -> list[str]:
    """The steps in flight and those that failed first, in the order of the level."""
    telling = sorted(
        level, key=lambda key: steps[key]["state"] not in OPEN_STATES and steps[key]["state"] != "failed"
    )
    chosen = set(telling[:room])
    return [key for key in level if key in chosen]


def _level_line(
    number: int, level: Sequence[str], steps: Mapping[str, Mapping[str, Any]], *, is_last: bool
) -> Line:
    done = sum(steps[key]["state"] in DONE_STATES for key in level)
    return [Cell("└─ " if is_last else "├─ ", "dim"), Cell(f"level {number}  {done}/{len(level)}", "dim")]


def _step_cells(
    key: str, step: Mapping[str, Any], names: int, *, ended_ms: int | None, now_ms: int
) -> Sequence[Cell]:
    state = step["state"]
    glyph, colour = LOOKS.get(state, LOOKS["running"])
    name = cut(clean(key), limit=NAME_CHARACTERS_MAX).ljust(names)
    cells = [Cell(f"{glyph} ", colour), Cell(f"{name}  "), Cell(f"{state:<9}", colour)]
    started = step.get("started_at_ms")
    if started is not None and (state in OPEN_STATES or ended_ms is not None):
        cells.append(Cell(f"  {duration(max(0, (ended_ms or now_ms) - started))}"))
    if step.get("attempt", 0) > 1:
        cells.append(Cell(f"  attempt {step['attempt']}", "yellow"))
    if note := _note(step):
        cells.append(Cell(f"  {cut(clean(note), limit=NOTE_CHARACTERS_MAX)}", "dim"))
    return cells


def waits_for(step: Mapping[str, Any]) -> str:
    """What a waiting step waits for, since when and until when."""
    waits = step["waits"]
    what = _WHAT[waits["for"]](waits)
    since = moment_text(step.get("started_at_ms"))
    until = "" if step.get("due_at_ms") is None else f", until {moment_text(step['due_at_ms'])}"
    asked = clean(" ".join((waits.get("message") or "").split()))
    return f"waits for {what} since {since}{until}" + (f": {asked}" if asked else "")


def _approval(waits: Mapping[str, Any]) -> str:
    """Whose approval, how many have given it, and for what."""
    asked = ", ".join(map(clean, waits["approvers"]))
    by = f" by {asked}" if asked else ""
    given = f" ({len(waits['decisions'])} of {waits['quorum']})" if waits["quorum"] > 1 else ""
    return f"approval{by}{given}"


def _signal(waits: Mapping[str, Any]) -> str:
    return f"signal {clean(waits['signal'])}"


def _moment(_waits: Mapping[str, Any]) -> str:
    return "a moment"


def _child(waits: Mapping[str, Any]) -> str:
    return f"child {waits['child']} ({clean(waits['workflow'])})"


_WHAT: Final = {"signal": _signal, "approval": _approval, "time": _moment, "child": _child}


def skipped_since(why: Mapping[str, Any]) -> str:
    """Why a step was skipped, from what the log says of it."""
    which = ", ".join(clean(key) for key in why.get("of", ()))
    match why["reason"]:
        case "when":
            condition = " ".join((why.get("when") or "").split())
            return "its condition was false" + (f": {clean(condition)}" if condition else "")
        case "dependencies":
            return f"not completed: {which}" if which else "what it depends on has not completed"
        case "rejected":
            return "it was rejected"
        case "timeout":
            return "what it waited for did not come in time"
        case "rollback":
            return "the execution was rolled back before it began"
        case other:
            return str(other)


def moment_text(ms: int | None) -> str:
    """A moment in UTC, to the second."""
    return "–" if ms is None else f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M:%SZ}"


def items_text(step: Mapping[str, Any]) -> str:
    """How many of the items of a step are done; empty where it has none."""
    items = step.get("items")
    if items is None:
        return ""
    failed = f", {items['failed']:,} failed" if items["failed"] else ""
    waiting = f", {items['waiting']:,} wait for a retry" if items["waiting"] else ""
    done = items["completed"] + items["failed"]
    return f"{done:,} of {items['total']:,} items done{failed}{waiting}"


def _note(step: Mapping[str, Any]) -> str:
    if step.get("error") and step["state"] not in {"completed", "running"}:
        return f"{step['error']['type']}: {step['error']['message']}"
    if step.get("waits"):
        return waits_for(step)
    if items := items_text(step):
        return items
    if step.get("heartbeat") is not None and step["state"] in OPEN_STATES:
        return value(step["heartbeat"])
    return ""
