"""A service or a piece of work beside the executions may crash, and ends nothing else."""

from __future__ import annotations

import asyncio
import itertools
import logging

import anyio
import pytest

from perdure.actors.helpers import BACKOFF, Helpers
from perdure.actors.kernel import Alarms
from perdure.runtime.testing import run_virtual
from perdure.store.errors import StoreReplaced


def run(main):
    """In virtual time, with helpers that have no jitter."""

    async def virtually() -> None:
        alarms = Alarms()
        async with anyio.create_task_group() as group:
            await main(Helpers(group, alarms=alarms, chance=lambda: 0.0))
        alarms.close()

    run_virtual(virtually)


def told(caplog: pytest.LogCaptureFixture) -> list[tuple[str, int]]:
    """Who crashed, and how often in a row."""
    assert all(record.levelno == logging.ERROR for record in caplog.records)
    return [(record.fields["helper"], record.fields["crashes"]) for record in caplog.records]


def test_a_service_that_crashes_begins_again_later_each_time(caplog):
    """Twice as long is waited each time, a minute at most; what has run for so long begins anew."""
    began_at: list[float] = []

    async def main(helpers: Helpers) -> None:
        async def serve() -> None:
            began_at.append(anyio.current_time())
            if len(began_at) == 9:
                await anyio.sleep(BACKOFF.max_s)
            if len(began_at) < 11:
                raise ZeroDivisionError("nobody has thought of it")

        helpers.keep(serve, name="courier")

    run(main)
    pauses = [later - earlier for earlier, later in itertools.pairwise(began_at)]
    assert pauses == pytest.approx([1, 2, 4, 8, 16, 32, 60, 60, 61, 2])
    assert told(caplog) == [("courier", count) for count in (*range(1, 9), 1, 2)]
    assert "nobody has thought of it" in caplog.records[0].fields["stack"]


def test_a_piece_of_work_that_crashes_is_told_and_not_repeated(caplog):
    """The others go on."""
    done: list[str] = []

    async def main(helpers: Helpers) -> None:
        async def ring(execution_id: str) -> None:
            if execution_id == "bad":
                raise LookupError(execution_id)
            await anyio.sleep(1)
            done.append(execution_id)

        for execution_id in ("good", "bad", "better"):
            helpers.start_soon(ring, execution_id)

    run(main)
    assert done == ["good", "better"]
    assert told(caplog) == [("ring", 1)]


def test_a_cancellation_that_nobody_asked_for_is_a_crash(caplog):
    """What a service awaits may have been cancelled elsewhere; in silence it would be gone for good."""
    begun = []

    async def main(helpers: Helpers) -> None:
        async def serve() -> None:
            begun.append(anyio.current_time())
            if len(begun) == 1:
                gone = asyncio.get_running_loop().create_future()
                gone.cancel()
                await gone

        helpers.keep(serve, name="recovery")
        helpers.start_soon(serve, name="ring")

    run(main)
    assert len(begun) == 3
    assert told(caplog) == [("recovery", 1)]


def test_a_cancellation_of_the_whole_is_none(caplog):
    """Services end with it, and nothing is told."""

    async def main(helpers: Helpers) -> None:
        helpers.keep(anyio.sleep_forever, name="recovery")
        await anyio.sleep(1)
        helpers._group.cancel_scope.cancel()

    run(main)
    assert told(caplog) == []


@pytest.mark.parametrize("way", ["keep", "start_soon"])
def test_an_error_of_ours_ends_the_whole(way: str, caplog):
    """That is how a task says so, be it from within a group of its own."""

    async def main(helpers: Helpers) -> None:
        async def find_another_file() -> None:
            async with anyio.create_task_group() as group:

                async def look() -> None:
                    raise StoreReplaced("work.db", opened="a", found="b")

                group.start_soon(look)

        getattr(helpers, way)(find_another_file, name="look")
        await anyio.sleep_forever()

    with pytest.raises(ExceptionGroup) as caught:
        run(main)
    assert caught.group_contains(StoreReplaced)
    assert told(caplog) == []


def test_once_closed_nothing_is_begun_also_where_the_group_has_ended():
    """Who still calls for help, as an execution that is stopped, may live longer."""
    done: list[str] = []

    async def note(what: str) -> None:
        done.append(what)

    async def main() -> None:
        alarms = Alarms()
        async with anyio.create_task_group() as group:
            helpers = Helpers(group, alarms=alarms, chance=lambda: 0.0)
            helpers.start_soon(note, "before")
            await anyio.sleep(1)
            helpers.close()
            helpers.start_soon(note, "while it ends")
        helpers.start_soon(note, "after")
        alarms.close()

    run_virtual(main)
    assert done == ["before"]
