"""The mailbox: order, room, hand-over, suspects, closing."""

from __future__ import annotations

import asyncio

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.actors.kernel import POISON_CRASHES, ActorStopped, Mailbox, Reply


def taken(mailbox: Mailbox[object], limit: int = 64) -> list[object]:
    """The messages of one batch."""
    return [envelope.message for envelope in mailbox.take(limit)]


def test_messages_are_read_in_the_order_they_were_put_in() -> None:
    """First in, first out, within a lane."""
    mailbox: Mailbox[object] = Mailbox()
    for n in range(5):
        mailbox.post(n)
    assert taken(mailbox, 2) == [0, 1]
    assert taken(mailbox) == [2, 3, 4]
    assert taken(mailbox) == []


def test_control_overtakes_normal_messages_but_never_control() -> None:
    """Two lanes, each in order."""
    mailbox: Mailbox[object] = Mailbox()
    mailbox.post("a")
    mailbox.post("pause", control=True)
    mailbox.post("b")
    mailbox.post("resume", control=True)
    assert taken(mailbox, 3) == ["pause", "resume", "a"]
    assert taken(mailbox, 3) == ["b"]


def test_a_mailbox_nobody_wrote_to_is_empty() -> None:
    """It costs and says nothing."""
    mailbox: Mailbox[object] = Mailbox()
    assert len(mailbox) == 0
    assert taken(mailbox) == []
    assert mailbox.put_back() == []
    assert mailbox.close() == []


def test_what_was_taken_is_counted_until_it_is_acknowledged() -> None:
    """In hand is not gone."""
    mailbox: Mailbox[object] = Mailbox()
    mailbox.post("a")
    mailbox.post("b", control=True)
    mailbox.take(1)
    assert len(mailbox) == 2
    statistics = mailbox.statistics()
    assert (statistics.control, statistics.normal, statistics.in_hand) == (0, 1, 1)
    mailbox.ack()
    assert len(mailbox) == 1
    assert mailbox.statistics().acked == 1


def test_a_crash_puts_what_was_in_hand_back_in_front_in_order() -> None:
    """Nothing is lost and nothing changes places, on either lane."""
    mailbox: Mailbox[object] = Mailbox()
    for n in range(4):
        mailbox.post(n)
    mailbox.post("pause", control=True)
    mailbox.take(3)
    mailbox.post("resume", control=True)
    mailbox.put_back(blame=False)
    assert taken(mailbox) == ["pause", "resume", 0, 1, 2, 3]


def test_what_is_stale_is_dropped_and_nothing_else_changes_places() -> None:
    """On both lanes, suspects too; what stays is handed out as ever."""
    mailbox: Mailbox[object] = Mailbox()
    for n in range(4):
        mailbox.post(n)
    mailbox.post(-1, control=True)
    mailbox.take(3)
    mailbox.put_back()
    mailbox.discard(lambda message: message in {-1, 0, 1, 3})
    mailbox.post(5)
    assert taken(mailbox) == [2, 5]
    assert len(mailbox) == 2


def test_what_is_dropped_makes_room_for_who_waits() -> None:
    """A sender that waits for room comes in."""

    async def main() -> None:
        mailbox: Mailbox[object] = Mailbox(limit=1)
        mailbox.post("stale")
        async with anyio.create_task_group() as group:
            group.start_soon(mailbox.tell, "fresh")
            await anyio.lowlevel.checkpoint()
            mailbox.discard(lambda message: message == "stale")
        assert taken(mailbox) == ["fresh"]

    anyio.run(main)


def test_a_batch_that_crashed_is_handed_out_one_by_one() -> None:
    """Each suspect is cleared, or convicted, alone; those who were not there are not suspected."""
    mailbox: Mailbox[object] = Mailbox()
    for n in range(3):
        mailbox.post(n)
    mailbox.take()
    mailbox.put_back()
    mailbox.post(3)
    mailbox.post(4)
    seen = []
    while batch := taken(mailbox):
        seen.append(batch)
        mailbox.ack()
    assert seen == [[0], [1], [2], [3, 4]]


def test_a_message_that_crashed_three_times_is_a_dead_letter_and_its_neighbours_live() -> None:
    """The batch of the culprit is innocent."""
    mailbox: Mailbox[object] = Mailbox()
    for name in ("good", "bad", "fine"):
        mailbox.post(name)
    handled: list[object] = []
    dead = []
    while batch := mailbox.take():
        messages = [envelope.message for envelope in batch]
        if "bad" in messages:
            dead += mailbox.put_back()
            continue
        handled += messages
        mailbox.ack()
    assert handled == ["good", "fine"]
    assert [(envelope.message, envelope.crashes) for envelope in dead] == [("bad", POISON_CRASHES)]


def test_a_crash_without_blame_never_makes_a_dead_letter() -> None:
    """An outage is not the message's fault."""
    mailbox: Mailbox[object] = Mailbox()
    mailbox.post("a")
    for _ in range(10):
        mailbox.take()
        assert mailbox.put_back(blame=False) == []
    assert taken(mailbox) == ["a"]


