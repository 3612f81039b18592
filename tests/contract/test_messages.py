"""The durable inbox: kept once, in order, bounded, applied and answered once."""

from __future__ import annotations

import pytest

from perdure.store.errors import MailboxFull, NotFound, PayloadTooLarge, StoreError
from perdure.store.records import INBOX_MAX, PAYLOAD_BYTES_MAX
from perdure.store.states import State
from perdure.store.writes import AnswerMessage, MessageWrite

pytestmark = pytest.mark.anyio


async def test_a_message_waits_until_it_is_applied(book):
    """It is in the inbox of its execution."""
    await book.start()
    no = await book.write(book.post(payload=b'{"mode":"drain"}'))
    execution, [message] = await book.store.inbox("e1")
    assert execution == await book.execution()
    assert message == await book.store.message(no)
    assert (message.kind, message.payload, message.applied_version) == ("pause", b'{"mode":"drain"}', None)


async def test_the_same_command_twice_is_one_message(book):
    """Its sender may repeat it without fear; another execution may have a command of that name."""
    await book.start("e1")
    await book.start("e2")
    first = await book.write(book.post("e1"))
    assert await book.write(book.post("e1", payload=b'"other"')) == first
    assert await book.write(book.post("e2")) != first
    assert (await book.store.message(first)).payload == b"{}"


async def test_a_message_to_nobody_is_refused(book):
    """Where there is no execution there is no inbox."""
    await book.publish()
    assert isinstance(await book.answer_to(book.post("nobody")), NotFound)


async def test_a_message_that_is_too_large_or_unnamed_is_refused(book):
    """The payload has the limit of every payload; a command without an id could never be told apart."""
    await book.start()
    large = book.post(payload=b"x" * (PAYLOAD_BYTES_MAX + 1))
    assert isinstance(await book.answer_to(large), PayloadTooLarge)
    assert isinstance(await book.answer_to(book.post(command_id="")), StoreError)
    assert isinstance(await book.answer_to(book.post(payload=b"\xff")), StoreError)
    assert await book.unread() == []


async def test_a_full_inbox_refuses_until_there_is_room(book):
    """Only what waits counts; a message that is there already is still answered with its number."""
    execution = await book.start()
    await book.raw(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
        "INSERT INTO workflow_messages (execution_no, command_id, kind, payload, created_at) "
        "SELECT ?, 'c' || i, 'signal', '{}', 0 FROM n",
        INBOX_MAX,
        execution.no,
    )
    full = await book.answer_to(book.post(command_id="one more"))
    assert isinstance(full, MailboxFull)
    assert full.limit == INBOX_MAX
    assert await book.write(book.post(command_id="c1")) == 1
    await book.move(execution, messages=(MessageWrite(1, b'"done"'),))
    assert await book.write(book.post(command_id="one more")) > INBOX_MAX


async def test_a_change_applies_a_message_and_a_later_one_answers_it(book):
    """A pause is applied when it is wished for and answered when the execution rests."""
    execution = await book.start()
    no = await book.write(book.post())
    execution = await book.move(execution, State.PAUSING, messages=(MessageWrite(no, None),))
    message = await book.store.message(no)
    assert (message.applied_version, message.answer) == (2, None)
    assert await book.unread() == []
    assert [waiting.no for waiting in (await book.store.load("e1")).inbox] == [no]
    await book.move(execution, State.PAUSED, messages=(MessageWrite(no, b'"paused"'),))
    message = await book.store.message(no)
    assert (message.applied_version, message.answer) == (2, b'"paused"')
    assert (await book.store.load("e1")).inbox == ()


async def test_the_first_answer_stays(book):
    """Whoever has read it must not find another one later."""
    execution = await book.start()
    no = await book.write(book.post())
    execution = await book.move(execution, messages=(MessageWrite(no, b'"first"'),))
    await book.move(execution, messages=(MessageWrite(no, b'"second"'),))
    await book.write(AnswerMessage(message_no=no, answer=b'"third"'))
    assert (await book.store.message(no)).answer == b'"first"'


