"""The log of what has ended loses the lines that repeat what a table says, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.store.scripts.compaction import Compact
from perdure.store.states import State
from perdure.store.writes import CheckpointWrite, EventWrite

pytestmark = pytest.mark.anyio

EVER = 2**50


def taken(label: str | None = None, *, automatic: bool = True) -> CheckpointWrite:
    """A checkpoint."""
    return CheckpointWrite(label, None, automatic=automatic, steps_completed=1, steps_total=3, size_bytes=9)


async def life(book: Any, id_: str, *, ends: bool = True) -> list[str]:
    """An execution with checkpoints of every kind; the types of its log as they should stay."""
    execution = await book.start(id_)
    created, done = EventWrite("checkpoint_created"), EventWrite("step_completed", 0)
    execution = await book.move(
        execution, events=(done, created), checkpoint=taken(), attempts=(book.outcome(0),)
    )
    by_somebody = EventWrite("checkpoint_created", by="anna", command_id="c1")
    execution = await book.move(execution, events=(by_somebody,), checkpoint=taken("mine", automatic=False))
    execution = await book.move(execution, events=(created,), checkpoint=taken())
    labelled = taken("level 1", automatic=False)
    execution = await book.move(execution, events=(done, created), checkpoint=labelled)
    if ends:
        end = EventWrite("workflow_cancelled")
        await book.move(execution, State.CANCELLED, events=(end,), fields={"finished_at": book.tick()})
    kept = ["workflow_started", "step_completed", *["checkpoint_created"] * 2]
    return [*kept, "step_completed", "checkpoint_created", "workflow_cancelled"]


async def log(book: Any, id_: str) -> list[str]:
    """The types of its events."""
    return [event.type for event in await book.store.events(execution_id=id_)]


async def test_only_what_an_automatic_checkpoint_says_itself_goes(book):
    """Not what somebody asked for, nor the only line of a version; the checkpoints stay."""
    kept = await life(book, "e1")
    before = await book.store.checkpoints("e1")
    done = await book.write(Compact(before=EVER, limit=10))
    assert (done.events, done.is_done) == (1, True)
    assert await log(book, "e1") == kept
    assert await book.store.checkpoints("e1") == before
    assert await book.store.verify() == []
    assert not await book.store.is_compaction_due(before=EVER)


async def test_what_has_not_ended_by_then_keeps_its_log(book):
    """Nobody comes back to it: it goes as a whole when its time has come."""
    await life(book, "runs", ends=False)
    whole = await log(book, "runs")
    await life(book, "ended")
    middle = book.tick()
    await life(book, "young")
    young = await log(book, "young")
    done = await book.write(Compact(before=middle, limit=10))
    assert (done.events, done.is_done) == (1, True)
    assert await log(book, "runs") == whole
    assert await log(book, "young") == young
    assert await book.store.is_compaction_due(before=EVER)
    assert (await book.write(Compact(before=EVER, limit=10))).events == 1
    assert await log(book, "runs") == whole


async def test_each_execution_is_looked_at_once_a_few_at_a_time(book):
    """It is known how far that has come."""
    for number in range(5):
        await life(book, f"e{number}")
    found = [await book.write(Compact(before=EVER, limit=2)) for _ in range(4)]
    assert [(one.events, one.is_done) for one in found] == [(2, False), (2, False), (1, True), (0, True)]