@given(st.lists(st.tuples(st.sampled_from(["post", "control", "take", "ack", "crash"]), st.integers(1, 4))))
def test_every_message_is_acknowledged_once_or_dead_and_lanes_keep_their_order(
    moves: list[tuple[str, int]],
) -> None:
    """Whatever happens in between: no message is lost or doubled, and none overtakes its own lane."""
    mailbox: Mailbox[int] = Mailbox()
    posted = 0
    done: list[tuple[int, bool]] = []
    dead: set[int] = set()
    hand: list[tuple[int, bool]] = []
    for move, count in moves + [("ack", 1)] + [("take", 1), ("ack", 1)] * 4 * len(moves):
        match move:
            case "take":
                hand += [(envelope.message, envelope.control) for envelope in mailbox.take(count)]
            case "ack":
                mailbox.ack()
                done, hand = done + hand, []
            case "crash":
                dead |= {envelope.message for envelope in mailbox.put_back()}
                hand = []
            case lane:
                mailbox.post(posted, control=lane == "control")
                posted += 1
    assert sorted([message for message, _ in done] + list(dead)) == list(range(posted))
    for lane_is_control in (True, False):
        lane = [message for message, control in done if control is lane_is_control]
        assert lane == sorted(lane)


async def test_tell_waits_for_room_and_comes_in_in_order() -> None:
    """Those who can wait do, first come first served; those who cannot need not."""
    mailbox: Mailbox[object] = Mailbox(limit=2)
    async with anyio.create_task_group() as senders:
        for n in range(5):
            senders.start_soon(mailbox.tell, n)
        await anyio.sleep(1)
        assert mailbox.statistics().senders_waiting == 3
        mailbox.post("result")
        await mailbox.tell("pause", control=True)
        assert taken(mailbox) == ["pause", 0, 1, "result"]
        assert mailbox.statistics().senders_waiting == 3, "what is in hand takes room"
        mailbox.ack()
        assert taken(mailbox) == [2, 3]
        mailbox.ack()
        assert taken(mailbox) == [4]


async def test_a_sender_that_gave_up_is_not_let_in_and_blocks_nobody() -> None:
    """Its place in the queue is gone with it."""
    mailbox: Mailbox[object] = Mailbox(limit=1)
    mailbox.post("a")
    with anyio.move_on_after(1):
        await mailbox.tell("too late")
    mailbox.take()
    mailbox.ack()
    await mailbox.tell("b")
    assert taken(mailbox) == ["b"]


async def test_wait_returns_when_something_arrives() -> None:
    """And not before."""
    mailbox: Mailbox[object] = Mailbox()
    async with anyio.create_task_group() as group:
        with anyio.move_on_after(10) as patience:
            await mailbox.wait()
        assert patience.cancelled_caught
        group.start_soon(mailbox.tell, "a")
        await mailbox.wait()
    assert taken(mailbox) == ["a"]


async def test_wait_gives_way_to_others_even_with_mail() -> None:
    """A receiver with plenty to do starves nobody and can be cancelled."""
    mailbox: Mailbox[object] = Mailbox()
    mailbox.post("a")
    turns = []
    async with anyio.create_task_group() as group:
        group.start_soon(anyio.sleep, 0)
        with anyio.CancelScope() as scope:
            scope.cancel()
            await mailbox.wait()
            turns.append("not reached")
    assert turns == []
    assert taken(mailbox) == ["a"]


async def test_a_closed_mailbox_gives_back_what_is_left_and_tells_everyone() -> None:
    """In hand first, then control, then normal; waiting senders and later ones are refused."""
    mailbox: Mailbox[object] = Mailbox(limit=2, name="worker")
    refused = []

    async def send() -> None:
        try:
            await mailbox.tell("never")
        except ActorStopped as error:
            refused.append(error.name)

    mailbox.post("a")
    mailbox.post("b")
    mailbox.take(1)
    mailbox.post("pause", control=True)
    async with anyio.create_task_group() as group:
        group.start_soon(send)
        await anyio.sleep(1)
        assert [envelope.message for envelope in mailbox.close()] == ["a", "pause", "b"]
    assert refused == ["worker"]
    for attempt in (mailbox.tell("c"), mailbox.wait()):
        with pytest.raises(ActorStopped, match="'worker' has ended"):
            await attempt
    with pytest.raises(ActorStopped):
        mailbox.post("c")


async def test_a_sender_that_is_cancelled_as_the_mailbox_closes_is_cancelled() -> None:
    """Both happen before it comes to its turn again."""
    mailbox: Mailbox[object] = Mailbox(limit=1)
    mailbox.post("a")
    sending = asyncio.create_task(mailbox.tell("b"))
    await anyio.sleep(1)
    mailbox.close()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending


async def test_replies_nobody_will_give_any_more_can_be_told() -> None:
    """Acknowledged and open is owed; answered or still in the mailbox is not."""
    mailbox: Mailbox[object] = Mailbox()
    answered, owed, waiting = Reply(), Reply(), Reply()
    for reply in (answered, owed, waiting):
        mailbox.post("question", reply=reply)
    mailbox.take(2)
    answered.answer(1)
    mailbox.ack()
    assert mailbox.abandoned(for_good=False) == [owed]
    assert mailbox.abandoned(for_good=True) == []


async def test_a_reply_kept_for_the_next_incarnation_is_abandoned_only_for_good() -> None:
    """A restart leaves it open, the end does not."""
    mailbox: Mailbox[object] = Mailbox()
    kept = Reply()
    mailbox.post("question", reply=kept)
    mailbox.take()
    kept.keep()
    mailbox.ack()
    assert mailbox.abandoned(for_good=False) == []
    assert mailbox.abandoned(for_good=True) == [kept]
    assert mailbox.abandoned(for_good=True) == []


async def test_owed_replies_that_were_answered_are_forgotten() -> None:
    """A mailbox that lives long does not remember every question it was ever asked."""
    mailbox: Mailbox[object] = Mailbox()
    for _ in range(1_000):
        reply = Reply()
        mailbox.post("question", reply=reply)
        mailbox.take()
        mailbox.ack()
        reply.answer(1)
    assert len(mailbox._owed or ()) <= 65