async def test_a_refused_change_leaves_its_message_waiting(book):
    """Applied means: this very change was."""
    execution = await book.start()
    no = await book.write(book.post())
    await book.answer_to(book.change(execution, version=9, messages=(MessageWrite(no, b"1"),)))
    assert (await book.store.message(no)).applied_version is None


async def test_a_change_cannot_apply_the_message_of_another_execution(book):
    """It is refused whole."""
    execution = await book.start("e1")
    await book.start("e2")
    no = await book.write(book.post("e2"))
    assert isinstance(
        await book.answer_to(book.change(execution, messages=(MessageWrite(no, b"1"),))), NotFound
    )
    assert (await book.execution("e1")).version == 1


async def test_a_message_can_be_answered_without_a_change(book):
    """Its execution may have ended; it counts as applied at the version that has come to."""
    execution = await book.start()
    no = await book.write(book.post())
    await book.move(execution, State.FAILED)
    await book.write(AnswerMessage(message_no=no, answer=b'{"refused":"IllegalTransition"}'))
    message = await book.store.message(no)
    assert (message.applied_version, message.answer) == (2, b'{"refused":"IllegalTransition"}')
    assert (await book.execution()).version == 2
    assert isinstance(await book.answer_to(AnswerMessage(message_no=99, answer=b"1")), NotFound)


async def test_each_execution_has_an_inbox_oldest_first(book):
    """Who is nowhere has none."""
    await book.start("e1")
    await book.start("e2")
    numbers = [
        await book.write(book.post(id_, command_id=command))
        for id_, command in [("e1", "c1"), ("e2", "c1"), ("e1", "c2")]
    ]
    assert await book.unread("e1") == [numbers[0], numbers[2]]
    assert await book.unread("e2") == [numbers[1]]
    assert await book.store.inbox("nobody") is None
    assert await book.store.message(99) is None


async def test_a_runner_is_told_which_of_its_executions_have_mail(book):
    """Each once, however much there is; what was applied is no mail any more."""
    runner_no = await book.register()
    mine, _ = await book.start("mine", runner_no=runner_no), await book.start("other")
    for number in range(3):
        await book.write(book.post("mine", command_id=f"c{number}"))
    await book.write(book.post("other"))
    assert await book.mail(runner_no) == ["mine"]
    await book.move(mine, messages=tuple(MessageWrite(no, None) for no in await book.unread("mine")))
    assert await book.mail(runner_no) == []


async def test_whoever_has_mail_is_told_page_by_page(book):
    """Oldest execution first, whoever was written to last; nobody is passed over."""
    ids = [f"e{number}" for number in range(5)]
    for id_ in ids:
        await book.start(id_)
    for id_ in reversed(ids):
        await book.write(book.post(id_))
    first = await book.store.mail(runner_no=None, limit=2)
    second = await book.store.mail(runner_no=None, limit=2, after_no=first[-1][0])
    last = await book.store.mail(runner_no=None, limit=2, after_no=second[-1][0])
    assert [id_ for _, id_ in first + second + last] == ids
    assert await book.store.mail(runner_no=None, limit=2, after_no=last[-1][0]) == []


async def test_an_inbox_can_be_read_as_a_whole(book):
    """Page by page, whatever has become of the messages; of one execution."""
    await book.start("e1")
    await book.start("e2")
    numbers = [await book.write(book.post("e1", command_id=f"c{no}")) for no in range(3)]
    await book.write(book.post("e2"))
    await book.write(AnswerMessage(message_no=numbers[0], answer=b"1"))
    first, *others = await book.store.messages("e1")
    assert [first.no, *(message.no for message in others)] == numbers
    assert (first.answer, others[0].answer) == (b"1", None)
    assert await book.store.messages("e1", after=numbers[0], limit=1) == others[:1]
    assert await book.store.messages("nobody") == []
