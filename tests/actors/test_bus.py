"""Committed events on their way to watchers, none of whom can slow the machine down."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from perdure.actors.bus import SUBSCRIBER_EVENTS_MAX, Bus, Outcome
from perdure.store.records import Event
from perdure.store.states import State


def events(first: int, count: int = 1, execution_id: str = "x") -> list[Event]:
    """So many lines of a log, from that id on."""
    return [
        Event(
            id=no,
            execution_id=execution_id,
            version=1,
            at=datetime(2026, 1, 1, tzinfo=UTC),
            type="step_completed",
            step="a",
            attempt=1,
            by=None,
            command_id=None,
            trace_id="t",
            data=None,
        )
        for no in range(first, first + count)
    ]


def end(execution_id: str = "x", state: State = State.COMPLETED) -> Outcome:
    """An end."""
    return Outcome(execution_id, state, {}, None)


async def test_a_watcher_gets_what_is_published_after_it_came_in_order():
    """Nothing before, nothing of others."""
    bus = Bus()
    bus.publish("x", events(1))
    with bus.subscribe("x") as subscription:
        bus.publish("x", events(2, 2))
        bus.publish("y", events(4))
        await subscription.wait()
        assert [event.id for event in subscription.take()] == [2, 3]
        assert subscription.take() == []


async def test_one_may_watch_everything():
    """Every execution of the process."""
    bus = Bus()
    with bus.subscribe(None) as all_of_them, bus.subscribe("x") as one:
        bus.publish("x", events(1))
        bus.publish("y", events(2))
        assert [event.id for event in all_of_them.take()] == [1, 2]
        assert [event.id for event in one.take()] == [1]


async def test_a_watcher_sleeps_until_there_is_something():
    """And is woken by it."""
    bus = Bus()
    with bus.subscribe("x") as subscription:
        waiting = asyncio.create_task(subscription.wait())
        await asyncio.sleep(0)
        assert not waiting.done()
        bus.publish("x", events(1))
        await waiting


async def test_a_slow_subscriber_loses_its_place_and_holds_nobody_up():
    """What waits for it is bounded; it is told, and reads on from the store."""
    bus = Bus()
    with bus.subscribe("x") as slow, bus.subscribe("x") as quick:
        for no in range(SUBSCRIBER_EVENTS_MAX + 1):
            bus.publish("x", events(no))
            assert len(quick.take()) == 1
        assert slow.is_behind
        assert not quick.is_behind
        await slow.wait()
        assert slow.take() == []


async def test_a_subscriber_that_caught_up_gets_events_again():
    """Losing a place once is not for ever."""
    bus = Bus()
    with bus.subscribe("x") as subscription:
        bus.publish("x", events(0, SUBSCRIBER_EVENTS_MAX + 1))
        subscription.is_behind = False
        bus.publish("x", events(5_000))
        await subscription.wait()
        assert [event.id for event in subscription.take()] == [5_000]


async def test_nobody_is_watched_for_who_has_left():
    """Publishing to nobody costs a look into a dictionary."""
    bus = Bus()
    assert not bus.is_watched("x")
    with bus.subscribe("x"), bus.subscribe("x"):
        assert bus.is_watched("x")
        assert not bus.is_watched("y")
    assert not bus.is_watched("x")
    with bus.subscribe(None):
        assert bus.is_watched("y")


async def test_everybody_who_waits_for_an_end_is_told_it_once():
    """A second end (after a retry) is news for others."""
    bus = Bus()
    futures = [bus.end_of("x"), bus.end_of("x")]
    other = bus.end_of("y")
    futures[0].cancel()
    bus.publish_end(end())
    assert futures[1].result().state is State.COMPLETED
    assert not other.done()
    assert not bus.is_end_awaited("x")


@pytest.mark.parametrize("state", [State.PAUSED, State.EXECUTING, State.CANCELLING])
async def test_a_rest_that_is_no_end_ends_no_wait(state: State):
    """`result()` waits through pauses."""
    bus = Bus()
    future = bus.end_of("x")
    bus.publish_end(end(state=state))
    assert not future.done()


async def test_whoever_stops_waiting_is_forgotten():
    """Waits that were given up leave nothing behind."""
    bus = Bus()
    first, second = bus.end_of("x"), bus.end_of("x")
    bus.forget("x", first)
    bus.forget("x", first)
    assert bus.is_end_awaited("x")
    bus.forget("x", second)
    assert not bus.is_end_awaited("x")
