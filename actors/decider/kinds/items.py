"""What a step goes over, taken once and kept: a list, cut into pages, or just so many numbers. Pure."""

from __future__ import annotations

from typing import Any, Final

from perdure.actors.instructions.plan import ITEMS_MAX
from perdure.actors.state.loop import PAGE_ITEMS
from perdure.store.codec import encode
from perdure.store.errors import PayloadTooLarge, PerdureError

ITEMS_BYTES_MAX: Final = 16 * 2**20  # of a list, which is held in memory while the step goes over it


class BadItems(PerdureError):
    """What a step was to go over is no list and no count, or is too long."""


def cut(answer: Any) -> tuple[int, tuple[bytes, ...]]:
    """How many items there are, and the pages of the list; none for a count.

    Raises BadItems, NotSerializable, PayloadTooLarge.
    """
    if isinstance(answer, bool) or not isinstance(answer, int | list | tuple | range):
        raise BadItems(f"{answer!r:.80} is no list, and no count of items")
    total = answer if isinstance(answer, int) else len(answer)
    if not 0 <= total <= ITEMS_MAX:
        raise BadItems(f"there are {total:,} items: 0 to {ITEMS_MAX:,} may be gone over; give each a range")
    if isinstance(answer, int) or answer == range(total):
        return total, ()
    pages: list[bytes] = []
    size = 0
    for start in range(0, total, PAGE_ITEMS):
        stop = min(start + PAGE_ITEMS, total)
        what = f"the list of items, up to {stop - 1:,},"
        page = encode(list(answer[start:stop]), what=what, bytes_max=ITEMS_BYTES_MAX)
        pages.append(page)
        size += len(page)
        if size > ITEMS_BYTES_MAX:
            raise PayloadTooLarge(what, size=size, limit=ITEMS_BYTES_MAX)
    return total, tuple(pages)
