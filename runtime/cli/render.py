"""Records as people read them (words with glyphs, relative times) and as programs do (JSON)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import IO, Any, Final, Literal

import msgspec

from perdure.runtime.cli.text import Cell, clean, columns, cut, paint

Format = Literal["table", "json", "jsonl"]

_SECOND_MS: Final = 1_000
_MINUTE_S: Final = 60
_HOUR_S: Final = 3_600
_DAY_S: Final = 86_400
_PROGRESS_CELLS: Final = 10  # enough to see how far; the numbers beside it say exactly

# word → glyph, colour. Never colour alone, never glyph alone: the word is always there.
LOOKS: Final[dict[str, tuple[str, str]]] = {
    "initiated": ("○", "dim"),
    "pending": ("·", "dim"),
    "running": ("●", "blue"),
    "waiting": ("◌", "yellow"),
    "pausing": ("‖", "yellow"),
    "paused": ("‖", "yellow"),
    "cancelling": ("⊘", "magenta"),
    "completed": ("✔", "green"),
    "failed": ("✘", "red"),
    "cancelled": ("⊘", "magenta"),
    "skipped": ("↷", "dim"),
    "compensating": ("↶", "magenta"),
    "compensated": ("↶", "magenta"),
    "rolled_back": ("↶", "magenta"),
}


class Output:
    """Where data goes: one format, one decision on colour."""

    def __init__(self, stream: IO[str], *, format: Format = "table", in_colour: bool = False) -> None:
        """`format` decides how `records` prints."""
        self.format = format
        self.in_colour = in_colour and format == "table"
        self._stream = stream
        self._has_all = (getattr(stream, "encoding", None) or "utf-8").lower().startswith("utf")

    def write(self, text: str) -> None:
        """Print text as it is, line end included."""
        self._stream.write(text)

    def flush(self) -> None:
        """Let a reader at the other end of a pipe see what was printed."""
        self._stream.flush()

    def json(self, value: Any) -> None:
        """Print one value: indented for `json`, as one line for `jsonl`."""
        if self.format == "jsonl":
            self.line(value)
            return
        self.write(self._escaped(msgspec.json.format(msgspec.json.encode(value), indent=2)) + "\n")

    def line(self, value: Any) -> None:
        """Print one value as one line of JSON."""
        self.write(self._escaped(msgspec.json.encode(value)) + "\n")

    def records(self, records: Sequence[Any]) -> None:
        """Print records for programs: one array for `json`, one line each for `jsonl`."""
        if self.format == "json":
            self.json(list(records))
            return
        for record in records:
            self.line(record)

    def _escaped(self, document: bytes) -> str:
        """JSON that says the same where the stream's encoding has no room for all characters."""
        text = document.decode()
        if self._has_all or text.isascii():
            return text
        import json

        return re.sub(r"[^\x00-\x7f]+", lambda found: json.dumps(found[0])[1:-1], text)

    def table(self, heads: Sequence[str], rows: Sequence[Sequence[Cell | str]]) -> None:
        """Print columns for people."""
        self.write(columns(heads, rows, in_colour=self.in_colour))

    def word(self, word: str) -> Cell:
        """A status or state as glyph and word."""
        glyph, colour = LOOKS.get(word, LOOKS["running"])
        return Cell(f"{glyph} {word}", colour)

    def done(self, word: str = "done") -> str:
        """The word that says that it is done, and well."""
        return self.paint(Cell(f"✔ {word}", "green"))

    def paint(self, cell: Cell) -> str:
        """A cell outside a table."""
        return paint(clean(cell.text), cell.colour, in_colour=self.in_colour)


def ago(at: datetime | None, *, now: datetime) -> str:
    """How long ago that was, or in how long it will be, to the unit that matters."""
    if at is None:
        return "–"
    seconds = (now - at).total_seconds()
    text = _span(abs(seconds))
    if text == "0 s":
        return "now"
    return f"{text} ago" if seconds > 0 else f"in {text}"


def duration(milliseconds: float | None) -> str:
    """A length of time: 12 ms, 3.4 s, 2 min 5 s, 3 h 10 min."""
    if milliseconds is None:
        return "–"
    if round(milliseconds) < _SECOND_MS:
        return f"{milliseconds:.0f} ms"
    if round(milliseconds / _SECOND_MS, 1) < _MINUTE_S:
        return f"{milliseconds / _SECOND_MS:.1f} s"
    seconds = round(milliseconds / _SECOND_MS)
    if seconds < _HOUR_S:
        return f"{seconds // _MINUTE_S} min {seconds % _MINUTE_S} s"
    if seconds < _DAY_S:
        return f"{seconds // _HOUR_S} h {seconds % _HOUR_S // _MINUTE_S} min"
    return f"{seconds // _DAY_S} d {seconds % _DAY_S // _HOUR_S} h"


def since(start: datetime | None, end: datetime | None, *, now: datetime) -> str:
    """How long something took, or has been taking."""
    return "–" if start is None else duration(((end or now) - start).total_seconds() * _SECOND_MS)


def size(count: int) -> str:
    """A number of bytes: 512 B, 3.2 kB, 1.5 MB."""
    amount = float(count)
    for unit in ("B", "kB", "MB"):
        if amount < _SECOND_MS:
            return f"{amount:.0f} B" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= _SECOND_MS
    return f"{amount:.1f} GB"


def counted(number: int, noun: str) -> str:
    """How many: `1 step`, `2,000 steps`."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def progress(done: int, total: int) -> str:
    """How far, as a bar and in numbers."""
    filled = round(_PROGRESS_CELLS * done / total) if total else 0
    return f"{'█' * filled}{'░' * (_PROGRESS_CELLS - filled)} {done}/{total}"


def value(data: Any, *, limit: int = 80) -> str:
    """Any JSON value on one line."""
    if data is None:
        return "–"
    return cut(data if isinstance(data, str) else msgspec.json.encode(data).decode(), limit=limit)


def amount(cost: float | None, tokens: float | None) -> str:
    """What something costs: `0.25` money, tokens, or both; a dash for nothing."""
    parts = [] if not cost else [f"{cost:,.6f}".rstrip("0").rstrip(".")]
    if tokens:
        parts.append(f"{tokens:,.0f} tokens")
    return ", ".join(parts) or "–"


def spending(query: Mapping[str, Any]) -> str:
    """What an execution has used, and of how much; empty where neither was ever said."""
    used, budget = query["usage"], query["budget"] or {}
    parts = []
    for name, unit in (("cost", ""), ("tokens", " tokens")):
        limit = budget.get(name)
        if used[name] or limit is not None:
            of = "" if limit is None else f" of {limit:,}"
            parts.append(f"{used[name]:,}{of}{unit}")
    return ", ".join(parts)


def tripped(breaker: Mapping[str, Any], *, now: datetime) -> str:
    """What a circuit breaker has done, and whether somebody has reset it."""
    when = ago(datetime.fromtimestamp(breaker["tripped_at"] / 1000, UTC), now=now)
    reset = "" if breaker["reset_at"] is None else "; reset since"
    return f"tripped {when}: {breaker['reason']}{reset}"


def _span(seconds: float) -> str:
    for size_s, unit, next_s in ((1, "s", _MINUTE_S), (_MINUTE_S, "min", _HOUR_S), (_HOUR_S, "h", _DAY_S)):
        count = round(seconds / size_s)
        if count * size_s < next_s:
            return f"{count} {unit}"
    return f"{seconds / _DAY_S:.0f} d"
