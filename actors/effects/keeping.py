"""The part of a turn that keeps rows of all kinds: what comes for steps, how far their items are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from perdure.actors.state.loop import Loop
from perdure.store.asking import Approval, ApprovalWrite
from perdure.store.fanout import ItemWrite
from perdure.store.records import KeptSignal
from perdure.store.writes import SignalMove, SignalWrite

if TYPE_CHECKING:
    from perdure.actors.state.execution import ExecutionState

NOTHING: Final[Mapping[str, tuple[Any, ...]]] = {}


class Keeping:
    """What a turn writes of them. Most turns write none: a kind has a list from its first row on."""

    __slots__ = ("_items", "_loops", "_rows")

    state: ExecutionState
    version_before: int

    def __init__(self) -> None:
        """Nothing has come yet."""
        self._rows: dict[str, list[Any]] = {}  # by what a Delta calls them
        self._loops: dict[int, tuple[Loop, bool]] = {}  # by step, and whether it is new
        self._items: dict[tuple[int, int], ItemWrite] = {}

    def keep(self, kind: str, row: Any) -> None:
        """Keep a row of that kind, which is the name of a field of Delta."""
        self._rows.setdefault(kind, []).append(row)

    def touch(self, loop: Loop, *, is_new: bool = False) -> None:
        """Keep how far a loop has come; one that is new, with what it goes over."""
        known = self._loops.get(loop.step_no)
        self._loops[loop.step_no] = (loop, is_new or (known is not None and known[1]))

    def move_item(self, item: ItemWrite) -> None:
        """Keep where an item stands; what it has been through within this turn is not written."""
        key = (item.step_no, item.item)
        known = self._items.get(key)
        if known is not None:
            started_at = known.started_at if item.started_at is None else item.started_at
            item = msgspec.structs.replace(item, is_new=known.is_new, started_at=started_at)
        self._items[key] = item

    def keep_signal(self, name: str, payload: bytes) -> KeptSignal:
        """Keep a signal that has just come; the version this turn makes names it."""
        signal = KeptSignal(version=self.version_before + 1, name=name, payload=msgspec.Raw(payload))
        self.state.signals.append(signal)
        self.keep("signals", SignalWrite(name, payload))
        return signal

    def take_signal(self, signal: KeptSignal, *, step_no: int) -> None:
        """Let a step take a signal that is kept."""
        self.state.signals.remove(signal)
        self.keep("taken", SignalMove(signal.version, step_no))

    def give_back(self, signals: Iterable[KeptSignal]) -> None:
        """Keep signals again that steps had taken."""
        for signal in signals:
            self.keep("taken", SignalMove(signal.version, None))
            self.state.signals.append(signal)
        self.state.signals.sort(key=lambda signal: signal.version)

    def keep_approval(self, approval: Approval) -> None:
        """Keep what a step asks people, and what they have decided."""
        self.state.approvals[approval.step_no] = approval
        self.keep("approvals", ApprovalWrite(approval.step_no, approval))

    def drop_approval(self, step_no: int) -> None:
        """Nobody is asked any more."""
        if self.state.approvals.pop(step_no, None) is not None:
            self.keep("approvals", ApprovalWrite(step_no, None))

    def kept(self) -> Mapping[str, tuple[Any, ...]]:
        """Its part of what the turn writes: the kinds of which there are rows."""
        if not (self._rows or self._loops):
            return NOTHING
        kept: dict[str, tuple[Any, ...]] = {kind: tuple(rows) for kind, rows in self._rows.items()}
        if self._loops:
            kept["loops"] = tuple(loop.write(is_new=is_new) for loop, is_new in self._loops.values())
            kept["items"] = tuple(self._items.values())
        return kept
