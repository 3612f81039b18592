"""Names in messages: cut to what can be shown, and the nearest valid one to a mistyped one."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

WORK_MAX: Final = 500_000  # names times the square of their length: some 20 ms of comparing
SHOWN_MAX: Final = 80  # characters of a name in a message
LIKENESS_MIN: Final = 0.6  # below it a suggestion puzzles more than it helps


def nearest(name: str, known: Collection[str]) -> str | None:
    """Return the one of `known` that looks most like `name`, or None when nothing does."""
    if len(known) * len(name) ** 2 > WORK_MAX:
        return None
    import difflib  # noqa: PLC0415  nothing is mistyped in most processes

    folded = {each.casefold(): each for each in known}
    found = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=LIKENESS_MIN)
    return folded[found[0]] if found else None


def quoted(text: object) -> str:
    """Return a name in quotes, cut to what fits into a message."""
    written = repr(text)
    return written if len(written) <= SHOWN_MAX else f"{written[: SHOWN_MAX - 2]}…{written[-1]}"
