"""The loops and items of one execution, as a store would hold them: for the bench."""

from __future__ import annotations

from typing import Any

import msgspec

from perdure.store.fanout import ItemWrite, KeptLoop, LoopWrite, OpenItem, fits
from perdure.store.states import StepState
from perdure.store.writes import AttemptWrite, Delta


class ItemRow(msgspec.Struct):
    """One item as a store keeps it."""

    write: ItemWrite
    deaths: int = 0
    alone: bool = False


class ItemRows:
    """What a store would hold of loops, and what must hold for it."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.loops: dict[tuple[int, int], LoopWrite] = {}
        self.items: dict[tuple[int, int, int], ItemRow] = {}
        self.starts: dict[tuple[int, int, int], int] = {}

    def write(self, delta: Delta) -> None:
        """Take what a change brings."""
        for loop in delta.loops:
            self._put_loop(loop)
        for item in delta.items:
            self._put(item)
        for (step_no, lineage), loop in self.loops.items():
            rows = [row.write for key, row in self.items.items() if key[:2] == (step_no, lineage)]
            closed = [row for row in rows if not row.is_open]
            assert loop.completed == sum(row.state is StepState.COMPLETED for row in closed)
            assert loop.failed == sum(row.state is StepState.FAILED for row in closed)
            assert loop.begun == len(rows)
            assert loop.output_bytes == sum(len(row.output or b"null") for row in closed)

    def _put_loop(self, loop: LoopWrite) -> None:
        key = (loop.step_no, loop.lineage)
        known = self.loops.get(key)
        assert (known is None) is (loop.pages is not None), "a loop is new once"
        pages = loop.pages if known is None else known.pages
        self.loops[key] = msgspec.structs.replace(loop, pages=pages)

    def _put(self, item: ItemWrite) -> None:
        key = (item.step_no, item.lineage, item.item)
        known = self.items.get(key)
        assert (known is None) is item.is_new
        if item.started_at is not None:
            self.starts[key] = self.starts.get(key, 0) + 1
        if known is None:
            self.items[key] = ItemRow(item)
            return
        assert known.write.is_open, f"item {key} had come to its end"
        if known.write.generation != item.generation:
            known.deaths, known.alone = 0, False
        known.write = item

    def running(self) -> list[ItemRow]:
        """Those in flight."""
        return [row for row in self.items.values() if row.write.state is StepState.RUNNING]

    def has_loop(self, step_no: int) -> bool:
        """Whether a step goes over items."""
        return any(key[0] == step_no for key in self.loops)

    def loaded(self, newest: dict[int, Any]) -> tuple[KeptLoop, ...]:
        """What the next owner is given."""
        found = []
        for (step_no, lineage), loop in sorted(self.loops.items()):
            attempt: AttemptWrite | None = newest[step_no].write if step_no in newest else None
            if lineage != (0 if attempt is None else attempt.lineage):
                continue
            if attempt is None or attempt.state is not StepState.COMPLETED:
                found.append(self._kept(loop))
        return tuple(found)

    def _kept(self, loop: LoopWrite) -> KeptLoop:
        rows = [row for key, row in sorted(self.items.items()) if key[:2] == (loop.step_no, loop.lineage)]
        inline = fits(total=loop.total, output_bytes=loop.output_bytes)
        return KeptLoop(
            step_no=loop.step_no,
            lineage=loop.lineage,
            total=loop.total,
            begun=loop.begun,
            completed=loop.completed,
            failed=loop.failed,
            output_bytes=loop.output_bytes,
            pages=tuple(page.payload for page in loop.pages or ()),
            open=tuple(_open(row) for row in rows if row.write.is_open),
            outputs=tuple(
                (row.write.item, row.write.output)
                for row in rows
                if inline and row.write.state is StepState.COMPLETED and row.write.output is not None
            ),
        )


def _open(row: ItemRow) -> OpenItem:
    write = row.write
    return OpenItem(
        item=write.item,
        generation=write.generation,
        attempt=write.attempt,
        state=write.state,
        due_at=write.due_at,
        deaths=row.deaths,
        alone=row.alone,
        error=write.error,
    )
