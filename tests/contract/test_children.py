"""Executions that others have started: messages with a change, a fence, a family to look at."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.store.errors import LeaseLost, PayloadTooLarge
from perdure.store.records import PAYLOAD_BYTES_MAX, Kin
from perdure.store.states import State
from perdure.store.telling import PostWrite
from perdure.store.writes import AnswerMessage, Delta, EventWrite

pytestmark = pytest.mark.anyio


def post(to: str = "parent", *, command_id: str = "m1", payload: bytes = b"{}") -> PostWrite:
    """A message to another execution."""
    return PostWrite(to, command_id, "ChildEnded", payload, "child")


async def inbox(book: Any, id: str = "parent") -> list[str]:
    """The commands that wait there."""
    return [message.command_id for message in (await book.store.load(id)).inbox]


async def test_a_message_comes_with_the_change_that_says_it_and_twice_is_once(book):
    """In the other's inbox, durable with the change."""
    await book.start("parent")
    child = await book.move(await book.start("child"), posts=(post(),))
    await book.move(child, posts=(post(), post(command_id="m2")))
    assert await inbox(book) == ["m1", "m2"]
    [message, _] = (await book.store.load("parent")).inbox
    assert (message.kind, message.payload, message.sender) == ("ChildEnded", b"{}", "child")
    assert await book.mail(None) == ["parent"]


async def test_a_message_comes_with_a_start_too(book):
    """Of a child that ended in the very change that began it."""
    await book.start("parent")
    delta = Delta(events=(EventWrite("workflow_started"),), posts=(post(),))
    await book.start("child", state=State.COMPLETED, delta=delta, finished_at=1)
    assert await inbox(book) == ["m1"]


async def test_a_change_that_is_refused_says_nothing(book):
    """Neither does the message come, nor the change."""
    await book.start("parent")
    child = await book.start("child")
    too_large = post(payload=b'"' + b"x" * PAYLOAD_BYTES_MAX + b'"')
    answer = await book.answer_to(book.change(child, posts=(post(), too_large)))
    assert isinstance(answer, PayloadTooLarge)
    assert await inbox(book) == []


async def test_who_has_ended_or_does_not_exist_hears_nothing(book):
    """And the change goes through."""
    parent = await book.start("parent")
    await book.move(parent, State.COMPLETED)
    await book.move(await book.start("child"), posts=(post(), post("nobody")))
    assert await inbox(book) == []
    assert await book.mail(None) == []


async def test_mail_is_of_whoever_owns_the_execution_until_it_is_applied(book):
    """Of a runner, of nobody, of none."""
    runner_no = await book.register()
    await book.start("owned", runner_no=runner_no)
    await book.start("free")
    await book.move(await book.start("child"), posts=(post("owned"), post("free")))
    assert await book.mail(runner_no) == ["owned"]
    assert await book.mail(None) == ["free"]
    [message] = (await book.store.load("free")).inbox
    await book.write(AnswerMessage(message_no=message.no, answer=b"{}"))
    assert await book.mail(None) == []


async def test_a_start_is_refused_to_whoever_has_lost_the_parent(book):
    """The epoch tells; a start that is repeated joins all the same."""
    parent = await book.start("parent", runner_no=await book.register())
    fence = {"parent_id": "parent", "parent_step": 0, "parent_epoch": parent.epoch}
    assert (await book.start("child", **fence)).parent_step == 0
    await book.write(book.claim(parent, await book.register("other")))
    assert isinstance(await book.answer_to(book.starting("late", **fence)), LeaseLost)
    assert await book.store.execution("late") is None
    again = await book.write(book.starting("child", **fence))
    assert again.joined


async def test_a_family_can_be_looked_at(book):
    """Who is above, how many are below, and which."""
    await book.start("a")
    for id_, parent in (("b", "a"), ("c", "b"), ("d", "b")):
        await book.start(id_, parent_id=parent)
    assert await book.store.kin("a", limit=10) == Kin(depth=0, children=1)
    assert await book.store.kin("nobody", limit=10) == Kin(depth=0, children=0)
    assert await book.store.kin("b", limit=10) == Kin(depth=1, children=2)
    assert await book.store.kin("b", limit=1) == Kin(depth=1, children=1)
    assert await book.store.kin("d", limit=10) == Kin(depth=2, children=0)
    assert [summary.id for summary in await book.store.executions(parent="b")] == ["d", "c"]
    assert [summary.id for summary in await book.store.executions(only_top=True)] == ["a"]
    assert [summary.parent_id for summary in await book.store.executions(parent="b")] == ["b", "b"]
    await book.start("urgent", priority=7)
    assert (await book.store.kin("urgent", limit=5)).priority == 7
    await book.start("loop", parent_id="loop")
    assert (await book.store.kin("loop", limit=5)).depth == 5
