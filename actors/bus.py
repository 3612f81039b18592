"""Committed events on their way to those who watch: bounded, so that nobody slows the machine down.

A subscriber that falls behind loses its place: its queue is emptied and marked, and it reads on
from the store, where every event is. What is published is durable already.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import msgspec

from perdure.store.records import Error, Event
from perdure.store.states import TERMINAL, State

SUBSCRIBER_EVENTS_MAX: Final = 1_024  # events waiting for one subscriber; past it the store serves it


class Outcome(msgspec.Struct, frozen=True):
    """How an execution has ended: what it gives back, and what each of its steps gave."""

    execution_id: str
    state: State
    outputs: dict[str, Any]
    error: Error | None
    steps: dict[str, Any] = {}
    rollback_reason: str | None = None
    hook_errors: dict[str, Error] = {}


class Subscription:
    """One watcher's place in the stream."""

    __slots__ = ("_events", "_waiter", "is_behind")

    def __init__(self) -> None:
        """Begin with the next event published."""
        self._events: deque[Event] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self.is_behind = False

    def put(self, events: Sequence[Event]) -> None:
        """Hand events over; too many waiting and the place is lost."""
        self._events.extend(events)
        if len(self._events) > SUBSCRIBER_EVENTS_MAX:
            self._events.clear()
            self.is_behind = True
        self.ring()

    def ring(self) -> None:
        """Wake the watcher."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self) -> None:
        """Wait until there is something to take, something may have been missed, or somebody rings."""
        if not self._events and not self.is_behind:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter

    def take(self) -> list[Event]:
        """What has come since. From here on nothing is missed again: whoever was behind has its place."""
        events = list(self._events)
        self._events.clear()
        self.is_behind = False
        return events


class Bus:
    """Publishes what was committed in this process."""

    def __init__(self) -> None:
        """Nobody watches yet."""
        self._watchers: dict[str | None, set[Subscription]] = {}
        self._ends: dict[str, list[asyncio.Future[Outcome | None]]] = {}

    def is_watched(self, execution_id: str) -> bool:
        """Whether anybody wants this execution's events."""
        return bool(self._watchers) and (execution_id in self._watchers or None in self._watchers)

    def publish(self, execution_id: str, events: Sequence[Event]) -> None:
        """Hand committed events to whoever watches that execution, or all."""
        for key in (execution_id, None):
            for subscription in self._watchers.get(key, ()):
                subscription.put(events)

    @contextmanager
    def subscribe(self, execution_id: str | None) -> Iterator[Subscription]:
        """Watch one execution, or with None all of them."""
        subscription = Subscription()
        self._watchers.setdefault(execution_id, set()).add(subscription)
        try:
            yield subscription
        finally:
            watchers = self._watchers[execution_id]
            watchers.discard(subscription)
            if not watchers:
                del self._watchers[execution_id]

    def end_of(self, execution_id: str) -> asyncio.Future[Outcome | None]:
        """A future of the next end of that execution in this process; None if it leaves us before."""
        future: asyncio.Future[Outcome | None] = asyncio.get_running_loop().create_future()
        self._ends.setdefault(execution_id, []).append(future)
        return future

    def is_end_awaited(self, execution_id: str) -> bool:
        """Whether anybody waits for that execution's end."""
        return execution_id in self._ends

    def publish_end(self, outcome: Outcome) -> None:
        """Tell those who wait for it that the execution has ended."""
        if outcome.state in TERMINAL:
            self._settle(outcome.execution_id, outcome)

    def publish_leave(self, execution_id: str) -> None:
        """Tell those who wait for its end that the execution has no actor here any more."""
        self._settle(execution_id, None)

    def _settle(self, execution_id: str, outcome: Outcome | None) -> None:
        for future in self._ends.pop(execution_id, ()):
            if not future.done():
                future.set_result(outcome)

    def forget(self, execution_id: str, future: asyncio.Future[Outcome | None]) -> None:
        """Stop waiting for an end."""
        waiting = self._ends.get(execution_id, [])
        if future in waiting:
            waiting.remove(future)
        if not waiting:
            self._ends.pop(execution_id, None)
