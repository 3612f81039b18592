"""The store that is made for W12 is a store in every respect, and the questions get their answers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import nullcontext

import pytest

from benchmarks import w12_years, years
from perdure.runtime import Runtime
from perdure.store.location import store_at

pytestmark = pytest.mark.anyio
SIZE = 230


@pytest.fixture(scope="module", params=("sqlite", "postgres"))
def used(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A store that looks as if it had been used for long."""
    if request.param == "sqlite":
        place = nullcontext(str(tmp_path_factory.mktemp("years") / "years.db"))
    else:
        server = request.getfixturevalue("postgres_server")
        place = request.getfixturevalue("postgres").schema(server)
    with place as location:
        asyncio.run(years.make(location, SIZE, say=lambda _: None))
        yield location


async def test_copies_are_whole_executions_spread_over_the_time(used: str):
    """Nothing is wrong with them; the first are as old as they are said to be, the last are of today."""
    store = store_at(used)
    await store.open()
    assert await store.verify() == []
    [order] = await store.statistics()
    assert (order.executions, order.completed, order.failed, order.cancelled) == (SIZE, 184, 23, 23)
    executions = await store.executions(limit=SIZE)
    days = (executions[0].created_at - executions[-1].created_at).days
    assert years.SPAN_DAYS - 5 < days <= years.SPAN_DAYS
    assert [one.id for one in (await store.search("order-lamp-7")).executions] == ["order-lamp-7"]
    assert len((await store.search("brick refused", limit=SIZE)).executions) == 23
    await store.close()


async def test_every_question_is_answered(used: str):
    """With a figure each."""
    async with Runtime(used) as runtime:
        found = await w12_years.answers(runtime, SIZE // years.MODELS)
        found["prune_ms"] = await w12_years.pruning(runtime)
    asked = {figure.name for figure in w12_years.QUESTION.figures}
    assert asked - set(found) == {"start_ms", "bytes_per_execution"}
    found["bytes_per_execution"] = await years.bytes_of(used) / SIZE
    assert all(value > 0 for value in found.values())


async def test_work_goes_on_after_them(used: str):
    """New executions take the next numbers, whoever has handed out those before."""
    workflow = years.order()
    async with Runtime(used, workflows=[workflow]) as runtime:
        execution = await runtime.start(workflow, {"item": "lamp", "customer": "a new one"})
        await execution.result()
    store = store_at(used)
    await store.open()
    assert await store.verify() == []
    await store.close()
