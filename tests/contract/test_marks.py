"""Checkpoints that nobody has named or builds on may be forgotten."""

from __future__ import annotations

import pytest

from perdure.store.errors import NotFound
from perdure.store.scripts.marks import PruneCheckpoints
from perdure.store.states import State
from perdure.store.writes import CheckpointWrite, ForkWrite

pytestmark = pytest.mark.anyio


async def marked(book, *labels: str | None) -> None:
    """An execution `e1` with a checkpoint for each label from version 2 on; the unnamed are automatic."""
    execution = await book.start()
    for position, label in enumerate(labels, start=1):
        point = CheckpointWrite(
            label=label,
            by=None,
            automatic=label is None,
            steps_completed=0,
            steps_total=3,
            size_bytes=position,
        )
        execution = await book.move(execution, checkpoint=point)


async def test_only_what_nobody_has_named_or_forked_goes(book):
    """Whatever is asked for."""
    await marked(book, None, "named", None, None)
    fork = ForkWrite(source_id="e1", source_version=4)
    await book.write(book.starting("fork", state=State.IDLE, fork=fork))
    assert [point.version for point in await book.store.checkpoints_removable("e1")] == [5, 2]
    assert await book.write(PruneCheckpoints(execution_id="e1", versions=(2, 3, 4, 5, 6))) == 2
    assert [point.version for point in await book.store.checkpoints("e1")] == [4, 3]
    assert await book.write(PruneCheckpoints(execution_id="e1", versions=(2,))) == 0


async def test_to_prune_an_execution_that_is_not_there_is_refused(book):
    """And asking for its numbers, too."""
    assert isinstance(await book.answer_to(PruneCheckpoints(execution_id="e9", versions=(1,))), NotFound)
    with pytest.raises(NotFound):
        await book.store.checkpoint_statistics("e9")


async def test_the_checkpoints_of_an_execution_are_counted(book):
    """By kind, with the outputs they stand for."""
    await book.start("bare")
    assert (await book.store.checkpoint_statistics("bare")).count == 0
    await marked(book, None, "named", None)
    numbers = await book.store.checkpoint_statistics("e1")
    assert (numbers.count, numbers.automatic, numbers.labelled) == (3, 2, 1)
    assert (numbers.size_bytes, numbers.size_bytes_max) == (6, 3)
    assert numbers.first_at < numbers.last_at
