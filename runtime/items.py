"""The items of a step that is performed for many, read in pages."""

from __future__ import annotations

from collections.abc import AsyncIterator

from perdure.runtime.near import nearest
from perdure.store.errors import NotFound
from perdure.store.fanout import Loop
from perdure.store.protocol import Store
from perdure.store.records import PAGE_MAX
from perdure.store.scripts.items import Item
from perdure.store.scripts.questions import Questions


async def loop_of(store: Store | Questions, execution_id: str, step: str) -> Loop:
    """How far the items of a step have come. Raises NotFound for a step that has begun none."""
    loops = {loop.step: loop for loop in await store.loops(execution_id)}
    if step not in loops:
        near = nearest(step, loops)
        hint = f"did you mean {near!r}?" if near else "it has no forEach, or has not been reached"
        raise NotFound("step with items", step, hint=hint)
    return loops[step]


async def failures(store: Store | Questions, execution_id: str, loop: Loop) -> int:
    """How many items have failed for now, also those that a retry of their step would perform again."""
    return sum([len(page) async for page in pages(store, execution_id, loop, failed=True)])


async def pages(
    store: Store | Questions,
    execution_id: str,
    loop: Loop,
    *,
    after: int = -1,
    limit: int | None = None,
    failed: bool = False,
) -> AsyncIterator[list[Item]]:
    """Its items that have begun, after that one, in order: at most `limit`, or only those that `failed`."""
    left = loop.total if limit is None else limit
    while left > 0:
        count = min(left, PAGE_MAX)
        page = await store.items(
            execution_id, loop.step, lineage=loop.lineage, after=after, limit=count, failed=failed
        )
        if page:
            yield page
        if len(page) < count:
            return
        left -= count
        after = page[-1].item
