"""The rows of all kinds that a turn writes beside its attempts and lines of the log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from perdure.actors.state.loop import Loop
from perdure.store.fanout import ItemWrite

NOTHING: Final[Mapping[str, tuple[Any, ...]]] = {}


class Kept:
    """What is kept of them. Most turns keep nothing: a kind has a list from its first row on."""

    __slots__ = ("_items", "_loops", "_rows")

    def __init__(self) -> None:
        """Nothing has come yet."""
        self._rows: dict[str, list[Any]] = {}  # by what a Delta calls them
        self._loops: dict[int, tuple[Loop, bool]] = {}  # by step, and whether it is new
        self._items: dict[tuple[int, int], ItemWrite] = {}

    def row(self, kind: str, row: Any) -> None:
        """Keep a row of that kind, which is the name of a field of Delta."""
        self._rows.setdefault(kind, []).append(row)

    def loop(self, loop: Loop, *, is_new: bool = False) -> None:
        """Keep how far a loop has come; one that is new, with what it goes over."""
        known = self._loops.get(loop.step_no)
        self._loops[loop.step_no] = (loop, is_new or (known is not None and known[1]))

    def item(self, item: ItemWrite) -> None:
        """Keep where an item stands; what it has been through within this turn is not written."""
        key = (item.step_no, item.item)
        known = self._items.get(key)
        if known is not None:
            started_at = known.started_at if item.started_at is None else item.started_at
            item = msgspec.structs.replace(item, is_new=known.is_new, started_at=started_at)
        self._items[key] = item

    @property
    def is_empty(self) -> bool:
        """Whether nothing was kept."""
        return not (self._rows or self._loops)

    def all(self) -> Mapping[str, tuple[Any, ...]]:
        """The kinds of which there are rows, as a Delta names them."""
        if self.is_empty:
            return NOTHING
        kept: dict[str, tuple[Any, ...]] = {kind: tuple(rows) for kind, rows in self._rows.items()}
        if self._loops:
            kept["loops"] = tuple(loop.write(is_new=is_new) for loop, is_new in self._loops.values())
            kept["items"] = tuple(self._items.values())
        return kept
