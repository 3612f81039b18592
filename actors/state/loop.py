"""A step that is performed for each of many items, as its execution's actor holds it in memory.

Of the items only those are held that the loop has still something to do with: as many as may be in
flight. Whatever comes after is a number (`begun`), whatever lies behind is counted, and its outputs
are held only while the list of all of them may become the step's output. So a million items take no
more memory than a thousand. Nothing here decides; `looping` does.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final

import msgspec

from perdure.actors.state.trial import SUSPECT_DEATHS, Trial, worst
from perdure.store.fanout import KeptLoop, LoopWrite, OpenItem, PageWrite, fits
from perdure.store.records import Error
from perdure.store.states import StepState

PAGE_ITEMS: Final = 1_000  # items that are decoded together: an item costs a thousandth of a page


class ItemRun:
    """Where one open item stands."""

    __slots__ = ("attempt", "began_at", "deaths", "died_alone", "generation", "is_stored", "state")

    def __init__(self, generation: int) -> None:
        """Nothing has been done for it yet."""
        self.generation = generation
        self.attempt = 1
        self.began_at: int | None = None  # the attempt that is in flight
        self.deaths = 0
        self.died_alone = False
        self.is_stored = False
        self.state = StepState.PENDING

    @classmethod
    def fold(cls, kept: OpenItem) -> ItemRun:
        """An item as the store has it."""
        self = cls(kept.generation)
        self.attempt = kept.attempt
        self.deaths = kept.deaths
        self.died_alone = kept.alone
        self.is_stored = True
        self.state = kept.state
        return self

    def reopen(self, generation: int) -> None:
        """Begin anew in another generation of the step; what was done in the one before does not count."""
        self.generation = generation
        self.attempt = 1
        self.deaths = 0
        self.died_alone = False


class Loop:
    """One loop: how far it has come, and the items that are open. Changed with a `Turn`."""

    __slots__ = (
        "_page",
        "_page_no",
        "begun",
        "completed",
        "error",
        "failed",
        "lineage",
        "lingering",
        "open",
        "output_bytes",
        "outputs",
        "pages",
        "ready",
        "running",
        "step_no",
        "told",
        "total",
        "trial",
        "waiting",
    )

    def __init__(self, *, step_no: int, lineage: int, total: int, pages: tuple[bytes, ...]) -> None:
        """Nothing has begun; without `pages` the items are their own numbers."""
        self.step_no = step_no
        self.lineage = lineage
        self.total = total
        self.pages = pages
        self.begun = 0
        self.completed = 0
        self.failed = 0
        self.output_bytes = 0
        self.open: dict[int, ItemRun] = {}
        self.ready: deque[int] = deque()  # open, and to be started before others begin
        self.running: set[int] = set()
        self.waiting: dict[int, int] = {}  # for the next attempt, with the moment (ms)
        self.lingering: set[int] = set()  # items whose worker thread goes on after a timeout
        self.outputs: list[bytes] | None = []  # by item; None where they are too much for one list
        self.error: Error | None = None  # why the step is going to fail
        self.trial: Trial | None = None  # while items that may be killing the process are tried
        self.told = 0  # hundredths that the log knows to be done
        self._page: list[msgspec.Raw] = []
        self._page_no = -1

    @classmethod
    def fold(cls, kept: KeptLoop, *, generation: int) -> Loop:
        """A loop as the store has it, for a step in that generation."""
        self = cls(step_no=kept.step_no, lineage=kept.lineage, total=kept.total, pages=kept.pages)
        self.begun, self.completed, self.failed = kept.begun, kept.completed, kept.failed
        self.output_bytes = kept.output_bytes
        self.open = {each.item: ItemRun.fold(each) for each in kept.open}
        for each in kept.open:
            if each.state is StepState.RUNNING:
                self.running.add(each.item)
            elif each.state is StepState.WAITING and each.due_at is not None:
                self.waiting[each.item] = each.due_at
            else:
                self.ready.append(each.item)
            if each.state is StepState.FAILED and each.generation == generation and self.error is None:
                self.error = msgspec.json.decode(each.error or b"null", type=Error | None)
        self._fold_outputs(kept)
        self._put_on_trial()
        self.told = self.percent
        return self

    def _fold_outputs(self, kept: KeptLoop) -> None:
        if not fits(total=self.total, output_bytes=self.output_bytes):
            self.outputs = None
            return
        self.outputs = [b"null"] * self.begun
        for item, output in kept.outputs:
            self.outputs[item] = output

    def _put_on_trial(self) -> None:
        """Let those items be tried first that may be killing the process."""
        suspects = worst(
            (item for item, each in self.open.items() if each.deaths >= SUSPECT_DEATHS),
            lambda item: self.open[item].deaths,
        )
        if suspects:
            self.trial = Trial(suspects[::-1], deaths=self.open[suspects[0]].deaths)

    @property
    def is_done(self) -> bool:
        """Whether every item has come to its end."""
        return self.completed + self.failed == self.total

    @property
    def in_flight(self) -> int:
        """How many items have a body, or a thread that goes on after a timeout."""
        return len(self.running | self.lingering)

    @property
    def percent(self) -> int:
        """How much of it is done, in hundredths."""
        return (self.completed + self.failed) * 100 // self.total if self.total else 100

    @property
    def deaths(self) -> int:
        """How often the process has died while the worst of the open items ran."""
        return max((each.deaths for each in self.open.values()), default=0)

    def item(self, no: int) -> Any:
        """An item, decoded anew for each attempt."""
        if not self.pages:
            return no
        page_no, place = divmod(no, PAGE_ITEMS)
        if page_no != self._page_no:
            self._page = msgspec.json.decode(self.pages[page_no], type=list[msgspec.Raw])
            self._page_no = page_no
        return msgspec.json.decode(self._page[place])

    def begin_next(self, generation: int) -> int:
        """Open the first item that has not begun."""
        item = self.begun
        self.begun += 1
        self.open[item] = ItemRun(generation)
        return item

    def complete(self, item: int, output: bytes) -> None:
        """An item has come to its output."""
        del self.open[item]
        self.completed += 1
        self.output_bytes += len(output)
        self._keep(item, output)

    def forgive(self, item: int) -> None:
        """An item has failed for good, and the step goes on: its place in the list is null."""
        del self.open[item]
        self.failed += 1
        self.output_bytes += len(b"null")
        self._keep(item, b"null")

    def _keep(self, item: int, output: bytes) -> None:
        if self.outputs is None:
            return
        if not fits(total=self.total, output_bytes=self.output_bytes):
            self.outputs = None
            return
        self.outputs += [b"null"] * (item + 1 - len(self.outputs))
        self.outputs[item] = output

    def result(self, *, execution_id: str, step: str) -> bytes:
        """The output of the step: the list, or where it is too long what it takes to read it in pages."""
        if self.outputs is not None:
            return b"[" + b",".join(self.outputs) + b"]"
        return msgspec.json.encode(
            {
                "execution_id": execution_id,
                "step": step,
                "lineage": self.lineage,
                "total": self.total,
                "failed": self.failed,
                "bytes": self.output_bytes,
            }
        )

    def write(self, *, is_new: bool) -> LoopWrite:
        """How far it has come, for the store."""
        return LoopWrite(
            step_no=self.step_no,
            lineage=self.lineage,
            total=self.total,
            begun=self.begun,
            completed=self.completed,
            failed=self.failed,
            output_bytes=self.output_bytes,
            pages=tuple(map(PageWrite, self.pages)) if is_new else None,
        )

    def describe(self) -> dict[str, int]:
        """How far it has come, for people."""
        return {
            "total": self.total,
            "begun": self.begun,
            "completed": self.completed,
            "failed": self.failed,
            "running": len(self.running),
            "waiting": len(self.waiting),
        }
