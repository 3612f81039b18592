"""A checkpoint is a name for a position in the log."""

from __future__ import annotations

import pytest

from perdure.store.errors import StoreError
from perdure.store.records import PAGE_MAX
from perdure.store.writes import CheckpointWrite

pytestmark = pytest.mark.anyio


def named(label: str | None, **fields) -> CheckpointWrite:
    """A checkpoint of that label."""
    usual = {"by": None, "automatic": label is None, "steps_completed": 1, "steps_total": 3, "size_bytes": 7}
    return CheckpointWrite(label=label, **(usual | fields))


async def test_a_checkpoint_names_the_version_its_change_makes(book):
    """With who asked for it and how far things had come; the newest is listed first."""
    execution = await book.move(await book.start(), checkpoint=named("first", by="anna"))
    await book.move(execution, checkpoint=named(None))
    newest, oldest = await book.store.checkpoints("e1")
    assert (newest.version, newest.label, newest.automatic) == (3, None, True)
    assert (oldest.version, oldest.label, oldest.automatic, oldest.by) == (2, "first", False, "anna")
    assert (oldest.steps_completed, oldest.steps_total, oldest.size_bytes) == (1, 3, 7)
    assert await book.store.checkpoints("e1", limit=1) == [newest]
    assert await book.store.checkpoints("nobody") == []


async def test_a_checkpoint_is_found_by_label_or_version(book):
    """Of two with one label the newest; digits may be either."""
    execution = await book.start()
    for label in ("draft", "draft", None, "2"):
        execution = await book.move(execution, checkpoint=named(label))
    find = book.store.checkpoint
    assert [(await find("e1", wanted)).version for wanted in ("draft", 2, "4", "2")] == [3, 2, 4, 5]
    for wanted in ("other", 9, "02", ""):
        assert await find("e1", wanted) is None
    assert await find("nobody", "draft") is None


async def test_a_checkpoint_older_than_a_whole_page_is_still_found(book):
    """A label from the beginning of a long execution is as good as a new one."""
    execution = await book.move(await book.start(), checkpoint=named("begin"))
    await book.raw(
        "WITH RECURSIVE n (i) AS (SELECT 3 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
        "INSERT INTO workflow_checkpoints SELECT ?, i, NULL, NULL, 1, 0, 0, 0, 0 FROM n",
        PAGE_MAX + 100,
        execution.no,
    )
    assert len(await book.store.checkpoints("e1", limit=10_000)) == PAGE_MAX
    assert (await book.store.checkpoint("e1", "begin")).version == 2


async def test_a_checkpoint_of_a_refused_change_does_not_exist(book):
    """It is part of the change."""
    execution = await book.start()
    refusal = await book.answer_to(book.change(execution, checkpoint=named("x"), fields={"state": "paused"}))
    assert isinstance(refusal, StoreError)
    assert await book.store.checkpoints("e1") == []
