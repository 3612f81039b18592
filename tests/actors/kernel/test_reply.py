"""The reply cell: answered once, deaf afterwards."""

from __future__ import annotations

import asyncio
import gc

import anyio
import pytest

from perdure.actors.kernel import AskFailed, Reply


async def test_the_first_answer_counts_and_later_ones_are_ignored() -> None:
    """Answering twice is no error and changes nothing."""
    reply = Reply()
    assert reply.is_open
    reply.answer(1)
    reply.answer(2)
    reply.fail(ValueError("late"))
    assert not reply.is_open
    assert await reply.wait() == 1


async def test_an_error_given_as_the_answer_is_raised_at_the_asker() -> None:
    """As itself."""
    reply = Reply()
    reply.fail(ValueError("no such thing"))
    with pytest.raises(ValueError, match="no such thing"):
        await reply.wait()


@pytest.mark.parametrize("error", [asyncio.CancelledError(), SystemExit(3), StopIteration()])
async def test_an_error_that_would_end_the_asker_arrives_wrapped(error: BaseException) -> None:
    """A cancellation of somebody else is not the asker's own."""
    reply = Reply()
    reply.fail(error)
    with pytest.raises(AskFailed) as failed:
        await reply.wait()
    assert failed.value.__cause__ is error


async def test_an_asker_that_was_cancelled_hears_nothing_and_nothing_is_logged() -> None:
    """Neither a late answer nor a late error is noticed by anybody."""
    noticed = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: noticed.append(context))
    late, at_once = Reply(), Reply()
    for reply in (late, at_once):
        with anyio.move_on_after(1) as scope:
            if reply is at_once:
                reply.fail(ValueError("nobody looks"))
                scope.cancel()
            await reply.wait() if reply is late else reply.revoke()
        assert not reply.is_open
        reply.fail(ValueError("late"))
        reply.answer(1)
    del reply, late, at_once
    gc.collect()
    assert noticed == []
