"""Cancel scopes made the short way are those that anyio makes."""

from __future__ import annotations

import asyncio

import anyio

from perdure.actors.kernel import cancel_scope, is_cancelled


async def test_a_scope_made_the_short_way_is_one_of_anyio():
    """Whatever anyio gives out next time it is asked."""
    assert type(cancel_scope()) is type(anyio.CancelScope())


async def test_it_cancels_what_is_in_it_and_nothing_else():
    """Its end says that it was the one."""
    with cancel_scope() as scope:
        scope.cancel()
        await anyio.sleep_forever()
    assert scope.cancelled_caught


async def test_a_shielded_one_keeps_off_what_is_cancelled_around_it():
    """What is inside goes on; what follows it does not."""
    went_on = False
    with anyio.CancelScope() as around:
        around.cancel()
        with cancel_scope(shield=True):
            await anyio.lowlevel.checkpoint()
            went_on = True
        await anyio.sleep_forever()
    assert went_on
    assert around.cancelled_caught


async def test_a_task_knows_whether_its_cancellation_is_asked_for():
    """One of a future that it awaits is not its own."""
    told = []
    gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    gone.cancel()

    async def wait(awaited: asyncio.Future[None]) -> None:
        try:
            await awaited
        except asyncio.CancelledError:
            told.append(is_cancelled())

    async with anyio.create_task_group() as group:
        await wait(gone)
        group.start_soon(wait, asyncio.get_running_loop().create_future())
        await anyio.lowlevel.checkpoint()
        group.cancel_scope.cancel()
    assert told == [False, True]
